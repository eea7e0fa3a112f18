//! What an import needs to know about the store's current state.

use std::sync::Arc;

use schema::assertion::{Anchors, AssertionSource};
use schema::digest::Sha3_384;
use schema::store::{Architecture, Channel, SnapId};

use crate::storage::records::{ReleaseRecord, SnapRecord, StoreRecord};

/// A stored snap revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldRevision {
    /// Its file.
    pub(crate) blob: Sha3_384,
    /// Its architectures.
    pub(crate) architectures: Vec<Architecture>,
}

/// The state against which brand store metadata is judged.
pub(crate) trait KnownStores: AssertionSource {
    /// The trust anchors.
    fn anchors(&self) -> &Anchors;
    /// A snap that was pushed.
    fn snap(&self, snap_id: &str) -> Option<SnapRecord>;
    /// A store whose metadata was imported.
    fn store(&self, store_id: &str) -> Option<Arc<StoreRecord>>;
    /// All of them.
    fn stores(&self) -> Vec<Arc<StoreRecord>>;
}

/// A snapshot of the store's state. The catalog is one.
pub(crate) trait KnownState: KnownStores {
    /// The generation of this state: another one may have other keys and assertions.
    fn generation(&self) -> i64;
    /// Whether a snap of this name was pushed.
    fn has_snap_named(&self, name: &str) -> bool;
    /// A revision that was pushed.
    fn revision(&self, snap_id: &str, revision: u32) -> Option<HeldRevision>;
    /// The file of a component revision that was pushed.
    fn component(&self, snap_id: &str, name: &str, revision: u32) -> Option<Sha3_384>;
    /// A snap's channel map as it was imported, without overrides.
    fn imported_releases(&self, snap_id: &str) -> Vec<ReleaseRecord>;
    /// A snap's channels that the operator closed.
    fn closed_channels(&self, snap_id: &str) -> Vec<ReleaseRecord>;
    /// The channel in which a rollout of the snap is under way, and the rollout's name.
    fn rolling_out(&self, snap_id: &SnapId) -> Option<(Channel, String)>;
    /// Does a revision own these bytes?
    fn has_blob(&self, digest: &Sha3_384) -> bool;
}
