//! Which lists of stores count: a store's list names snaps, and shows only those that it may hand out.
//!
//! Nobody signs the metadata of a store, so a list alone makes no private snap of another store visible. A store hands out
//! what is public, what was pushed for it, what it calls its own and its brand's account is signed to publish, and what
//! the snap's own store shares with it: a store and the one that it builds on share, and so do two that name each other
//! in their inclusion lists. Anything else takes the operator's word, which is kept in the grant.

use schema::store::GLOBAL_STORE;
use serde_json::Value;

use crate::storage::records::{Grant, Reason, SnapRecord, StoreRecord};

impl SnapRecord {
    /// Does everybody see it?
    pub(crate) fn is_public(&self) -> bool {
        !self.private && self.stores.iter().any(|store| store == GLOBAL_STORE)
    }
}

/// May the store hand out the snap that it lists? `publisher` is the one of the signed declaration, `find` finds a store
/// whose metadata was imported.
pub(crate) fn hands_out(
    store: &StoreRecord,
    grant: &Grant,
    snap: &SnapRecord,
    publisher: Option<&str>,
    find: impl Fn(&str) -> Option<StoreRecord>,
) -> bool {
    if snap.is_public() || grant.reason == Reason::Told || snap.stores.contains(&store.store_id) {
        return true;
    }
    let homes: Vec<StoreRecord> = snap.stores.iter().filter_map(|home| find(home)).collect();
    let signed = publisher == Some(&store.brand_id) && (grant.reason == Reason::Own || homes.is_empty());
    signed || homes.iter().any(|home| shares(home, store))
}

/// Does one store share its snaps with another, and does that one take them?
pub(crate) fn shares(home: &StoreRecord, with: &StoreRecord) -> bool {
    let builds_on = |one: &StoreRecord, other: &StoreRecord| {
        one.brand_id == other.brand_id && one.parent.as_ref() == Some(&other.store_id)
    };
    builds_on(home, with)
        || builds_on(with, home)
        || (names(home, "allowed-inclusion-target-stores", &with.store_id)
            && names(with, "allowed-inclusion-source-stores", &home.store_id))
}

/// Is a store in a list of another one's settings?
fn names(store: &StoreRecord, setting: &str, id: &str) -> bool {
    let document: Value = serde_json::from_str(&store.document).unwrap_or_default();
    let list = document.get(setting).and_then(Value::as_array);
    list.is_some_and(|list| list.iter().any(|named| named.as_str() == Some(id)))
}
