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
use crate::tls::ClientName;

/// Devices that wait to be written down at most; more are forgotten until their next refresh.
const MOST: usize = 8192;
/// How often they are written down.
const EVERY: Duration = Duration::from_secs(10);

/// Sightings that wait for the database.
#[derive(Default)]
pub(crate) struct Sightings {
    waiting: Mutex<HashMap<DeviceId, Seen>>,
}

/// One device that was seen.
struct Seen {
    at_micros: i64,
    /// The subject of its client certificate.
    client: Option<ClientName>,
    snaps: Value,
}

impl Sightings {
    /// Notes a device that refreshes, what it runs, and whose client certificate it showed.
    pub(crate) fn note(&self, principal: &Principal, context: &[Installed], client: Option<ClientName>) {
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
        let seen = Seen { at_micros: clock::micros(), client, snaps: Value::from(snaps) };
        waiting.insert(device.clone(), seen);
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
            .map(|(device, seen)| Sighting {
                brand: device.brand.clone(),
                model: device.model.clone(),
                serial: device.serial.clone(),
                seen_at_micros: seen.at_micros,
                address: String::new(),
                client: seen.client.as_ref().map(|client| client.0.to_string()).unwrap_or_default(),
                snaps: Some(seen.snaps.clone()),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schema::session::Session;

    use super::*;
    use crate::storage::Settings;

    #[tokio::test]
    async fn the_subject_of_a_client_certificate_is_written_down() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = Database::open(&Settings::Sqlite(folder.path().join("airlock.db"))).await.unwrap();
        database.migrate(0).await.unwrap();
        let device: DeviceId = "acme/gateway/1".parse().unwrap();
        let session = Session { device, store: None, verified: true, issued: 0, expires: 1 };
        let principal = Principal::Device(Arc::new(session));
        let own: Vec<Installed> = serde_json::from_value(json!([{ "snap-id": "a" }])).unwrap();

        let sightings = Sightings::default();
        sightings.note(&principal, &own, Some(ClientName("CN=gateway-1".into())));
        sightings.write(&database).await;
        let seen = database.devices(10).await.unwrap();
        assert_eq!(seen.iter().map(|device| &*device.last.client).collect::<Vec<_>>(), ["CN=gateway-1"]);
    }
}
