//! The store's state after a change.

use std::sync::Arc;

use schema::assertion::{Anchors, Assertion, AssertionSource, Details, Ref};

use super::KnownStores;
use crate::storage::records::{Change, SnapRecord, StoreRecord};

/// The state after a change that brings assertions, snaps and stores.
pub(super) struct After<'a> {
    pub(super) known: &'a dyn KnownStores,
    pub(super) change: &'a Change,
}

impl After<'_> {
    fn brought(&self) -> impl Iterator<Item = &Arc<Assertion>> {
        self.change.assertions.iter().map(|verified| verified.assertion())
    }
}

impl AssertionSource for After<'_> {
    fn find(&self, wanted: &Ref) -> Option<Arc<Assertion>> {
        let brought = self.brought().filter(|assertion| assertion.reference() == *wanted);
        brought.max_by_key(|assertion| assertion.revision()).cloned().or_else(|| self.known.find(wanted))
    }

    fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>> {
        let of_account = |assertion: &&Arc<Assertion>| match assertion.details() {
            Details::AccountKey(key) => key.account_id == account_id,
            _ => false,
        };
        let mut keys: Vec<_> = self.brought().filter(of_account).cloned().collect();
        let held = self.known.keys_of(account_id);
        keys.extend(
            held.into_iter().filter(|held| self.brought().all(|new| new.reference() != held.reference())),
        );
        keys
    }
}

impl KnownStores for After<'_> {
    fn anchors(&self) -> &Anchors {
        self.known.anchors()
    }

    fn snap(&self, snap_id: &str) -> Option<SnapRecord> {
        let held = self.known.snap(snap_id);
        let Some(brought) = self.change.snaps.iter().find(|snap| snap.snap_id == snap_id) else {
            return held;
        };
        // A commit adds to a snap's stores.
        let mut snap = brought.clone();
        snap.stores.extend(held.map(|held| held.stores).unwrap_or_default());
        snap.stores.sort();
        snap.stores.dedup();
        Some(snap)
    }

    fn store(&self, store_id: &str) -> Option<Arc<StoreRecord>> {
        let brought = self.change.stores.iter().find(|store| store.store_id == store_id);
        brought.cloned().or_else(|| self.known.store(store_id))
    }

    fn stores(&self) -> Vec<Arc<StoreRecord>> {
        let brought = |id: &str| self.change.stores.iter().any(|store| store.store_id == id);
        let mut stores = self.known.stores();
        stores.retain(|held| !brought(&held.store_id));
        stores.extend(self.change.stores.iter().cloned());
        stores
    }
}
