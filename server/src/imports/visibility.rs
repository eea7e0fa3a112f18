//! How an import changes visibility, and which changes need the operator's permission.
//!
//! It compares two states: who sees each snap before and after the change, so no field of any format needs a rule of
//! its own. Wider visibility is allowed if the snap's signed declaration or the metadata of its own store allows it;
//! anything else is refused, unless the operator names the snap.

use std::collections::BTreeSet;
use std::sync::Arc;

use schema::api::admin::ViewChange;
use schema::assertion::{AssertionType, Details, Ref};
use schema::store::SERIES;
use schema::store::StoreId;
use serde_json::json;

use super::after::After;
use super::{ImportError, KnownStores};
use crate::catalog::{Listed, hands_out, shares};
use crate::storage::records::{Change, Grant, Reason, SnapRecord, StoreRecord};

/// The operator's permissions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Views {
    /// Snaps that more devices may see, by name or id.
    pub(crate) widen: Vec<String>,
    /// Whether changes are only reported, including those that would be refused.
    pub(crate) dry_run: bool,
}

/// Devices without a brand store (`None`), or those of a store.
type Audience = BTreeSet<Option<StoreId>>;

/// Compares visibility before and after the change, and refuses anything wider than what is signed. The operator's
/// permissions are written into the change.
pub(super) fn settle(
    known: &dyn KnownStores,
    change: &mut Change,
    views: &Views,
) -> Result<Vec<ViewChange>, ImportError> {
    let mut changes = Vec::new();
    for id in touched(known, change) {
        let after = After { known, change };
        let named = |name: &str| views.widen.iter().any(|widen| widen == name || *widen == id);
        let wider = wider(known, &after, &id, &named);
        for Wider { name, store, allowed, shown } in wider {
            let told = named(&name);
            if let (true, false, Some(store)) = (told, shown, &store) {
                tell(change, store, &id);
            }
            let refused = !allowed && !told;
            changes.push((seen(known, change, (&id, &name), store, true, refused), !allowed && told));
        }
        let after = After { known, change };
        let before = known.snap(&id);
        let name = before.as_ref().map(|snap| snap.name.to_string()).unwrap_or_default();
        let before = before.map(|snap| audience(known, &snap)).unwrap_or_default();
        let now = after.snap(&id).map(|snap| audience(&after, &snap)).unwrap_or_default();
        for gone in before.difference(&now) {
            changes.push((seen(known, change, (&id, &name), gone.clone(), false, false), false));
        }
    }
    changes.sort_by(|(one, _), (other, _)| {
        (&one.name, &one.snap_id, &one.store).cmp(&(&other.name, &other.snap_id, &other.store))
    });
    let told: Vec<String> =
        changes.iter().filter(|(_, told)| *told).map(|(one, _)| one.to_string()).collect();
    let changes: Vec<ViewChange> = changes.into_iter().map(|(one, _)| one).collect();
    if !views.dry_run && changes.iter().any(|one| one.refused) {
        return Err(ImportError::Widens(changes.into_iter().filter(|one| one.refused).collect()));
    }
    if !changes.is_empty() {
        change.audit.detail["visibility"] =
            changes.iter().map(ToString::to_string).collect::<Vec<_>>().into();
    }
    if !told.is_empty() {
        change.audit.detail["widened"] = json!(told);
    }
    Ok(changes)
}

/// Snaps whose audience may change.
fn touched(known: &dyn KnownStores, change: &Change) -> BTreeSet<String> {
    let mut touched: BTreeSet<String> = change.snaps.iter().map(|snap| snap.snap_id.to_string()).collect();
    let declared = change.assertions.iter().filter_map(|verified| match verified.assertion().details() {
        Details::SnapDeclaration(declaration) => Some(declaration.snap_id.clone()),
        _ => None,
    });
    touched.extend(declared);
    if !change.stores.is_empty() {
        let stores = known.stores();
        let grants = stores.iter().chain(&change.stores).flat_map(|store| &store.grants);
        touched.extend(grants.map(|grant| grant.snap_id.to_string()));
    }
    touched
}

/// A new audience of a snap.
struct Wider {
    name: String,
    store: Option<StoreId>,
    /// Whether the signed declaration or the metadata of the snap's own store allows it.
    allowed: bool,
    /// Whether they see it, or a list only requests it.
    shown: bool,
}

fn wider(known: &dyn KnownStores, after: &After<'_>, id: &str, named: &dyn Fn(&str) -> bool) -> Vec<Wider> {
    let mut wider = Vec::new();
    let Some(snap) = after.snap(id) else {
        // Nobody sees what is not here; but what another store calls its own is not this one's to ask for.
        let asked =
            asked_for(known, after, id, named).filter(|(store, _)| claimed_by_others(known, store, id));
        wider.extend(asked.map(|(store, grant)| Wider {
            name: grant.name.to_string(),
            store: Some(store.store_id.clone()),
            allowed: false,
            shown: false,
        }));
        return wider;
    };
    let before = known.snap(id);
    let seen_before = before.as_ref().map(|held| audience(known, held)).unwrap_or_default();
    let seen_now = audience(after, &snap);
    let mut add = |store: Option<StoreId>, allowed, shown| {
        wider.push(Wider { name: snap.name.to_string(), store, allowed, shown });
    };
    for new in seen_now.difference(&seen_before) {
        let allowed = match new.as_ref().map(|store| after.store(store)) {
            None => before.is_none() && !claimed(known, id),
            Some(store) => store.is_some_and(|store| {
                may_see(known, after, &snap, &store) || parent_may(known, after, &snap, &store)
            }),
        };
        add(new.clone(), allowed, true);
    }
    // Asked for by a list, and in nobody's view for it.
    for (store, _) in asked_for(known, after, id, named) {
        if !seen_now.contains(&Some(store.store_id.clone())) {
            add(Some(store.store_id.clone()), false, false);
        }
    }
    // A snap pushed for an additional store could be granted there later.
    if let Some(held) =
        before.filter(|held| !held.stores.is_empty() && !snap.is_public() && !held.is_public())
    {
        for home in snap.stores.iter().filter(|home| !held.stores.contains(home)) {
            let known_home = after.store(home);
            let fits = |home: &StoreRecord| {
                publisher(after, id).is_some_and(|publisher| publisher == home.brand_id)
                    || held
                        .stores
                        .iter()
                        .filter_map(|other| known.store(other))
                        .any(|other| shares(&other, home))
            };
            let listed = Some(home.clone());
            if !home.is_global()
                && !seen_before.contains(&listed)
                && !seen_now.contains(&listed)
                && !known_home.as_deref().is_some_and(fits)
            {
                add(listed, false, true);
            }
        }
    }
    wider
}

/// Grants of a snap in the change that are new, or that the operator names: one that came before the snap shows nothing
/// until then.
fn asked_for<'a>(
    known: &'a dyn KnownStores,
    after: &'a After<'_>,
    id: &'a str,
    named: &'a dyn Fn(&str) -> bool,
) -> impl Iterator<Item = (&'a StoreRecord, &'a Grant)> {
    let asked =
        after.change.stores.iter().filter_map(move |store| Some((&**store, store.grants_of(id).first()?)));
    asked.filter(move |(store, grant)| {
        let held = known.store(&store.store_id);
        held.is_none_or(|held| held.grants_of(id).is_empty())
            || (grant.reason != Reason::Told && named(&grant.name))
    })
}

/// Whether the stored metadata says that a store owns this snap, which is new or was not pushed yet.
fn claimed(known: &dyn KnownStores, id: &str) -> bool {
    known.stores().iter().any(|store| owns(store, id))
}

/// Does a store of another brand call it its own?
fn claimed_by_others(known: &dyn KnownStores, store: &StoreRecord, id: &str) -> bool {
    known.stores().iter().any(|other| other.brand_id != store.brand_id && owns(other, id))
}

fn owns(store: &StoreRecord, id: &str) -> bool {
    store.grants_of(id).iter().any(|grant| grant.reason == Reason::Own)
}

/// Whether the signed declaration, or the metadata of the snap's own store, lets the store's devices see it.
fn may_see(known: &dyn KnownStores, after: &After<'_>, snap: &SnapRecord, store: &StoreRecord) -> bool {
    let publisher = publisher(after, &snap.snap_id);
    if snap.is_public() || publisher.as_deref() == Some(&store.brand_id) {
        return true;
    }
    let homes =
        snap.stores.iter().filter(|home| **home != store.store_id).filter_map(|home| after.store(home));
    let shared = homes.into_iter().any(|home| shares(&home, store));
    let others = known.stores().into_iter().filter(|other| other.brand_id != store.brand_id);
    let of_another_brand = || {
        let theirs = |other: &StoreRecord| publisher.as_deref() == Some(&other.brand_id);
        others.into_iter().any(|other| theirs(&other) || owns(&other, &snap.snap_id))
    };
    let held = known.snap(&snap.snap_id);
    let already_home =
        held.is_none_or(|held| held.stores.is_empty() || held.stores.contains(&store.store_id));
    shared || (snap.stores.contains(&store.store_id) && already_home && !of_another_brand())
}

/// The same through the store it builds on.
fn parent_may(known: &dyn KnownStores, after: &After<'_>, snap: &SnapRecord, store: &StoreRecord) -> bool {
    let parent = store.parent.as_ref().and_then(|parent| after.store(parent));
    parent.is_some_and(|parent| parent.brand_id == store.brand_id && may_see(known, after, snap, &parent))
}

/// The audience of a snap that is here.
pub(super) fn audience(state: &dyn KnownStores, snap: &SnapRecord) -> Audience {
    let publisher = publisher(state, &snap.snap_id);
    let grants = |store: &StoreRecord| {
        let listed = Listed::new(snap, publisher.as_deref());
        let is_held = |id: &str| state.store(id).is_some();
        let shares = |home: &str| state.store(home).is_some_and(|home| shares(&home, store));
        store.grants_of(&snap.snap_id).iter().any(|grant| hands_out(store, grant, listed, is_held, shares))
    };
    let mut audience: Audience = snap.is_public().then_some(None).into_iter().collect();
    for store in state.stores() {
        let parent = store.parent.as_ref().and_then(|parent| state.store(parent));
        if grants(&store) || parent.is_some_and(|parent| parent.brand_id == store.brand_id && grants(&parent))
        {
            audience.insert(Some(store.store_id.clone()));
        }
    }
    audience
}

/// The snap's signed publisher.
fn publisher(state: &dyn KnownStores, snap_id: &str) -> Option<String> {
    let at = Ref { kind: AssertionType::SnapDeclaration, key: vec![SERIES.into(), snap_id.into()] };
    match state.find(&at)?.details() {
        Details::SnapDeclaration(declaration) => Some(declaration.publisher_id.clone()),
        _ => None,
    }
}

/// Records the operator's permission in the grant.
fn tell(change: &mut Change, store_id: &str, snap_id: &str) {
    let store = change.stores.iter_mut().filter(|store| store.store_id == store_id);
    for store in store {
        let grants = &mut Arc::make_mut(store).grants;
        grants
            .iter_mut()
            .filter(|grant| grant.snap_id == snap_id)
            .for_each(|grant| grant.reason = Reason::Told);
        grants.sort();
    }
}

fn seen(
    known: &dyn KnownStores,
    change: &Change,
    (snap_id, name): (&str, &str),
    store: Option<StoreId>,
    seen: bool,
    refused: bool,
) -> ViewChange {
    let record = store.as_ref().and_then(|id| After { known, change }.store(id));
    let brand = record.map(|store| store.brand_id.clone());
    ViewChange {
        name: name.to_owned(),
        snap_id: snap_id.to_owned(),
        store: store.map(String::from),
        brand,
        seen,
        refused,
    }
}
