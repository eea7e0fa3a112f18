//! Stores whose metadata was imported, and which snaps their lists name.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use foldhash::quality::RandomState;
use schema::store::SnapId;

use crate::storage::records::{Grant, StoreRecord};

/// A store's metadata, whose grants are found by the snap: each search asks for every snap that it finds.
pub(crate) struct Store {
    /// What was imported.
    pub(crate) record: Arc<StoreRecord>,
    /// Where in the sorted grants those of a snap are. Like those of [`hashed`](super::hashed), the keys come from no request.
    places: HashMap<SnapId, Range<usize>, RandomState>,
}

impl Store {
    /// Its grants of a snap.
    pub(super) fn grants_of(&self, snap_id: &str) -> &[Grant] {
        self.places.get(snap_id).and_then(|place| self.record.grants.get(place.clone())).unwrap_or_default()
    }
}

impl From<StoreRecord> for Store {
    fn from(mut record: StoreRecord) -> Self {
        record.grants.sort();
        let (mut places, mut from) = (HashMap::default(), 0);
        for of_snap in record.grants.chunk_by(|one, other| one.snap_id == other.snap_id) {
            let place = from..from + of_snap.len();
            from = place.end;
            places.extend(of_snap.first().map(|grant| (grant.snap_id.clone(), place)));
        }
        Self { record: record.into(), places }
    }
}
