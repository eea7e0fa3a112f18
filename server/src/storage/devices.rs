//! Devices as they were last seen.

use std::collections::BTreeMap;

use schema::store::DeviceId;

use super::Database;
use super::engine::{Lane, Mode, Reader, Row, statements};
use super::error::StorageError;
use super::records::{DeviceRecord, Sighting};

statements! {
    // Sightings may arrive late or twice, from several servers: the newest wins, and keeps what it does not mention.
    UPSERT_SIGHTING = "INSERT INTO devices (brand, model, serial, first_seen, last_seen, address, client, snaps, missed, store, agent)
        VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (brand, model, serial) DO UPDATE SET last_seen = excluded.last_seen, address = excluded.address,
            client = excluded.client, snaps = COALESCE(excluded.snaps, devices.snaps),
            missed = COALESCE(excluded.missed, devices.missed), store = excluded.store, agent = excluded.agent
        WHERE devices.last_seen <= excluded.last_seen";
    SELECT_DEVICES = "SELECT brand, model, serial, last_seen, address, client, snaps, missed, store, agent, first_seen
        FROM devices ORDER BY last_seen DESC LIMIT $1";
    SELECT_DEVICE = "SELECT brand, model, serial, last_seen, address, client, snaps, missed, store, agent, first_seen
        FROM devices WHERE brand = $1 AND model = $2 AND serial = $3";
    COUNT_DEVICES = "SELECT COUNT(*) FROM devices";
}

impl Database {
    /// Records sightings of devices in one transaction. Of several sightings of one device the newest counts.
    pub(crate) async fn record_sightings(&self, sightings: Vec<Sighting>) -> Result<(), StorageError> {
        // In key order, so that two servers cannot deadlock.
        let mut newest: BTreeMap<(String, String, String), Sighting> = BTreeMap::new();
        for sighting in sightings {
            let key = (sighting.brand.clone(), sighting.model.clone(), sighting.serial.clone());
            match newest.get(&key) {
                Some(held) if held.seen_at_micros > sighting.seen_at_micros => {}
                _ => drop(newest.insert(key, sighting)),
            }
        }
        if newest.is_empty() {
            return Ok(());
        }
        let rows = newest.into_values().map(|sighting| {
            vec![
                sighting.brand.into(),
                sighting.model.into(),
                sighting.serial.into(),
                sighting.seen_at_micros.into(),
                sighting.address.into(),
                sighting.client.into(),
                sighting.snaps.as_ref().into(),
                sighting.missed.as_ref().into(),
                sighting.store.into(),
                sighting.agent.into(),
            ]
        });
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        transaction.each(UPSERT_SIGHTING, rows.collect()).await?;
        transaction.commit().await
    }

    /// The `limit` devices that were seen last, newest first.
    pub(crate) async fn devices(&self, limit: u32) -> Result<Vec<DeviceRecord>, StorageError> {
        let rows = self.engine.read(Lane::Operator, SELECT_DEVICES, vec![limit.into()]).await?;
        rows.into_iter().map(record).collect()
    }

    /// How many devices were seen.
    pub(crate) async fn count_devices(&self) -> Result<i64, StorageError> {
        let rows = self.engine.read(Lane::Operator, COUNT_DEVICES, Vec::new()).await?;
        Reader::new("devices", rows.into_iter().next().unwrap_or_default()).int("count")
    }

    /// One device, if it was seen.
    pub(crate) async fn device(&self, device: &DeviceId) -> Result<Option<DeviceRecord>, StorageError> {
        let key =
            vec![device.brand.as_str().into(), device.model.as_str().into(), device.serial.as_str().into()];
        let rows = self.engine.read(Lane::Operator, SELECT_DEVICE, key).await?;
        rows.into_iter().next().map(record).transpose()
    }
}

fn record(row: Row) -> Result<DeviceRecord, StorageError> {
    let mut row = Reader::new("devices", row);
    let last = Sighting {
        brand: row.text("brand")?,
        model: row.text("model")?,
        serial: row.text("serial")?,
        seen_at_micros: row.int("last_seen")?,
        address: row.text("address")?,
        client: row.text("client")?,
        snaps: row.optional_json("snaps")?,
        missed: row.optional_json("missed")?,
        store: row.text("store")?,
        agent: row.text("agent")?,
    };
    Ok(DeviceRecord { first_seen_micros: row.int("first_seen")?, last })
}
