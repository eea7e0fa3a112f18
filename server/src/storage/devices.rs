//! Devices as they were last seen.

use std::collections::BTreeMap;

use schema::store::{Architecture, DeviceId, Epoch, StoreId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Database;
use super::audit::{ATTEMPTS, insert_event};
use super::engine::{Lane, Mode, Reader, Row, Value, statements};
use super::error::StorageError;
use super::records::AuditEvent;

statements! {
    // Sightings may arrive late or twice, from several servers: the newest wins, and keeps what it does not mention. Within ten
    // minutes everything is one visit.
    UPSERT_SIGHTING = "INSERT INTO devices (brand, model, serial, first_seen, last_seen, address, client, missed, store, agent,
            architecture, verified, follows)
        VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        ON CONFLICT (brand, model, serial) DO UPDATE SET last_seen = excluded.last_seen, address = excluded.address,
            client = excluded.client,
            missed = COALESCE(excluded.missed, devices.missed), store = excluded.store, agent = excluded.agent,
            architecture = COALESCE(NULLIF(excluded.architecture, ''), devices.architecture), verified = excluded.verified,
            follows = COALESCE(excluded.follows, devices.follows),
            pace = CASE WHEN excluded.last_seen < devices.last_seen + 600000000 THEN devices.pace
                WHEN devices.pace = 0 THEN excluded.last_seen - devices.last_seen
                ELSE (3 * devices.pace + excluded.last_seen - devices.last_seen) / 4 END
        WHERE devices.last_seen <= excluded.last_seen";
    // After the sighting of this moment, unless a later one is there. A list that is as it was is not written again.
    UPSERT_SNAPS = "INSERT INTO device_snaps (brand, model, serial, snaps)
        SELECT brand, model, serial, CAST($5 AS TEXT) FROM devices
        WHERE brand = $1 AND model = $2 AND serial = $3 AND last_seen = $4
        ON CONFLICT (brand, model, serial) DO UPDATE SET snaps = excluded.snaps WHERE device_snaps.snaps <> excluded.snaps
        RETURNING serial";
    SELECT_DEVICES = "SELECT brand, model, serial, last_seen, address, client, snaps, missed, store, agent, architecture, verified,
            first_seen, pace, follows
        FROM devices LEFT JOIN device_snaps USING (brand, model, serial)
        WHERE brand = COALESCE($2, brand) AND model = COALESCE($3, model) AND last_seen <= COALESCE($5, last_seen)
            AND (store = COALESCE($4, store) OR (store = '' AND $4 = 'ubuntu')) AND COALESCE(snaps, '') || COALESCE(follows, '') LIKE COALESCE($6, '%')
        ORDER BY last_seen DESC LIMIT $1";
    // By pages in the order of the primary key.
    SELECT_NEXT_DEVICES = "SELECT brand, model, serial, last_seen, address, client, snaps, missed, store, agent, architecture, verified,
            first_seen, pace, follows
        FROM devices LEFT JOIN device_snaps USING (brand, model, serial)
        WHERE (brand, model, serial) > ($6, $7, $8)
            AND brand = COALESCE($2, brand) AND model = COALESCE($3, model) AND last_seen <= COALESCE($5, last_seen)
            AND (store = COALESCE($4, store) OR (store = '' AND $4 = 'ubuntu'))
        ORDER BY brand, model, serial LIMIT $1";
    SELECT_BY_SERIAL = "SELECT brand, model, serial, last_seen, address, client, snaps, missed, store, agent, architecture, verified,
            first_seen, pace, follows
        FROM devices LEFT JOIN device_snaps USING (brand, model, serial)
        WHERE serial = $9 AND (brand, model, serial) > ($6, $7, $8)
            AND brand = COALESCE($2, brand) AND model = COALESCE($3, model) AND last_seen <= COALESCE($5, last_seen)
            AND (store = COALESCE($4, store) OR (store = '' AND $4 = 'ubuntu'))
        ORDER BY brand, model, serial LIMIT $1";
    SELECT_MISSING = "SELECT brand, model, serial, last_seen, address, client, snaps, missed, store, agent, architecture, verified,
            first_seen, pace, follows
        FROM devices LEFT JOIN device_snaps USING (brand, model, serial) WHERE missed IS NOT NULL ORDER BY last_seen DESC LIMIT $1";
    SELECT_DEVICE = "SELECT brand, model, serial, last_seen, address, client, snaps, missed, store, agent, architecture, verified,
            first_seen, pace, follows
        FROM devices LEFT JOIN device_snaps USING (brand, model, serial) WHERE brand = $1 AND model = $2 AND serial = $3";
    SET_MISSED = "UPDATE devices SET missed = $4 WHERE brand = $1 AND model = $2 AND serial = $3";
    COUNT_DEVICES = "SELECT COUNT(*) FROM devices";
    COUNT_BY_HOUR = "SELECT ($1 - last_seen) / 3600000000, COUNT(*) FROM devices
        WHERE last_seen > $2 AND last_seen <= $1 GROUP BY 1";
    COUNT_BY_STORE = "SELECT brand, store, COUNT(*) FROM devices WHERE store <> '' AND last_seen >= $1
        GROUP BY brand, store ORDER BY 3 DESC, brand, store";
    COUNT_SEEN = "SELECT COUNT(*) FROM devices WHERE last_seen >= $1";
}

/// A snap that a device runs. Texts are cut, so they need not be valid names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RunningEntry", into = "RunningEntry")]
pub(crate) struct Running {
    /// The snap's id.
    pub(crate) snap_id: String,
    /// The installed revision.
    pub(crate) revision: i64,
    /// The channel it follows.
    pub(crate) channel: String,
    /// The epoch of its data, unless it is the first one.
    pub(crate) epoch: Option<Epoch>,
    /// The validation sets that it is under, as `ACCOUNT/NAME=SEQUENCE`.
    pub(crate) sets: Vec<String>,
    /// The key of its cohort.
    pub(crate) cohort: Option<String>,
}

/// How [`Running`] is kept.
#[derive(Serialize, Deserialize)]
struct RunningEntry(
    String,
    i64,
    String,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<Epoch>,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<String>,
);

impl From<RunningEntry> for Running {
    fn from(RunningEntry(snap_id, revision, channel, epoch, sets, cohort): RunningEntry) -> Self {
        let epoch = epoch.filter(|epoch| *epoch != Epoch::default());
        Self { snap_id, revision, channel, epoch, sets: sets.unwrap_or_default(), cohort }
    }
}

impl From<Running> for RunningEntry {
    fn from(Running { snap_id, revision, channel, epoch, sets, cohort }: Running) -> Self {
        // Nothing may be left out before what is there.
        let sets = Some(sets).filter(|sets| !sets.is_empty() || cohort.is_some());
        let epoch = epoch.or_else(|| sets.is_some().then(Epoch::default));
        Self(snap_id, revision, channel, epoch, sets, cohort)
    }
}

/// A device's failed request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Missed {
    /// The snap's name, or its id if the name is unknown.
    pub(crate) name: String,
    /// A channel, or `revision N`.
    pub(crate) wanted: String,
    /// The error code sent.
    pub(crate) code: String,
    /// When, in microseconds since 1970.
    pub(crate) at_micros: i64,
}

/// A sighting of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// Which device.
    pub(crate) device: DeviceId,
    /// When, in microseconds since 1970.
    pub(crate) seen_at_micros: i64,
    /// The device's address.
    pub(crate) address: String,
    /// The subject of its client certificate; empty without one.
    pub(crate) client: String,
    /// The snaps it runs, if it said so.
    pub(crate) snaps: Option<Vec<Running>>,
    /// Its failed requests, newest first, if there were any.
    pub(crate) missed: Option<Vec<Missed>>,
    /// The store of its model, if that names one.
    pub(crate) store: Option<StoreId>,
    /// The `User-Agent` of its client, which includes the version.
    pub(crate) agent: String,
    /// Its architecture, if it said so.
    pub(crate) architecture: Option<Architecture>,
    /// Whether its session proves model and serial.
    pub(crate) verified: bool,
    /// The validation sets of which it asks for newer sequences, as `ACCOUNT/NAME=SEQUENCE`, if it did.
    pub(crate) follows: Option<Vec<String>>,
}

/// A device as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceRecord {
    /// When it was seen first, in microseconds since 1970.
    pub(crate) first_seen_micros: i64,
    /// How long it usually stays away, in microseconds; 0 if it came only once.
    pub(crate) pace_micros: i64,
    /// The last sighting, with the newest known values.
    pub(crate) last: Sighting,
}

/// Which devices to read; each field that is set narrows them.
#[derive(Debug, Clone, Default)]
pub(crate) struct DevicesWhere {
    /// Of this brand.
    pub(crate) brand: Option<String>,
    /// Of this model.
    pub(crate) model: Option<String>,
    /// Whose model names this store.
    pub(crate) store: Option<String>,
    /// Not seen after this moment, in microseconds since 1970.
    pub(crate) seen_before_micros: Option<i64>,
    /// That run the snap whose id begins so, or a snap under a validation set that begins so, and perhaps a few others.
    pub(crate) running: Option<String>,
    /// With this serial.
    pub(crate) serial: Option<String>,
}

impl Database {
    /// Records sightings of devices in one transaction. Of several sightings of one device the newest counts.
    /// Answers how many lists of snaps were written: those that changed.
    pub(crate) async fn record_sightings(&self, sightings: Vec<Sighting>) -> Result<usize, StorageError> {
        // In key order, so that two servers cannot deadlock.
        let mut newest: BTreeMap<DeviceId, Sighting> = BTreeMap::new();
        for sighting in sightings {
            match newest.get(&sighting.device) {
                Some(held) if held.seen_at_micros > sighting.seen_at_micros => {}
                _ => drop(newest.insert(sighting.device.clone(), sighting)),
            }
        }
        if newest.is_empty() {
            return Ok(0);
        }
        let (mut rows, mut lists): (Vec<Vec<Value>>, Vec<Vec<Value>>) = (Vec::new(), Vec::new());
        for sighting in newest.into_values() {
            let DeviceId { brand, model, serial } = sighting.device;
            if let Some(snaps) = sighting.snaps {
                let device = [&brand, &model, &serial].map(|part| Value::from(part.clone()));
                let (at, snaps) = (sighting.seen_at_micros.into(), json!(snaps).to_string().into());
                lists.push(device.into_iter().chain([at, snaps]).collect());
            }
            rows.push(vec![
                brand.into(),
                model.into(),
                serial.into(),
                sighting.seen_at_micros.into(),
                sighting.address.into(),
                sighting.client.into(),
                sighting.missed.map(|missed| json!(missed).to_string()).into(),
                sighting.store.map(String::from).unwrap_or_default().into(),
                sighting.agent.into(),
                sighting.architecture.map(String::from).unwrap_or_default().into(),
                sighting.verified.into(),
                sighting.follows.map(|follows| json!(follows).to_string()).into(),
            ]);
        }
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        transaction.each(UPSERT_SIGHTING, rows).await?;
        let written = transaction.each(UPSERT_SNAPS, lists).await?;
        transaction.commit().await?;
        Ok(written.iter().map(Vec::len).sum())
    }

    /// Of these devices the `limit` that were seen last, newest first.
    pub(crate) async fn devices(
        &self,
        of: DevicesWhere,
        limit: u32,
    ) -> Result<Vec<DeviceRecord>, StorageError> {
        let DevicesWhere { brand, model, store, seen_before_micros, running, .. } = of;
        let running = running.map(|text| format!("%\"{text}%"));
        let (limit, before) = (limit.into(), seen_before_micros.into());
        let values = vec![limit, brand.into(), model.into(), store.into(), before, running.into()];
        let rows = self.engine.read(Lane::Operator, SELECT_DEVICES, values).await?;
        rows.into_iter().map(record).collect()
    }

    /// Of these devices the first `limit` by name after one.
    pub(crate) async fn next_devices(
        &self,
        of: DevicesWhere,
        after: Option<&DeviceId>,
        limit: u32,
    ) -> Result<Vec<DeviceRecord>, StorageError> {
        let DevicesWhere { brand, model, store, seen_before_micros, serial, .. } = of;
        let name = |part: fn(&DeviceId) -> &str| after.map(part).unwrap_or_default().into();
        let mut values = vec![
            limit.into(),
            brand.into(),
            model.into(),
            store.into(),
            seen_before_micros.into(),
            name(|device| &device.brand),
            name(|device| &device.model),
            name(|device| &device.serial),
        ];
        let sql = if serial.is_some() { SELECT_BY_SERIAL } else { SELECT_NEXT_DEVICES };
        values.extend(serial.map(Into::into));
        let rows = self.engine.read(Lane::Operator, sql, values).await?;
        rows.into_iter().map(record).collect()
    }

    /// The `limit` devices with failed requests that were seen last, newest first.
    pub(crate) async fn devices_with_misses(&self, limit: u32) -> Result<Vec<DeviceRecord>, StorageError> {
        let rows = self.engine.read(Lane::Operator, SELECT_MISSING, vec![limit.into()]).await?;
        rows.into_iter().map(record).collect()
    }

    /// Forgets the requests that failed earlier than `before_micros`, and records that. Returns how many they were.
    pub(crate) async fn clear_misses(
        &self,
        before_micros: i64,
        event: &AuditEvent,
        at_micros: i64,
    ) -> Result<usize, StorageError> {
        let mut attempt = 1;
        loop {
            match self.try_to_clear(before_micros, event, at_micros).await {
                Err(StorageError::Contended(_)) if attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    async fn try_to_clear(
        &self,
        before_micros: i64,
        event: &AuditEvent,
        at_micros: i64,
    ) -> Result<usize, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        let (mut rows, mut cleared) = (Vec::new(), 0);
        for row in transaction.query(SELECT_MISSING, vec![i64::MAX.into()]).await? {
            let Sighting { device, missed, .. } = record(row)?.last;
            let mut missed = missed.unwrap_or_default();
            let before = missed.len();
            missed.retain(|miss| miss.at_micros >= before_micros);
            cleared += before - missed.len();
            if missed.len() < before {
                let left = Some(missed).filter(|left| !left.is_empty());
                let left = left.map(|left| json!(left).to_string());
                rows.push(vec![device.brand.into(), device.model.into(), device.serial.into(), left.into()]);
            }
        }
        transaction.each(SET_MISSED, rows).await?;
        insert_event(&mut transaction, event, at_micros).await?;
        transaction.commit().await?;
        Ok(cleared)
    }

    /// How many devices were seen.
    pub(crate) async fn count_devices(&self) -> Result<i64, StorageError> {
        let rows = self.engine.read(Lane::Operator, COUNT_DEVICES, Vec::new()).await?;
        Reader::new("devices", rows.into_iter().next().unwrap_or_default()).int("count")
    }

    /// How many devices were seen since then.
    pub(crate) async fn count_seen(&self, since_micros: i64) -> Result<i64, StorageError> {
        let rows = self.engine.read(Lane::Operator, COUNT_SEEN, vec![since_micros.into()]).await?;
        Reader::new("devices", rows.into_iter().next().unwrap_or_default()).int("count")
    }

    /// How many devices were seen since then whose models name a store, by its brand and its id, the most first.
    pub(crate) async fn count_by_store(
        &self,
        since_micros: i64,
    ) -> Result<Vec<(String, String, usize)>, StorageError> {
        let rows = self.engine.read(Lane::Operator, COUNT_BY_STORE, vec![since_micros.into()]).await?;
        let count = |row| {
            let mut row = Reader::new("devices", row);
            let (brand, store, count) = (row.text("brand")?, row.text("store")?, row.int("count")?);
            Ok((brand, store, usize::try_from(count).unwrap_or_default()))
        };
        rows.into_iter().map(count).collect()
    }

    /// How many devices were last seen within each of so many hours before a moment, the newest hour first.
    pub(crate) async fn seen_by_hour(&self, now_micros: i64, hours: usize) -> Result<Vec<u64>, StorageError> {
        let since = now_micros.saturating_sub(i64::try_from(hours).unwrap_or_default() * 3_600_000_000);
        let rows =
            self.engine.read(Lane::Operator, COUNT_BY_HOUR, vec![now_micros.into(), since.into()]).await?;
        let mut counts = vec![0; hours];
        for row in rows {
            let mut row = Reader::new("devices", row);
            let (hour, count) = (row.int("hour")?, row.int("count")?);
            if let Some(place) = usize::try_from(hour).ok().and_then(|hour| counts.get_mut(hour)) {
                *place = u64::try_from(count).unwrap_or_default();
            }
        }
        Ok(counts)
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
    let mut last = Sighting {
        device: DeviceId {
            brand: row.text("brand")?,
            model: row.text("model")?,
            serial: row.text("serial")?,
        },
        seen_at_micros: row.int("last_seen")?,
        address: row.text("address")?,
        client: row.text("client")?,
        snaps: row.optional_json("snaps")?,
        missed: row.optional_json("missed")?,
        store: row.name_or_empty("store")?,
        agent: row.text("agent")?,
        architecture: row.name_or_empty("architecture")?,
        verified: row.truth("verified")?,
        follows: None,
    };
    let (first_seen_micros, pace_micros) = (row.int("first_seen")?, row.int("pace")?);
    last.follows = row.optional_json("follows")?;
    Ok(DeviceRecord { first_seen_micros, pace_micros, last })
}
