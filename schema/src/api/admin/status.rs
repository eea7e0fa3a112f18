//! How the store is doing.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AccountKey, AcmeStatus, AuditHead, JobStatus, OldKey, Store, TrustAnchor};

/// How the store is doing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The server's version.
    pub version: String,
    /// The base of every link that devices get.
    pub store_url: String,
    /// Where the server listens, as `http://ADDRESS:PORT` or `https://ADDRESS:PORT` with what was bound.
    pub listening: Vec<String>,
    /// Where the admin API is open over HTTPS, as `https://ADDRESS:PORT` with what was bound; none while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_address: Option<String>,
    /// Where the metrics are, as `http://ADDRESS:PORT/metrics`, while they are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// `ok`, or what is wrong with the database.
    pub database: String,
    /// Which engine: `sqlite` or `postgresql`.
    pub database_engine: String,
    /// Are devices served?
    pub airgap_mode: bool,
    /// The registered store's id.
    pub store_id: Option<String>,
    /// `running` or `not running: REASON`, by the name of each part.
    pub services: BTreeMap<String, String>,
    /// Stores whose metadata was imported.
    pub stores: Vec<Store>,
    /// Account keys that devices are checked against.
    pub account_keys: Vec<AccountKey>,
    /// Trust anchors that were added to the built-in ones.
    pub trust: Vec<TrustAnchor>,
    /// The sign key's fingerprints of device sessions (not the key).
    pub session_key: Option<String>,
    /// Keys of before whose device sessions are still accepted.
    #[serde(default)]
    pub old_session_keys: Vec<OldKey>,
    /// The key that makes service logins, by its id.
    #[serde(default)]
    pub login_key: Option<String>,
    /// Keys of before whose logins are still accepted.
    #[serde(default)]
    pub old_login_keys: Vec<OldKey>,
    /// Keys whose values came as credentials of the service, so that they are not set here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<String>,
    /// How HTTPS looks from outside, while devices use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsStatus>,
    /// How certificates come, while they come from an ACME authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeStatus>,
    /// Where the audit log ends; write it down elsewhere now and then.
    #[serde(default)]
    pub audit_head: Option<AuditHead>,
    /// How the check of all files goes, which runs by itself.
    #[serde(default)]
    pub check: CheckStatus,
    /// What runs in the background.
    #[serde(default)]
    pub jobs: Vec<JobStatus>,
    /// What is still missing or needs a person, in full sentences; empty when all is well.
    pub problems: Vec<String>,
    /// What will need a person some day, in full sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// How much is in the store.
    pub counts: Counts,
}

/// How the check of all files goes, which runs by itself and when `proxy verify` says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CheckStatus {
    /// When it last came to an end, RFC 3339.
    pub finished: Option<String>,
    /// Files that it read then.
    pub blobs: usize,
    /// Bytes that it read then.
    pub bytes: u64,
    /// How much was wrong then.
    pub problems: usize,
    /// Files that the check which has not ended yet has read, if there is one.
    pub read_so_far: Option<usize>,
}

/// How HTTPS looks from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TlsStatus {
    /// The certificate in use; none while a proxy in front that holds it cannot be reached.
    pub certificate: Option<Certificate>,
    /// Whether clients prove themselves: `off`, `optional` or `required`.
    pub client_auth: String,
    /// What will be a problem later, in a full sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Why a device would turn back, in full sentences; empty when it would get through.
    pub problems: Vec<String>,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Certificate {
    /// Who it is for.
    pub subject: String,
    /// Who made it.
    pub issuer: String,
    /// DNS names and addresses that it covers.
    pub names: Vec<String>,
    /// Its first moment, RFC 3339.
    pub not_before: String,
    /// Its last moment, RFC 3339.
    pub not_after: String,
    /// Whole days until then; negative once it is over.
    pub days_left: i64,
}

/// How much is in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Snaps.
    pub snaps: usize,
    /// Snap revisions.
    pub revisions: usize,
    /// Assertions.
    pub assertions: usize,
    /// Devices that are blocked.
    pub blocked_devices: usize,
}
