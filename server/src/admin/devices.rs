//! The fleet: devices as last seen, and their failed requests.

use axum::Json;
use axum::extract::State;
use schema::api::admin::{
    ClearedMisses, Device, DeviceFilter, Devices, Doubt, Explanation, FleetCounts, FleetMiss, Misses,
    RegistrationMiss,
};
use schema::store::DeviceId;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::audit::moment;
use super::error::AdminError;
use super::given::Query;
use super::{Admin, Operator};
use crate::catalog::{Catalog, KeptMap};
use crate::clock;
use crate::fleet::{Filter, FilterError, Fleet, wishes};
use crate::storage::error::StorageError;
use crate::storage::records::AuditEvent;
use crate::store::off_thread;

/// Why devices cannot be listed.
#[derive(Debug, thiserror::Error)]
enum DevicesError {
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("device {0} was not seen here: `proxy list-devices` shows those that were")]
    Unseen(DeviceId),
    #[error("cannot read the devices from the database")]
    Storage(#[from] StorageError),
}

impl From<DevicesError> for AdminError {
    fn from(error: DevicesError) -> Self {
        match &error {
            DevicesError::Filter(FilterError::UnknownSnap(_)) => Self::refused("unknown-snap", &error),
            DevicesError::Filter(FilterError::Below(_)) => Self::refused("invalid-filter", &error),
            DevicesError::Unseen(_) => Self::refused("unknown-device", &error),
            DevicesError::Storage(_) => Self::failed("devices-not-read", &error),
        }
    }
}

/// Answers `ListDevices`.
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(filter): Query<DeviceFilter>,
) -> Result<Json<Devices>, AdminError> {
    let catalog = admin.store.catalog();
    let filter = Filter::new(filter, &catalog, clock::now()).map_err(DevicesError::from)?;
    let devices = fleet(&admin, &catalog).devices(&filter).await.map_err(DevicesError::from)?;
    Ok(Json(Devices { devices }))
}

/// Answers `CountDevices`.
pub(super) async fn count(State(admin): State<Admin>) -> Result<Json<FleetCounts>, AdminError> {
    let catalog = admin.store.catalog();
    let counts = fleet(&admin, &catalog).counts(clock::micros()).await;
    Ok(Json(counts.map_err(DevicesError::from)?))
}

/// Which device to show.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct DeviceQuery {
    /// The device, `BRAND/MODEL/SERIAL`.
    pub(super) device: DeviceId,
}

/// Answers `ShowDevice`.
pub(super) async fn show(
    State(admin): State<Admin>,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<Device>, AdminError> {
    let catalog = admin.store.catalog();
    let found = fleet(&admin, &catalog).device(&query.device).await.map_err(DevicesError::from)?;
    Ok(Json(found.ok_or(DevicesError::Unseen(query.device))?))
}

/// Answers `ListMisses`.
pub(super) async fn misses(State(admin): State<Admin>) -> Result<Json<Misses>, AdminError> {
    let refused = admin.store.signing().refused_since(0).into_iter();
    let registrations = refused.map(|one| RegistrationMiss {
        model: one.model,
        check: one.check.to_owned(),
        times: one.times,
        last_asked: crate::fleet::written(one.at_micros),
        why: one.why,
    });
    Ok(Json(Misses { misses: misses_of(&admin).await?, registrations: registrations.collect() }))
}

/// What devices asked for and did not get.
pub(super) async fn misses_of(admin: &Admin) -> Result<Vec<FleetMiss>, AdminError> {
    let catalog = admin.store.catalog();
    let seen = fleet(admin, &catalog).missing().await.map_err(DevicesError::from)?;
    let answers = admin.store.serves_devices();
    Ok(off_thread(move || wishes(&seen, &catalog, answers)).await)
}

/// Which misses to forget.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ClearQuery {
    /// Only those of more than so many seconds ago.
    #[serde(default)]
    older_than: Option<u64>,
}

/// Answers `ClearMisses`.
pub(super) async fn clear_misses(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Query(query): Query<ClearQuery>,
) -> Result<Json<ClearedMisses>, AdminError> {
    let catalog = admin.store.catalog();
    let before = query.older_than.map_or(i64::MAX, |seconds| moment(Some(seconds)));
    let event = AuditEvent::new(who, "clear-misses", "").detail(json!({ "older-than": query.older_than }));
    let cleared = fleet(&admin, &catalog).clear_misses(before, &event, clock::micros()).await;
    let refused = admin.store.signing().forget_refused(before);
    let cleared = cleared.map_err(DevicesError::from)?;
    Ok(Json(ClearedMisses { cleared: cleared + usize::try_from(refused).unwrap_or(usize::MAX) }))
}

/// Answers `Explain`
pub(super) async fn explain(
    State(admin): State<Admin>,
    Query(doubt): Query<Doubt>,
) -> Result<Json<Explanation>, AdminError> {
    let catalog = admin.store.catalog();
    let (store, fleet) = (&admin.store, fleet(&admin, &catalog));
    let (found, key) = fleet.doubted(&doubt).await.map_err(DevicesError::from)?;
    let cohort = match key {
        Some(key) => store.sessions().cohort(&key, store.database()).await.map(KeptMap::from),
        None => None,
    };
    Ok(Json(fleet.explain(&doubt, found.as_ref(), cohort.as_ref())))
}

pub(super) fn fleet<'a>(admin: &'a Admin, catalog: &'a Catalog) -> Fleet<'a> {
    let store = &admin.store;
    let answers = store.serves_devices();
    Fleet { database: store.database(), sightings: store.sightings(), catalog, answers }
}
