//! The catalog as the state that imports are planned against.

use std::sync::Arc;

use schema::assertion::{Anchors, Assertion, AssertionSource, Ref};
use schema::digest::Sha3_384;
use schema::store::{Channel, SnapId};

use super::{HeldRevision, KnownState, KnownStores};
use crate::catalog::Catalog;
use crate::storage::records::{ReleaseRecord, SnapRecord, StoreRecord};

impl AssertionSource for Catalog {
    fn find(&self, wanted: &Ref) -> Option<Arc<Assertion>> {
        self.assertions.find(wanted)
    }

    fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>> {
        self.assertions.keys_of(account_id)
    }
}

impl KnownStores for Catalog {
    fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    fn snap(&self, snap_id: &str) -> Option<SnapRecord> {
        self.snap_by_id(snap_id).map(|snap| snap.record())
    }

    fn store(&self, store_id: &str) -> Option<Arc<StoreRecord>> {
        self.stores.get(store_id).map(|store| Arc::clone(&store.record))
    }

    fn stores(&self) -> Vec<Arc<StoreRecord>> {
        self.stores.values().map(|store| Arc::clone(&store.record)).collect()
    }
}

impl KnownState for Catalog {
    fn generation(&self) -> i64 {
        self.position.generation
    }

    fn has_snap_named(&self, name: &str) -> bool {
        !self.snaps_named(name).is_empty()
    }

    fn revision(&self, snap_id: &str, revision: u32) -> Option<HeldRevision> {
        let held = self.snap_by_id(snap_id)?.revisions.get(&revision)?;
        Some(HeldRevision { blob: held.blob.digest, architectures: held.architectures.clone() })
    }

    fn component(&self, snap_id: &str, name: &str, revision: u32) -> Option<Sha3_384> {
        let held = self.snap_by_id(snap_id)?.components.get(&(name.to_owned(), revision))?;
        Some(held.digest)
    }

    fn imported_releases(&self, snap_id: &str) -> Vec<ReleaseRecord> {
        self.snap_by_id(snap_id).map(|snap| snap.imported.clone()).unwrap_or_default()
    }

    fn closed_channels(&self, snap_id: &str) -> Vec<ReleaseRecord> {
        self.snap_by_id(snap_id).map(|snap| snap.closed.clone()).unwrap_or_default()
    }

    fn rolling_out(&self, snap_id: &SnapId) -> Option<(Channel, String)> {
        self.live_rollout(snap_id).map(|rollout| (rollout.record.channel.clone(), rollout.name.clone()))
    }

    fn has_blob(&self, digest: &Sha3_384) -> bool {
        self.blob(digest).is_some()
    }
}
