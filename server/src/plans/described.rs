//! How grants, and what stores and snaps say about themselves, differ between generations.

use std::collections::{BTreeMap, BTreeSet};

use schema::api::admin::{Described as Of, FieldMove, GrantMove, Granted, MetadataChange, MetadataMove};
use schema::store::{SnapId, StoreId};
use serde_json::{Map, Value, json};

use super::overrides::name_of;
use super::sides::{Sides, sides, turns};
use crate::catalog::Catalog;
use crate::storage::grant_history::{Described, Home, StoreGrant};
use crate::storage::records::{OF_REVISION, SnapRecord, StoreRecord};

/// The longest value that is told, in characters of its JSON. A longer one has only changed.
const SHORT: usize = 60;

/// What differs: grants, and metadata.
type Differences = (Vec<GrantMove>, Vec<MetadataMove>);

/// What ended and began, by generation.
pub(super) struct Turns<'a> {
    grants: BTreeMap<i64, Sides<'a, StoreGrant>>,
    stores: BTreeMap<i64, Sides<'a, StoreRecord>>,
    snaps: BTreeMap<i64, Sides<'a, SnapRecord>>,
    homes: BTreeMap<i64, Sides<'a, Home>>,
}

impl<'a> Turns<'a> {
    pub(super) fn of(all: &'a Described) -> Self {
        Self {
            grants: turns(&all.grants),
            stores: turns(&all.stores),
            snaps: turns(&all.snaps),
            homes: turns(&all.homes),
        }
    }

    /// How a generation differs from the one before.
    pub(super) fn at(&mut self, catalog: &Catalog, generation: i64) -> Differences {
        let grants = self.grants.remove(&generation).unwrap_or_default();
        let stores = self.stores.remove(&generation).unwrap_or_default();
        let snaps = self.snaps.remove(&generation).unwrap_or_default();
        let homes = self.homes.remove(&generation).unwrap_or_default();
        (grants_moved(catalog, &grants), metadata(catalog, &stores, &snaps, &homes))
    }
}

/// How one generation becomes another, given what began or ended between them.
pub(super) fn differences(catalog: &Catalog, all: &Described, between: (i64, i64)) -> Differences {
    let grants = grants_moved(catalog, &sides(&all.grants, between));
    let (snaps, homes) = (sides(&all.snaps, between), sides(&all.homes, between));
    (grants, metadata(catalog, &sides(&all.stores, between), &snaps, &homes))
}

fn grants_moved(catalog: &Catalog, sides: &Sides<'_, StoreGrant>) -> Vec<GrantMove> {
    let mut all: BTreeMap<(&StoreId, &SnapId), [BTreeSet<Granted>; 2]> = BTreeMap::new();
    let before = sides.before.iter().map(|one| (0, one));
    for (side, StoreGrant { store_id, grant }) in before.chain(sides.after.iter().map(|one| (1, one))) {
        let granted = Granted { reason: grant.reason.as_text().into(), name: grant.name.to_string() };
        all.entry((store_id, &grant.snap_id)).or_default()[side].insert(granted);
    }
    let moved = all.into_iter().filter(|(_, [before, after])| before != after);
    let mut moves: Vec<GrantMove> = moved
        .map(|((store, snap_id), sides)| {
            let [before, after] = sides.map(|side| side.into_iter().collect::<Vec<_>>());
            // One that was not pushed yet has only the name that the store gives it.
            let listed = || after.first().or(before.first()).map(|granted| granted.name.clone());
            let held = catalog.snap_by_id(snap_id).map(|snap| snap.name.to_string());
            let snap = held.or_else(listed).unwrap_or_default();
            GrantMove { store: store.to_string(), snap, snap_id: snap_id.to_string(), before, after }
        })
        .collect();
    moves.sort_by(|one, other| {
        (&one.store, &one.snap, &one.snap_id).cmp(&(&other.store, &other.snap, &other.snap_id))
    });
    moves
}

fn metadata(
    catalog: &Catalog,
    stores: &Sides<'_, StoreRecord>,
    snaps: &Sides<'_, SnapRecord>,
    homes: &Sides<'_, Home>,
) -> Vec<MetadataMove> {
    let stores = paired(stores, |store| &store.store_id).into_iter().filter_map(|(id, sides)| {
        let named = sides[1].or(sides[0])?;
        let (change, fields) = moved(sides, of_store)?;
        Some(MetadataMove { of: Of::Store, id: id.to_string(), name: named.name.clone(), change, fields })
    });
    let mut moves: Vec<MetadataMove> = stores.collect();

    let mut pushed_for: BTreeMap<&SnapId, Vec<FieldMove>> = BTreeMap::new();
    let [before, after] =
        [&homes.before, &homes.after].map(|side| side.iter().copied().collect::<BTreeSet<_>>());
    for gone in before.difference(&after) {
        let (field, before) = (FieldMove::HOME.to_owned(), Some(json!(gone.store_id.as_str())));
        pushed_for.entry(&gone.snap_id).or_default().push(FieldMove { field, before, after: None });
    }
    for new in after.difference(&before) {
        let (field, after) = (FieldMove::HOME.to_owned(), Some(json!(new.store_id.as_str())));
        pushed_for.entry(&new.snap_id).or_default().push(FieldMove { field, before: None, after });
    }
    let mut described = paired(snaps, |snap| &snap.snap_id);
    for id in pushed_for.keys() {
        described.entry(id).or_default();
    }
    let snaps = described.into_iter().filter_map(|(id, sides)| {
        let name = sides[1].or(sides[0]).map(|snap| snap.name.to_string());
        let stores = pushed_for.remove(id).unwrap_or_default();
        let (change, mut fields) = moved(sides, of_snap)
            .or_else(|| (!stores.is_empty()).then_some((MetadataChange::Changed, Vec::new())))?;
        // Who may see a new one.
        if change == MetadataChange::Added && sides[1].is_some_and(|snap| snap.private) {
            fields.push(field_move("private", [None, Some(json!(true))]));
        }
        fields.extend(stores);
        let name = name.unwrap_or_else(|| name_of(catalog, id));
        Some(MetadataMove { of: Of::Snap, id: id.to_string(), name, change, fields })
    });
    let mut snaps: Vec<MetadataMove> = snaps.collect();
    snaps.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    moves.append(&mut snaps);
    moves
}

fn paired<'a, T, K: Ord>(
    sides: &Sides<'a, T>,
    key: impl Fn(&'a T) -> &'a K,
) -> BTreeMap<&'a K, [Option<&'a T>; 2]> {
    let mut pairs: BTreeMap<&K, [Option<&T>; 2]> = BTreeMap::new();
    for one in sides.before.iter().copied() {
        pairs.entry(key(one)).or_default()[0] = Some(one);
    }
    for one in sides.after.iter().copied() {
        pairs.entry(key(one)).or_default()[1] = Some(one);
    }
    pairs
}

/// What the metadata of a store says.
fn of_store(store: &StoreRecord) -> Map<String, Value> {
    let mut fields: Map<String, Value> = serde_json::from_str(&store.document).unwrap_or_default();
    fields.remove("id");
    fields.insert("brand-id".into(), json!(store.brand_id));
    fields.insert("name".into(), json!(store.name));
    fields.insert("parent".into(), json!(store.parent));
    fields
}

/// What the metadata of a snap says.
fn of_snap(snap: &SnapRecord) -> Map<String, Value> {
    let mut fields = snap.text.as_object().cloned().unwrap_or_default();
    fields.remove(OF_REVISION);
    fields.insert("name".into(), json!(snap.name.as_str()));
    fields.insert("type".into(), json!(snap.kind.as_str()));
    fields.insert("private".into(), json!(snap.private));
    fields
}

/// What happened to something that was there before, after or both, and what changed about one that stayed; `None` if nothing.
fn moved<T>(
    sides: [Option<&T>; 2],
    fields: impl Fn(&T) -> Map<String, Value>,
) -> Option<(MetadataChange, Vec<FieldMove>)> {
    let [before, after] = match sides {
        [None, None] => return None,
        [None, Some(_)] => return Some((MetadataChange::Added, Vec::new())),
        [Some(_), None] => return Some((MetadataChange::Removed, Vec::new())),
        [Some(before), Some(after)] => [fields(before), fields(after)],
    };
    let value =
        |side: &Map<String, Value>, field: &str| side.get(field).filter(|value| !value.is_null()).cloned();
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let moves = names.into_iter().filter_map(|field| {
        let sides = [value(&before, field), value(&after, field)];
        (sides[0] != sides[1]).then(|| field_move(field, sides))
    });
    let moves: Vec<FieldMove> = moves.collect();
    (!moves.is_empty()).then_some((MetadataChange::Changed, moves))
}

fn field_move(field: &str, sides: [Option<Value>; 2]) -> FieldMove {
    let is_short = |value: &Value| value.to_string().chars().nth(SHORT).is_none();
    let [before, after] = match sides.iter().flatten().all(is_short) {
        true => sides,
        false => [None, None],
    };
    FieldMove { field: field.to_owned(), before, after }
}
