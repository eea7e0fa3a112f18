//! The fleet: devices as last seen, and their failed requests.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Query, State};
use schema::api::admin::{Device, DeviceFilter, DeviceMiss, DeviceSnap, Devices, FleetMiss, Misses};
use schema::store::{DeviceId, GLOBAL_STORE};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Admin;
use super::error::AdminError;
use crate::catalog::Catalog;
use crate::clock;
use crate::sightings::{Missed, misses as misses_in};
use crate::storage::error::StorageError;
use crate::storage::records::DeviceRecord;

/// Maximum number of devices per answer, those seen most recently.
const MOST: u32 = 100_000;

/// Why devices cannot be listed.
#[derive(Debug, thiserror::Error)]
enum DevicesError {
    #[error(
        "there is no snap {0} in this store, so what devices run of it is not known: `proxy list-pushed-snaps`"
    )]
    UnknownSnap(String),
    #[error("cannot read {0:?}: write SNAP=REVISION")]
    Below(String),
    #[error("device {0} was not seen here: `proxy list-devices` shows those that were")]
    Unseen(DeviceId),
    #[error("cannot read the devices from the database")]
    Storage(#[from] StorageError),
}

impl From<DevicesError> for AdminError {
    fn from(error: DevicesError) -> Self {
        match &error {
            DevicesError::UnknownSnap(_) => Self::refused("unknown-snap", &error),
            DevicesError::Below(_) => Self::refused("invalid-filter", &error),
            DevicesError::Unseen(_) => Self::refused("unknown-device", &error),
            DevicesError::Storage(_) => Self::failed("devices-not-read", &error),
        }
    }
}

/// A filter with resolved names.
struct Wanted {
    filter: DeviceFilter,
    seen_before_micros: Option<i64>,
    missing: Option<BTreeSet<String>>,
    below: Option<(BTreeSet<String>, i64)>,
}

impl Wanted {
    fn new(filter: DeviceFilter, catalog: &Catalog) -> Result<Self, DevicesError> {
        let ids = |name: &str| {
            let named = catalog.snaps_named(name).iter().chain(catalog.snap_by_id(name));
            let ids: BTreeSet<String> = named.map(|snap| snap.id.clone()).collect();
            if ids.is_empty() { Err(DevicesError::UnknownSnap(name.to_owned())) } else { Ok(ids) }
        };
        let below = |text: &String| -> Result<_, DevicesError> {
            let bad = || DevicesError::Below(text.clone());
            let (name, revision) = text.split_once('=').ok_or_else(bad)?;
            Ok((ids(name)?, revision.parse().map_err(|_| bad())?))
        };
        let age = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        Ok(Self {
            seen_before_micros: filter.stale.map(|seconds| clock::micros().saturating_sub(age(seconds))),
            missing: filter.missing.as_deref().map(ids).transpose()?,
            below: filter.below.as_ref().map(below).transpose()?,
            filter,
        })
    }

    /// Whether the device matches. If it did not say what it runs, what it lacks is unknown.
    fn takes(&self, record: &DeviceRecord, device: &Device) -> bool {
        let is = |wanted: &Option<String>, own: &str| wanted.as_deref().is_none_or(|wanted| wanted == own);
        let lacks = |ids: &BTreeSet<String>| {
            device.snaps.as_ref().is_some_and(|snaps| !snaps.iter().any(|snap| ids.contains(&snap.snap_id)))
        };
        let behind = |(ids, revision): &(BTreeSet<String>, i64)| {
            let old = |snap: &DeviceSnap| ids.contains(&snap.snap_id) && snap.revision < *revision;
            device.snaps.as_ref().is_some_and(|snaps| snaps.iter().any(old))
        };
        is(&self.filter.brand, &device.brand)
            && is(&self.filter.model, &device.model)
            && is(&self.filter.store, &device.store)
            && self.seen_before_micros.is_none_or(|before| record.last.seen_at_micros <= before)
            && self.missing.as_ref().is_none_or(lacks)
            && self.below.as_ref().is_none_or(behind)
    }
}

/// `GET /v1/devices`
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(filter): Query<DeviceFilter>,
) -> Result<Json<Devices>, AdminError> {
    let catalog = admin.store.catalog();
    let wanted = Wanted::new(filter, &catalog)?;
    let mut devices: Vec<Device> = Vec::new();
    for record in seen(&admin).await? {
        let device = describe(&record, &catalog);
        if wanted.takes(&record, &device) {
            devices.push(device);
        }
    }
    devices.sort_by(|one, other| {
        (&one.brand, &one.model, &one.serial).cmp(&(&other.brand, &other.model, &other.serial))
    });
    Ok(Json(Devices { devices }))
}

/// Which device to show.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct DeviceQuery {
    /// The device, `BRAND/MODEL/SERIAL`.
    device: DeviceId,
}

/// `GET /v1/device`
pub(super) async fn show(
    State(admin): State<Admin>,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<Device>, AdminError> {
    let store = &admin.store;
    store.sightings().write(store.database()).await;
    let found = store.database().device(&query.device).await.map_err(DevicesError::from)?;
    let record = found.ok_or(DevicesError::Unseen(query.device))?;
    Ok(Json(describe(&record, &store.catalog())))
}

/// `GET /v1/misses`
pub(super) async fn misses(State(admin): State<Admin>) -> Result<Json<Misses>, AdminError> {
    let catalog = admin.store.catalog();
    let held = |name: &str| !catalog.snaps_named(name).is_empty() || catalog.snap_by_id(name).is_some();
    let mut wishes: BTreeMap<[String; 3], FleetMiss> = BTreeMap::new();
    for record in seen(&admin).await? {
        let model = format!("{}/{}", record.last.brand, record.last.model);
        for Missed { name, wanted, code, at_micros } in misses_in(record.last.missed.as_ref()) {
            let wish =
                wishes.entry([name.clone(), wanted.clone(), code.clone()]).or_insert_with(|| FleetMiss {
                    held: held(&name),
                    name,
                    wanted,
                    code,
                    devices: 0,
                    models: Vec::new(),
                    last_asked: String::new(),
                });
            wish.devices += 1;
            if let Err(at) = wish.models.binary_search(&model) {
                wish.models.insert(at, model.clone());
            }
            // The same format everywhere, so later times are greater.
            wish.last_asked = written(at_micros).max(std::mem::take(&mut wish.last_asked));
        }
    }
    let mut misses: Vec<FleetMiss> = wishes.into_values().collect();
    misses.sort_by_key(|miss| std::cmp::Reverse(miss.devices));
    Ok(Json(Misses { misses }))
}

/// All devices seen so far.
async fn seen(admin: &Admin) -> Result<Vec<DeviceRecord>, DevicesError> {
    let (sightings, database) = (admin.store.sightings(), admin.store.database());
    sightings.write(database).await;
    Ok(database.devices(MOST).await?)
}

fn describe(record: &DeviceRecord, catalog: &Catalog) -> Device {
    let last = &record.last;
    let id = DeviceId { brand: last.brand.clone(), model: last.model.clone(), serial: last.serial.clone() };
    let snap = |entry: &Value| {
        let snap_id = entry.get(0)?.as_str()?;
        let held = catalog.snap_by_id(snap_id);
        Some(DeviceSnap {
            name: held.map_or(snap_id, |held| &*held.name).to_owned(),
            snap_id: snap_id.to_owned(),
            revision: entry.get(1)?.as_i64()?,
            channel: entry.get(2)?.as_str()?.to_owned(),
        })
    };
    let snaps = last.snaps.as_ref().and_then(Value::as_array).map(|entries| {
        let mut snaps: Vec<DeviceSnap> = entries.iter().filter_map(snap).collect();
        snaps.sort();
        snaps
    });
    let miss = |missed: Missed| DeviceMiss {
        name: missed.name,
        wanted: missed.wanted,
        code: missed.code,
        last_asked: written(missed.at_micros),
    };
    Device {
        blocked: catalog.blocked().contains(&id),
        store: if last.store.is_empty() { GLOBAL_STORE.to_owned() } else { last.store.clone() },
        first_seen: written(record.first_seen_micros),
        last_seen: written(last.seen_at_micros),
        address: last.address.clone(),
        client: last.agent.clone(),
        certificate: Some(last.client.clone()).filter(|subject| !subject.is_empty()),
        snaps,
        misses: misses_in(last.missed.as_ref()).into_iter().map(miss).collect(),
        brand: id.brand,
        model: id.model,
        serial: id.serial,
    }
}

/// A database time as RFC 3339, in whole seconds.
pub(super) fn written(micros: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(micros.div_euclid(1_000_000)).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
}
