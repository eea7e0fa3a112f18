//! Which lists of stores count: a store's list names snaps, and only shows those that the store may grant.
//!
//! Nobody signs the metadata of a store, so a list alone makes no private snap of another store visible. A store hands out
//! what is public, what was pushed for it, what it calls its own and its brand's account is signed to publish, and what
//! the snap's own store shares with it: of one brand, a store and the one that it builds on share, and so do two that name
//! each other in their inclusion lists. Anything else takes the operator's word, which is kept in the grant; between two
//! brands it does so even where their lists agree, since each list is only what somebody's file says.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use schema::store::StoreId;
use serde_json::Value;

use super::Snap;
use crate::storage::records::{Grant, Reason, SnapRecord, StoreRecord};

impl SnapRecord {
    /// Whether everybody sees it.
    pub(crate) fn is_public(&self) -> bool {
        !self.private && self.stores.iter().any(StoreId::is_global)
    }
}

/// The facts about a snap that decide.
#[derive(Clone, Copy)]
pub(crate) struct Listed<'a> {
    public: bool,
    stores: &'a [StoreId],
    publisher: Option<&'a str>,
}

impl<'a> Listed<'a> {
    /// An imported snap, with the publisher in its signed declaration.
    pub(crate) fn new(snap: &'a SnapRecord, publisher: Option<&'a str>) -> Self {
        Self { public: snap.is_public(), stores: &snap.stores, publisher }
    }
}

impl<'a> From<&'a Snap> for Listed<'a> {
    fn from(snap: &'a Snap) -> Self {
        Self { public: snap.is_public(), stores: &snap.stores, publisher: snap.publisher_id.as_deref() }
    }
}

/// Whether the store may grant the listed snap. `is_held` says whether a store's metadata was imported, `shares`
/// whether such a store shares its snaps with this one.
pub(crate) fn hands_out(
    store: &StoreRecord,
    grant: &Grant,
    snap: Listed<'_>,
    is_held: impl Fn(&str) -> bool,
    shares: impl Fn(&str) -> bool,
) -> bool {
    if snap.public || grant.reason == Reason::Told || snap.stores.contains(&store.store_id) {
        return true;
    }
    let mut homes = snap.stores.iter().filter(|home| is_held(home)).peekable();
    let signed =
        snap.publisher == Some(&store.brand_id) && (grant.reason == Reason::Own || homes.peek().is_none());
    signed || homes.any(|home| shares(home))
}

/// Whether one store shares its snaps with another, which accepts them.
pub(crate) fn shares(home: &StoreRecord, with: &StoreRecord) -> bool {
    let builds_on = |one: &StoreRecord, other: &StoreRecord| one.parent.as_ref() == Some(&other.store_id);
    let of_one_brand = home.brand_id == with.brand_id;
    of_one_brand
        && (builds_on(home, with)
            || builds_on(with, home)
            || (named(home, TARGETS).contains(&with.store_id)
                && named(with, SOURCES).contains(&home.store_id)))
}

const TARGETS: &str = "allowed-inclusion-target-stores";
const SOURCES: &str = "allowed-inclusion-source-stores";

/// The stores in a list of a store's settings.
fn named(store: &StoreRecord, setting: &str) -> BTreeSet<StoreId> {
    let document: Value = serde_json::from_str(&store.document).unwrap_or_default();
    let list = document.get(setting).and_then(Value::as_array).cloned().unwrap_or_default();
    list.iter().filter_map(|id| id.as_str()?.parse().ok()).collect()
}

/// The sharing relations of some stores, and whose stores they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sharing {
    with: HashMap<StoreId, HashSet<StoreId>>,
    brands: HashSet<String>,
}

impl Sharing {
    pub(super) fn among<'a>(stores: impl Iterator<Item = &'a StoreRecord>) -> Self {
        let stores: BTreeMap<&str, &StoreRecord> = stores.map(|store| (&*store.store_id, store)).collect();
        let brands = stores.values().map(|store| store.brand_id.to_string()).collect();
        let mut sharing = Self { brands, ..Self::default() };
        for home in stores.values() {
            let parent = home.parent.clone();
            let children = stores.values().filter(|store| store.parent.as_ref() == Some(&home.store_id));
            let children = children.map(|store| store.store_id.clone());
            for id in named(home, TARGETS).into_iter().chain(parent).chain(children) {
                if stores.get(&*id).is_some_and(|with| shares(home, with)) {
                    sharing.with.entry(home.store_id.clone()).or_default().insert(id);
                }
            }
        }
        sharing
    }

    pub(super) fn shares(&self, home: &str, with: &str) -> bool {
        self.with.get(home).is_some_and(|with_these| with_these.contains(with))
    }

    /// Whether one of the stores is of this brand.
    pub(super) fn knows_brand(&self, brand: &str) -> bool {
        self.brands.contains(brand)
    }
}
