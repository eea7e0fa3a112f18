//! The admin API: JSON over HTTP on a Unix socket in the data directory, and over HTTPS where `proxy.admin.address` is
//! set.
//!
//! | Route | Request | Answer |
//! |---|---|---|
//! | `GET /v1/status` | | [`Status`] |
//! | `GET /v1/doctor` | | [`Findings`] |
//! | `GET /v1/device-kit` | | [`DeviceKit`] |
//! | `POST /v1/snaps?file=NAME&push-channel-map=true&widen=SNAPS&dry-run=true` | a snap bundle | [`PushedSnaps`] |
//! | `POST /v1/archives?file=NAME&push-channel-map=true&widen=SNAPS&dry-run=true` | a store archive | [`PushedArchive`] |
//! | `GET /v1/snaps` | | [`Snaps`] |
//! | `POST /v1/assertions?file=NAME&as=account-keys` | an assertion stream | [`PushedAssertions`] |
//! | `GET /v1/account-keys` | | [`AccountKeys`] |
//! | `POST /v1/stores?file=NAME&widen=SNAPS&dry-run=true` | brand store metadata (JSON) | [`PushedStores`] |
//! | `GET /v1/stores` | | [`Stores`] |
//! | `POST /v1/trust` | an assertion stream | [`TrustAnchors`] (those added) |
//! | `GET /v1/trust` | | [`TrustAnchors`] |
//! | `DELETE /v1/trust/{fingerprint}` | | [`TrustAnchors`] (those left) |
//! | `GET /v1/config` | | [`Config`] |
//! | `PATCH /v1/config` | [`ConfigChange`] | [`ConfigChanged`] |
//! | `GET /v1/devices?brand=B&model=M&store=ID&stale=SECONDS&missing=SNAP&below=SNAP=REV` | | [`Devices`] |
//! | `GET /v1/device?device=BRAND/MODEL/SERIAL` | | [`Device`] |
//! | `GET /v1/explain?device=BRAND/MODEL/SERIAL&snap=SNAP&channel=CHANNEL&revision=NUMBER` | | [`Explanation`] |
//! | `GET /v1/misses` | | [`Misses`] |
//! | `GET /v1/jobs` | | [`Jobs`] |
//! | `PUT /v1/jobs/pause` | [`JobPause`] | [`JobStatus`] |
//! | `POST /v1/overrides` | [`OverrideRequest`] | [`Overrides`] (those made) |
//! | `POST /v1/upkeep` | [`UpkeepRequest`] | [`UpkeepPlan`] |
//! | `GET /v1/audit?since=SECONDS&after=NUMBER` | | [`AuditLog`] |
//! | `GET /v1/overrides?snap=NAME` | | [`Overrides`] |
//! | `DELETE /v1/overrides?snap=NAME&channel=CHANNEL` | | [`Overrides`] (what counts now, without a revision of their own) |
//! | `PUT /v1/devices/block` | [`DeviceBlock`] | [`DeviceBlock`] |
//! | `GET /v1/acme` | | [`AcmeStatus`] |
//! | `PUT /v1/acme` | [`AcmeEnable`] | [`AcmeStatus`], with the certificate or why there is none yet |
//! | `DELETE /v1/acme` | | [`AcmeStatus`]; the certificate stays |
//! | `POST /v1/acme/renew` | [`AcmeRenew`] | [`AcmeStatus`] |
//! | `POST /v1/logins` | [`LoginRequest`] | [`CreatedLogin`] |
//! | `GET /v1/logins` | | [`Logins`] |
//! | `DELETE /v1/logins/{id}` | | [`Login`] |
//! | `POST /v1/verify` | [`VerifyRequest`] | [`VerifyNews`], one on each line, until the last |
//! | `POST /v1/repair?file=NAME` | a snap bundle | [`Repaired`] |
//! | `POST /v1/gc` | [`CleanUp`] | [`CleanedUp`] |
//! | `POST /v1/backup` | [`BackupRequest`] | a backup without its first entry (see [`crate::backup`]) |
//! | `POST /v1/secrets/rotate` | [`SecretRotation`] | [`SecretRotated`] |
//! | `POST /v1/database/copy` | [`DatabaseCopy`] | [`DatabaseCopied`] |
//! | `GET /v1/openapi.json` | | this table as an OpenAPI document |
//!
//! Every refusal is an [`Failure`] with a 4xx or 5xx status.

mod acme;
mod assertions;
mod audit;
mod backup;
mod changes;
mod config;
mod device_kit;
mod doctor;
mod explain;
mod fleet;
mod jobs;
mod logins;
mod overrides;
mod snaps;
mod status;
mod stores;
mod upkeep;
mod verify;

pub use acme::*;
pub use assertions::*;
pub use audit::*;
pub use backup::*;
pub use changes::*;
pub use config::*;
pub use device_kit::*;
pub use doctor::*;
pub use explain::*;
pub use fleet::*;
pub use jobs::*;
pub use logins::*;
pub use overrides::*;
pub use snaps::*;
pub use status::*;
pub use stores::*;
pub use upkeep::*;
pub use verify::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The socket's name in the data directory.
pub const SOCKET_NAME: &str = "admin.sock";

/// Why an action was refused or failed. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// A stable word for programs, such as `invalid-bundle`.
    pub code: String,
    /// What could not be done and why, for people; may end with the command that helps.
    pub message: String,
    /// One entry per refused item, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl Failure {
    /// A failure with a message only.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: Vec::new() }
    }
}
