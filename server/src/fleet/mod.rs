//! The fleet: devices as they were last seen, which of them a filter means, what they asked for and did not get, and why one gets
//! the revision that it gets.

mod downloads;
mod explain;
mod filter;
mod misses;
pub(crate) mod progress;
mod sightings;
mod updates;

pub(crate) use explain::scope_of;
pub(crate) use filter::{Filter, FilterError};
pub(crate) use misses::wishes;
pub(crate) use progress::{Moment, Outcome, Progress, progress, rhythm, shown};
pub(crate) use sightings::{Client, Sightings, cut};
pub(crate) use updates::updates;

use std::collections::{BTreeMap, HashMap};

use schema::api::admin::{
    DeltaBytes, Device, DeviceDownload, DeviceDownloads, DeviceMiss, DeviceSnap, Doubt, DownloadOutcome,
    Explanation, FleetCounts, RolloutReasons,
};
use schema::store::{DeltaFormat, DeviceId, GLOBAL_STORE, SnapId, SnapName};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::progress::Moving;
use crate::catalog::{Catalog, KeptMap};
use crate::storage::Database;
use crate::storage::devices::{DeviceRecord, DevicesWhere, Missed, Running};
use crate::storage::downloads::{Download, Downloads};
use crate::storage::error::StorageError;
use crate::storage::records::AuditEvent;
use crate::storage::rollouts::Taken;

/// Maximum number of devices per answer, those seen most recently.
const MOST: u32 = 100_000;
/// Devices that are read at a time.
const STEP: u32 = 200;
/// Devices that are read at a time where all of them are.
const LARGE_STEP: u32 = 2000;
/// Microseconds.
const HOUR: i64 = 3_600_000_000;

/// The devices of one store.
pub(crate) struct Fleet<'a> {
    /// Where they are written down.
    pub(crate) database: &'a Database,
    /// Those that are not yet.
    pub(crate) sightings: &'a Sightings,
    /// What they are served from.
    pub(crate) catalog: &'a Catalog,
    /// Whether devices are answered at all.
    pub(crate) answers: bool,
}

impl Fleet<'_> {
    /// The devices that a filter means, in the order of their names.
    pub(crate) async fn devices(&self, filter: &Filter) -> Result<Vec<Device>, StorageError> {
        if let Some(limit) = filter.limit {
            return self.page(filter, limit as usize).await;
        }
        let seen = self.noted().await.devices(filter.stored().clone(), MOST).await?;
        let meant = seen.iter().filter(|record| filter.takes(record));
        let mut devices: Vec<Device> = meant.map(|record| describe(record, self.catalog)).collect();
        devices.sort_by(|one, other| {
            (&one.brand, &one.model, &one.serial).cmp(&(&other.brand, &other.model, &other.serial))
        });
        Ok(devices)
    }

    /// The first devices that a filter means, after the one that it names. Devices that run something else than what is asked for
    /// are read in steps, a hundred thousand at most.
    async fn page(&self, filter: &Filter, limit: usize) -> Result<Vec<Device>, StorageError> {
        let (mut after, mut read, mut devices) = (filter.after.clone(), 0, Vec::new());
        let database = self.noted().await;
        while devices.len() < limit && read < MOST {
            let seen = database.next_devices(filter.stored().clone(), after.as_ref(), STEP).await?;
            let Some(last) = seen.last() else { break };
            after = Some(last.last.device.clone());
            read += STEP;
            let meant = seen.iter().filter(|record| filter.takes(record));
            devices.extend(meant.take(limit - devices.len()).map(|record| describe(record, self.catalog)));
        }
        Ok(devices)
    }

    /// How many devices were seen, and when.
    pub(crate) async fn counts(&self, now_micros: i64) -> Result<FleetCounts, StorageError> {
        let database = self.noted().await;
        let since = async |hours: i64| {
            let count = database.count_seen(now_micros.saturating_sub(hours * HOUR)).await?;
            Ok::<_, StorageError>(u64::try_from(count).unwrap_or_default())
        };
        Ok(FleetCounts {
            devices: u64::try_from(database.count_devices().await?).unwrap_or_default(),
            within_hour: since(1).await?,
            within_day: since(24).await?,
            within_week: since(7 * 24).await?,
            blocked: self.catalog.blocked().size() as u64,
            by_hour: database.seen_by_hour(now_micros, 24).await?,
        })
    }

    /// Stores that models of devices name that were seen since then, and whose metadata was not imported: the brand, the store, and
    /// how many devices, the most first.
    pub(crate) async fn stores_not_imported(
        &self,
        since_micros: i64,
    ) -> Result<Vec<(String, String, usize)>, StorageError> {
        let mut named = self.noted().await.count_by_store(since_micros).await?;
        named.retain(|(brand, store, _)| store != GLOBAL_STORE && !self.catalog.knows_store(brand, store));
        Ok(named)
    }

    /// One device, if it was seen.
    pub(crate) async fn device(&self, device: &DeviceId) -> Result<Option<Device>, StorageError> {
        let database = self.noted().await;
        let Some(record) = database.device(device).await? else { return Ok(None) };
        let downloads =
            database.downloads(device).await?.map(|downloads| downloaded(downloads, self.catalog));
        Ok(Some(Device { downloads, ..describe(&record, self.catalog) }))
    }

    /// The devices that asked for something and did not get it.
    pub(crate) async fn missing(&self) -> Result<Vec<DeviceRecord>, StorageError> {
        self.noted().await.devices_with_misses(MOST).await
    }

    /// Forgets what was asked for before `before_micros` and not given, and records that. Answers how many requests these were.
    pub(crate) async fn clear_misses(
        &self,
        before_micros: i64,
        event: &AuditEvent,
        at_micros: i64,
    ) -> Result<usize, StorageError> {
        self.noted().await.clear_misses(before_micros, event, at_micros).await
    }

    /// The device that a doubt is about, if it was seen, and the key of its cohort for the snap.
    pub(crate) async fn doubted(
        &self,
        doubt: &Doubt,
    ) -> Result<(Option<DeviceRecord>, Option<String>), StorageError> {
        let found = self.noted().await.device(&doubt.device).await?;
        let means = |of: &&Running| {
            let held = self.catalog.snap_by_id(&of.snap_id);
            of.snap_id == doubt.snap || held.is_some_and(|snap| *snap.name == *doubt.snap)
        };
        let own = found.iter().flat_map(|record| record.last.snaps.iter().flatten()).find(means);
        let key = own.and_then(|own| own.cohort.clone());
        Ok((found, key))
    }

    /// Why the device gets the revision of the snap that it gets, or none; `cohort` is what its key keeps.
    pub(crate) fn explain(
        &self,
        doubt: &Doubt,
        found: Option<&DeviceRecord>,
        cohort: Option<&KeptMap>,
    ) -> Explanation {
        explain::explain(doubt, found, self.catalog, self.answers, cohort)
    }

    /// All devices that were seen.
    pub(crate) async fn seen(&self) -> Result<Vec<DeviceRecord>, StorageError> {
        self.noted().await.devices(DevicesWhere::default(), MOST).await
    }

    /// All devices that run the snap of this id, or whose snaps are under a validation set that begins so, and perhaps a few
    /// others.
    pub(crate) async fn running(&self, what: &str) -> Result<Vec<DeviceRecord>, StorageError> {
        let of = DevicesWhere { running: Some(what.to_owned()), ..DevicesWhere::default() };
        self.noted().await.devices(of, u32::MAX).await
    }

    /// How devices took to the revision of a rollout.
    pub(crate) async fn taken(&self, rollout: &str) -> Result<HashMap<DeviceId, Taken>, StorageError> {
        self.database.contacts(rollout).await
    }

    /// On how many devices each revision runs, by the snap's id, whenever they were seen.
    pub(crate) async fn revisions_in_use(&self) -> Result<HashMap<(String, u32), usize>, StorageError> {
        let database = self.noted().await;
        let (mut running, mut after) = (HashMap::new(), None);
        loop {
            let seen = database.next_devices(DevicesWhere::default(), after.as_ref(), LARGE_STEP).await?;
            let Some(last) = seen.last() else { return Ok(running) };
            after = Some(last.last.device.clone());
            for snap in seen.into_iter().flat_map(|record| record.last.snaps.unwrap_or_default()) {
                // Negative revisions are a device's own.
                let Ok(revision) = u32::try_from(snap.revision) else { continue };
                *running.entry((snap.snap_id, revision)).or_default() += 1;
            }
        }
    }

    /// All devices that follow a validation set, `ACCOUNT/NAME`, and perhaps a few others.
    pub(crate) async fn following(&self, set: &str) -> Result<Vec<DeviceRecord>, StorageError> {
        self.running(&format!("{set}=")).await
    }

    /// How the devices of each wave take to what it brings.
    pub(crate) async fn progress<'s>(
        &self,
        moving: &impl Moving,
        seen: &'s [DeviceRecord],
        now_micros: i64,
    ) -> Result<Vec<Progress<'s>>, StorageError> {
        let taken = self.taken(&moving.log()).await?;
        Ok(progress::progress(moving, self.catalog, seen, &taken, self.moment(now_micros)))
    }

    /// What each rollout that is not over decides about a device.
    pub(crate) async fn reasons(
        &self,
        device: &DeviceId,
        now_micros: i64,
    ) -> Result<RolloutReasons, StorageError> {
        let record = self.noted().await.device(device).await?;
        let mut reasons = RolloutReasons::default();
        for rollout in self.catalog.all_rollouts().filter(|rollout| !rollout.record.course.state.is_over()) {
            let taken = self.database.contacts(&rollout.name).await?.remove(device).unwrap_or_default();
            let moment = self.moment(now_micros);
            let reason = progress::reason(&rollout, self.catalog, device, record.as_ref(), taken, moment);
            reasons.rollouts.push(reason);
        }
        Ok(reasons)
    }

    fn moment(&self, now_micros: i64) -> Moment {
        Moment { now_micros, since_micros: self.sightings.since_micros }
    }

    /// The database, after what waits was written down. What cannot be written waits on, and is not shown yet.
    async fn noted(&self) -> &Database {
        let _ = self.sightings.write(self.database).await;
        self.database
    }
}

/// A device as it was last seen, with what the catalog knows of it.
fn describe(record: &DeviceRecord, catalog: &Catalog) -> Device {
    let last = &record.last;
    let snaps = last.snaps.as_ref().map(|running| {
        let mut snaps: Vec<DeviceSnap> = running
            .iter()
            .map(|of| DeviceSnap {
                name: name_of(&of.snap_id, catalog),
                snap_id: of.snap_id.clone(),
                revision: of.revision,
                channel: of.channel.clone(),
            })
            .collect();
        snaps.sort();
        snaps
    });
    Device {
        blocked: catalog.blocked().contains(&last.device),
        store: last.store.as_ref().map_or(GLOBAL_STORE, |store| store.as_str()).to_owned(),
        first_seen: written(record.first_seen_micros),
        last_seen: written(last.seen_at_micros),
        address: last.address.clone(),
        client: last.agent.clone(),
        architecture: last.architecture.clone(),
        certificate: Some(last.client.clone()).filter(|subject| !subject.is_empty()),
        snaps,
        misses: misses::misses(last, catalog),
        downloads: None,
        brand: last.device.brand.clone(),
        model: last.device.model.clone(),
        serial: last.device.serial.clone(),
    }
}

/// The name of a snap, or its id if that is all that is known of it.
fn name_of(snap_id: &str, catalog: &Catalog) -> String {
    catalog.name_of(snap_id).unwrap_or(snap_id).to_owned()
}

/// What a device was offered and sent, with what the catalog knows of it.
fn downloaded(downloads: Downloads, catalog: &Catalog) -> DeviceDownloads {
    let bytes = |of: BTreeMap<DeltaFormat, u64>| {
        of.into_iter().map(|(format, bytes)| DeltaBytes { format, bytes }).collect()
    };
    let each = |one: Download| DeviceDownload {
        outcome: outcome(&one),
        name: name_of(&one.snap_id, catalog),
        snap_id: one.snap_id,
        source: one.source,
        target: one.target,
        offered: bytes(one.offered),
        fetched: bytes(one.deltas),
        whole_bytes: one.whole,
        last_at: written(one.at_micros),
    };
    DeviceDownloads { total: downloads.total, last: downloads.last.into_iter().map(each).collect() }
}

fn outcome(of: &Download) -> DownloadOutcome {
    match (of.whole > 0, of.deltas.is_empty(), of.offered.is_empty()) {
        _ if of.fell_back => DownloadOutcome::FellBack,
        (_, false, _) => DownloadOutcome::Delta,
        (true, true, false) => DownloadOutcome::WholeInstead,
        (true, true, true) => DownloadOutcome::Whole,
        (false, true, _) => DownloadOutcome::Offered,
    }
}

/// The id of the snap that was asked for, if it is known.
fn id_of(missed: &Missed, catalog: &Catalog) -> Option<String> {
    if let [one] = catalog.snaps_named(&missed.name) {
        return Some(one.id.to_string());
    }
    let id = missed.name.parse::<SnapId>().ok().filter(|_| missed.name.parse::<SnapName>().is_err());
    id.map(String::from)
}

/// A request that failed, with what the catalog knows of the snap.
fn miss(missed: &Missed, catalog: &Catalog) -> DeviceMiss {
    DeviceMiss {
        name: name_of(&missed.name, catalog),
        snap_id: id_of(missed, catalog),
        wanted: missed.wanted.clone(),
        code: missed.code.clone(),
        last_asked: written(missed.at_micros),
    }
}

/// A moment of the database as RFC 3339, in whole seconds.
pub(crate) fn written(micros: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(micros.div_euclid(1_000_000)).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
}
