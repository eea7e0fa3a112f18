//! Which devices were seen, written down in batches and never in a device's way.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use schema::api::device::Installed;
use schema::store::DeviceId;
use serde_json::{Value, json};
use tracing::debug;

use crate::catalog::Principal;
use crate::clock;
use crate::storage::Database;
use crate::storage::records::Sighting;

/// Devices that wait to be written down at most; more are forgotten until their next refresh.
const MOST: usize = 8192;
/// How often they are written down.
const EVERY: Duration = Duration::from_secs(10);

/// Sightings that wait for the database.
#[derive(Default)]
pub(crate) struct Sightings {
    waiting: Mutex<HashMap<DeviceId, (i64, Value)>>,
}

impl Sightings {
    /// Notes a device that refreshes, and what it runs.
    pub(crate) fn note(&self, principal: &Principal, context: &[Installed]) {
        let Some(device) = principal.device() else { return };
        // Bulk assertion updates come without a context and would hide what was said before.
        if context.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST && !waiting.contains_key(device) {
            return;
        }
        let snaps: Vec<Value> =
            context.iter().map(|own| json!([own.snap_id, own.revision, own.tracking_channel])).collect();
        waiting.insert(device.clone(), (clock::micros(), Value::from(snaps)));
    }

    /// Writes them down from time to time, for ever. What cannot be written waits for the next round.
    pub(crate) async fn keep_writing(&self, database: &Database) {
        let mut round = tokio::time::interval(EVERY);
        loop {
            round.tick().await;
            self.write(database).await;
        }
    }

    /// Writes down what waits.
    pub(crate) async fn write(&self, database: &Database) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return;
        }
        let batch: Vec<Sighting> = waiting
            .iter()
            .map(|(device, (seen_at_micros, snaps))| Sighting {
                brand: device.brand.clone(),
                model: device.model.clone(),
                serial: device.serial.clone(),
                seen_at_micros: *seen_at_micros,
                address: String::new(),
                client: String::new(),
                snaps: Some(snaps.clone()),
                missed: None,
            })
            .collect();
        if let Err(error) = database.record_sightings(batch).await {
            debug!(error = &error as &dyn std::error::Error, "Sightings wait for the database");
            let mut newer = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for (device, seen) in waiting {
                newer.entry(device).or_insert(seen);
            }
        }
    }
}
