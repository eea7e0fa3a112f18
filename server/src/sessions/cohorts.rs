//! What cohorts keep: the map in their key for 90 days, and then what the channels held when those were over, and so on. The
//! maps of later periods are read from history once and remembered.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use schema::session::Cohort;
use schema::store::SnapId;
use tracing::warn;

use super::Sessions;
use crate::clock;
use crate::storage::Database;
use crate::storage::error::StorageError;
use crate::storage::history::kept;

/// Maximum number of maps that are remembered.
const MOST: usize = 4096;

/// Maps of later periods, by their snaps and moments.
#[derive(Default)]
pub(super) struct Frozen(Mutex<HashMap<(SnapId, u64), Cohort>>);

impl Frozen {
    async fn at(&self, snap_id: &SnapId, at: u64, database: &Database) -> Result<Cohort, StorageError> {
        let key = (snap_id.clone(), at);
        let held = |frozen: &Self| frozen.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(cohort) = held(self) {
            return Ok(cohort);
        }
        let at_micros = i64::try_from(at).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let rows = database.map_of(snap_id, at_micros).await?;
        let releases =
            kept(rows.iter().map(|row| (&row.channel, &row.architecture, row.revision, row.origin)));
        let cohort = Cohort { snap_id: snap_id.clone(), frozen_at: at, releases };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(key, cohort.clone());
        Ok(cohort)
    }
}

impl Sessions {
    /// What a key keeps now; `None` if it is not this store's. While history cannot be read, it is what the key itself holds,
    /// so that nobody moves.
    pub(crate) async fn cohort(&self, key: &str, database: &Database) -> Option<Cohort> {
        let cohort = self.open_cohort(key)?;
        let Some(again) = cohort.frozen_again(clock::seconds()) else { return Some(cohort) };
        match self.frozen.at(&cohort.snap_id, again, database).await {
            Ok(frozen) => Some(frozen),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "Cannot read what a cohort keeps by now");
                Some(cohort)
            }
        }
    }
}
