//! Changes other than imports: settings, blocked devices, another database.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use axum::extract::State;
use axum::{Extension, Json};
use schema::api::admin::{
    Config, ConfigChange, ConfigChanged, ConfigHistory, DatabaseCopied, DatabaseCopy, DeviceBlock,
    RecordedChange, SecretRotated, SecretRotation,
};
use schema::causes::one_line;
use schema::config::{Applies, ConfigError, Key, RotatedSecret, SettingChange, Settings, key, keys_below};
use schema::store::DeviceId;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use time::Duration;

use super::error::AdminError;
use super::given::{Given, Query};
use super::{Admin, Operator};
use crate::clock;
use crate::fleet::written;
use crate::plans::By;
use crate::plans::devices::plan_block;
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::{AuditEvent, AuditRecord};
use crate::storage::{Database, Settings as DatabaseSettings};
use crate::visits::Visitor;

/// Answers `ShowConfig`.
pub(super) async fn show(State(admin): State<Admin>) -> Json<Config> {
    let settings = admin.store.settings();
    Json(Config { values: settings.redacted().map(|(name, value)| (name.to_owned(), value)).collect() })
}

/// The key is set on the server's host only.
#[derive(Debug, thiserror::Error)]
#[error("{0} is set on the server's host only: there, `proxy config --describe {0}` shows the command")]
struct OfHost(&'static str);

/// Answers `ChangeConfig`.
pub(super) async fn change(
    State(admin): State<Admin>,
    Extension(visitor): Extension<Visitor>,
    Given(wanted): Given<ConfigChange>,
) -> Result<Json<ConfigChanged>, AdminError> {
    let mut keys = wanted.values.keys().filter_map(|name| key(name));
    if let Some(key) = keys.find(|key| key.of_host && !visitor.is_on_host()) {
        return Err(AdminError::refused("of-host", &OfHost(key.name)));
    }
    let who = visitor.to_string();
    let pairs = wanted.values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let shown_now = |settings: &Settings, name: &str| {
        key(name).map(|key| key.redact(settings.value(key.name))).unwrap_or_default()
    };
    let change = |settings: &mut Settings| match wanted
        .seen
        .iter()
        .find(|(name, seen)| shown_now(settings, name) != **seen)
    {
        Some((name, _)) => Err(ConfigError::Meanwhile(name.chars().take(80).collect())),
        None => settings.set_all(pairs),
    };
    let done = admin.store.configure(&who, change).await;
    let (before, settings) = done.map_err(AdminError::settings)?;
    let names: Vec<&Key> = wanted.values.keys().filter_map(|name| key(name)).collect();
    let shown = |key: &&Key| (key.name.to_owned(), key.redact(settings.value(key.name)));
    let late =
        |key: &&&Key| key.applies == Applies::AtRestart && before.value(key.name) != settings.value(key.name);
    Ok(Json(ConfigChanged {
        values: names.iter().map(shown).collect(),
        after_restart: names.iter().filter(late).map(|key| key.name.to_owned()).collect(),
        warnings: match names.iter().any(|key| key.name.starts_with("proxy.tls.")) {
            true => admin.store.tls().file_problems(&settings),
            false => Vec::new(),
        },
    }))
}

/// The changes to list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct HistoryQuery {
    /// Only those of this key, or of all keys that begin with it.
    #[serde(default)]
    key: Option<String>,
}

/// Answers `ListConfigHistory`.
pub(super) async fn history(
    State(admin): State<Admin>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<ConfigHistory>, AdminError> {
    let wanted: Vec<&str> = keys_below(query.key.as_deref()).map(|key| key.name).collect();
    if let Some(unknown) = query.key.filter(|_| wanted.is_empty()) {
        let unknown = ConfigError::UnknownKey(unknown.chars().take(80).collect());
        return Err(AdminError::refused("unknown-key", &unknown));
    }
    let records = admin.store.database().events_of("config").await;
    let records = records.map_err(|error| AdminError::failed("audit-not-read", &error))?;
    let changes = records.iter().flat_map(recorded_changes);
    let of_wanted = |recorded: &RecordedChange| wanted.contains(&recorded.change.key.as_str());
    Ok(Json(ConfigHistory { changes: changes.filter(of_wanted).collect() }))
}

fn recorded_changes(record: &AuditRecord) -> Vec<RecordedChange> {
    let detail = &record.event.detail;
    let offline_since = detail["changed-at"].as_str();
    let changes = Vec::<SettingChange>::deserialize(&detail["changes"]).unwrap_or_default();
    let recorded = |change| RecordedChange {
        sequence: record.sequence,
        at: offline_since.map_or_else(|| written(record.at_micros), str::to_owned),
        who: record.event.who.clone(),
        change,
        server_stopped: offline_since.is_some(),
    };
    changes.into_iter().map(recorded).collect()
}

/// The key is not a rotatable secret.
#[derive(Debug, thiserror::Error)]
#[error("cannot rotate {0:?}: only proxy.device-auth.secret and proxy.auth.secret are rotated")]
struct NotRotated(String);

/// The system provided no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a secret: the system gives no random bytes")]
struct NoRandom;

/// Answers `RotateSecret`.
pub(super) async fn rotate(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<SecretRotation>,
) -> Result<Json<SecretRotated>, AdminError> {
    let Some(which) = RotatedSecret::named(&wanted.key) else {
        return Err(AdminError::refused("not-rotated", &NotRotated(wanted.key.chars().take(80).collect())));
    };
    let mut fresh = zeroize::Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *fresh).map_err(|_| AdminError::failed("not-rotated", &NoRandom))?;
    let now = clock::now();
    let until = now.saturating_add(Duration::seconds(wanted.keep_old_seconds.into())).truncate_to_second();
    let rotated = |settings: &mut _| Settings::rotate_secret(settings, which, &fresh, until, now);
    admin.store.rotate(&who, rotated).await.map_err(AdminError::settings)?;
    let (in_force, old_keys) = super::status::keys_of(&admin.store, which);
    Ok(Json(SecretRotated { secret: wanted.key, in_force: in_force.unwrap_or_default(), old_keys }))
}

/// The device was never seen, so that its name may be a typing error.
#[derive(Debug, thiserror::Error)]
#[error(
    "device {0} was never seen here: `proxy list-devices` shows those that were, `proxy block-device {0} --unseen` blocks it \
     all the same"
)]
struct NeverSeen(DeviceId);

/// The device was never seen nor blocked, so that its name may be a typing error.
#[derive(Debug, thiserror::Error)]
#[error("device {0} is not blocked, and was never seen here: `proxy list-devices` shows those that were")]
struct NotBlocked(DeviceId);

/// Answers `BlockDevice`.
pub(super) async fn block(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<DeviceBlock>,
) -> Result<Json<DeviceBlock>, AdminError> {
    let is_sure = match wanted.blocked {
        true => wanted.unseen,
        false => admin.store.catalog().blocked().contains(&wanted.device),
    };
    if !is_sure {
        let store = &admin.store;
        let _ = store.sightings().write(store.database()).await;
        let seen = store.database().device(&wanted.device).await;
        if seen.map_err(|error| AdminError::failed("device-not-changed", &error))?.is_none() {
            let (what, refused) = match wanted.blocked {
                true => {
                    ("block-device", AdminError::refused("unknown-device", &NeverSeen(wanted.device.clone())))
                }
                false => (
                    "unblock-device",
                    AdminError::refused("unknown-device", &NotBlocked(wanted.device.clone())),
                ),
            };
            return Err(refused.of(true, what, wanted.device.to_string()));
        }
    }
    let by = By { who, now: clock::now() };
    let done: Result<(), CommitError> = admin.store.change(|_| Ok((plan_block(&wanted, &by), ()))).await;
    done.map_err(|error| AdminError::failed("device-not-changed", &error))?;
    Ok(Json(wanted))
}

/// Answers `CopyDatabase`: copies everything to an empty database.
pub(super) async fn copy(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<DatabaseCopy>,
) -> Result<Json<DatabaseCopied>, AdminError> {
    let event = AuditEvent::new(who, "migrate-database", "postgresql").outcome("begun");
    let recorded = admin.store.database().record_event(&event, clock::micros()).await;
    recorded.map_err(|error| AdminError::failed("database-not-copied", &error))?;
    // What is changed from here on would be missing there.
    let stood = admin.store.note_copied_away(true);
    let copied = async {
        let target = Database::open(&DatabaseSettings::Postgres(SecretString::from(wanted.url))).await?;
        target.migrate(clock::micros()).await?;
        admin.store.database().copy_to(&target, clock::micros()).await?;
        // That is where the log goes on.
        target.record_end(event.clone(), None, clock::micros()).await;
        Ok::<_, StorageError>(())
    };
    if let Err(error) = copied.await {
        admin.store.database().record_end(event, Some(one_line(&error)), clock::micros()).await;
        // A copy that was made before still stands where that is why this one failed.
        let _ = admin.store.note_copied_away(stood);
        return Err(AdminError::refused("database-not-copied", &error));
    }
    Ok(Json(DatabaseCopied { counts: super::status::counts(&admin.store.catalog()) }))
}
