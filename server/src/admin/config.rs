//! Changes that are no imports: settings, blocked devices, another database.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use schema::api::admin::{ConfigChange, ConfigChanged, DatabaseCopied, DatabaseCopy, DeviceBlock};
use schema::config::{Key, key};
use secrecy::SecretString;
use serde_json::json;

use super::error::AdminError;
use super::{Admin, Operator};
use crate::clock;
use crate::storage::error::CommitError;
use crate::storage::records::{self, AuditEvent, Change};
use crate::storage::{Database, Settings as DatabaseSettings};

/// Keys that the running server took at its start.
const AT_START: [&str; 3] = ["proxy.db.connection", "proxy.ipaddress", "proxy.port.http"];

/// `PATCH /v1/config`
pub(super) async fn change(
    State(admin): State<Admin>,
    ConnectInfo(Operator(who)): ConnectInfo<Operator>,
    Json(wanted): Json<ConfigChange>,
) -> Result<Json<ConfigChanged>, AdminError> {
    let pairs = wanted.values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let done = admin.store.configure(&who, |settings| settings.set_all(pairs)).await;
    let (before, settings) = done.map_err(AdminError::settings)?;
    let names: Vec<&Key> = wanted.values.keys().filter_map(|name| key(name)).collect();
    let shown = |key: &&Key| (key.name.to_owned(), key.redact(settings.value(key.name)));
    let late =
        |key: &&&Key| AT_START.contains(&key.name) && before.value(key.name) != settings.value(key.name);
    Ok(Json(ConfigChanged {
        values: names.iter().map(shown).collect(),
        after_restart: names.iter().filter(late).map(|key| key.name.to_owned()).collect(),
    }))
}

/// `PUT /v1/devices/block`
pub(super) async fn block(
    State(admin): State<Admin>,
    ConnectInfo(Operator(who)): ConnectInfo<Operator>,
    Json(wanted): Json<DeviceBlock>,
) -> Result<Json<DeviceBlock>, AdminError> {
    let done: Result<(), CommitError> = admin
        .store
        .change(|_| {
            let event = AuditEvent {
                who: who.clone(),
                what: if wanted.blocked { "block-device" } else { "unblock-device" }.into(),
                subject: wanted.device.to_string(),
                outcome: "done".into(),
                detail: json!({}),
            };
            let mut change = Change::new(event, clock::micros());
            change.device_blocks.push(records::DeviceBlock {
                brand: wanted.device.brand.clone(),
                model: wanted.device.model.clone(),
                serial: wanted.device.serial.clone(),
                blocked: wanted.blocked,
            });
            Ok((change, ()))
        })
        .await;
    done.map_err(|error| AdminError::failed("device-not-changed", &error))?;
    Ok(Json(wanted))
}

/// `POST /v1/database/copy`: everything, to a database that holds nothing yet.
pub(super) async fn copy(
    State(admin): State<Admin>,
    Json(wanted): Json<DatabaseCopy>,
) -> Result<Json<DatabaseCopied>, AdminError> {
    let copied = async {
        let target = Database::open(&DatabaseSettings::Postgres(SecretString::from(wanted.url))).await?;
        target.migrate(clock::micros()).await?;
        admin.store.database().copy_to(&target, clock::micros()).await
    };
    match copied.await {
        Ok(()) => Ok(Json(DatabaseCopied { counts: super::status::counts(&admin.store.catalog()) })),
        Err(error) => Err(AdminError::refused("database-not-copied", &error)),
    }
}
