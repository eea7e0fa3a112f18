//! The fleet: devices as last seen, and their failed requests.

use axum::Json;
use axum::extract::{Query, State};
use schema::api::admin::{Device, DeviceFilter, Devices, Misses};
use schema::store::DeviceId;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Admin;
use super::error::AdminError;
use crate::clock;
use crate::plans::fleet::{FilterError, Wanted, describe, wishes};
use crate::storage::error::StorageError;
use crate::storage::records::DeviceRecord;

/// Maximum number of devices per answer, those seen most recently.
const MOST: u32 = 100_000;

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

/// `GET /v1/devices`
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(filter): Query<DeviceFilter>,
) -> Result<Json<Devices>, AdminError> {
    let catalog = admin.store.catalog();
    let wanted = Wanted::new(filter, &catalog, clock::now()).map_err(DevicesError::from)?;
    Ok(Json(Devices { devices: wanted.among(&seen(&admin).await?, &catalog) }))
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
    // What cannot be written waits on, and is not shown yet.
    let _ = store.sightings().write(store.database()).await;
    let found = store.database().device(&query.device).await.map_err(DevicesError::from)?;
    let record = found.ok_or(DevicesError::Unseen(query.device))?;
    Ok(Json(describe(&record, &store.catalog())))
}

/// `GET /v1/misses`
pub(super) async fn misses(State(admin): State<Admin>) -> Result<Json<Misses>, AdminError> {
    Ok(Json(Misses { misses: wishes(&seen(&admin).await?, &admin.store.catalog()) }))
}

/// All devices seen so far.
async fn seen(admin: &Admin) -> Result<Vec<DeviceRecord>, DevicesError> {
    let (sightings, database) = (admin.store.sightings(), admin.store.database());
    let _ = sightings.write(database).await;
    Ok(database.devices(MOST).await?)
}
