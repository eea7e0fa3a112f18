//! The state of the store.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AccountKey, AcmeStatus, AuditHead, BackupStatus, DeltaUse, JobStatus, OldKey, Store, TrustAnchor,
};

/// The state of the store.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The server's version.
    pub version: String,
    /// The base of every link in answers to devices.
    pub store_url: String,
    /// Where the server listens, as `http://ADDRESS:PORT` or `https://ADDRESS:PORT` with the bound address.
    pub listening: Vec<String>,
    /// Where the admin API listens over HTTPS, as `https://ADDRESS:PORT` with the bound address; `None` while it is
    /// closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_address: Option<String>,
    /// Where metrics are served, as `http://ADDRESS:PORT/metrics`; `None` while they are off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// `ok`, or what is wrong with the database.
    pub database: String,
    /// `ok`, or what is wrong with the place of the files.
    #[serde(default)]
    pub storage: String,
    /// Which engine: `sqlite` or `postgresql`.
    pub database_engine: String,
    /// Whether devices are served.
    pub airgap_mode: bool,
    /// The registered store's id.
    pub store_id: Option<String>,
    /// `running` or `not running: REASON`, by service name.
    pub services: BTreeMap<String, String>,
    /// Stores whose metadata was imported.
    pub stores: Vec<Store>,
    /// Account keys used to verify devices.
    pub account_keys: Vec<AccountKey>,
    /// Trust anchors added to the built-in ones.
    pub trust: Vec<TrustAnchor>,
    /// The fingerprint of the key that signs device sessions (not the key).
    pub session_key: Option<String>,
    /// Old keys whose device sessions are still accepted.
    #[serde(default)]
    pub old_session_keys: Vec<OldKey>,
    /// The id of the key that signs service logins.
    #[serde(default)]
    pub login_key: Option<String>,
    /// Old keys whose logins are still accepted.
    #[serde(default)]
    pub old_login_keys: Vec<OldKey>,
    /// Keys set by service credentials, so that they cannot be set here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<String>,
    /// HTTPS as devices see it, while it is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsStatus>,
    /// The state of ACME, while it is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeStatus>,
    /// The end of the audit log; keep a copy elsewhere.
    #[serde(default)]
    pub audit_head: Option<AuditHead>,
    /// The background check of all files.
    #[serde(default)]
    pub check: CheckStatus,
    /// Backups and their rehearsals; `None` while the database does not answer.
    #[serde(default)]
    pub backup: Option<BackupStatus>,
    /// How many imports wait for approvals, so that no device sees them.
    #[serde(default)]
    pub waiting_imports: usize,
    /// Old revisions that may go, while proxy.retention.keep is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionStatus>,
    /// Deltas for devices.
    #[serde(default)]
    pub deltas: DeltaUse,
    /// The background jobs.
    #[serde(default)]
    pub jobs: Vec<JobStatus>,
    /// Problems that need attention now, in full sentences; empty when all is well.
    pub problems: Vec<String>,
    /// What will need attention later, in full sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// How much the store holds.
    pub counts: Counts,
}

/// The check of all files, which runs in the background and with `proxy verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CheckStatus {
    /// When the last check finished, RFC 3339.
    pub finished: Option<String>,
    /// Files read by the last check.
    pub blobs: usize,
    /// Bytes read by the last check.
    pub bytes: u64,
    /// Problems found by the last check.
    pub problems: usize,
    /// Files read so far by a check that has not finished; `None` if there is none.
    pub read_so_far: Option<usize>,
}

/// Old revisions that nothing needs, as the last plan of each hour found them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RetentionStatus {
    /// How many revisions of each snap, architecture and epoch are kept.
    pub keep: usize,
    /// Whether the others are removed without a command.
    pub apply: bool,
    /// Revisions that may go.
    pub revisions: usize,
    /// Bytes that only these revisions need.
    pub bytes: u64,
}

/// HTTPS as devices see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TlsStatus {
    /// The certificate in use; `None` if a front holds it and cannot be reached.
    pub certificate: Option<Certificate>,
    /// Certificates for clients that ask for another name of the store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Certificate>,
    /// Whether clients present certificates: `off`, `optional` or `required`.
    pub client_auth: String,
    /// What will become a problem later, in a full sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Why a device would reject the connection, in full sentences; empty if it would accept it.
    pub problems: Vec<String>,
}

/// The contents of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Certificate {
    /// The subject.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// DNS names and addresses that it covers.
    pub names: Vec<String>,
    /// Start of validity, RFC 3339.
    pub not_before: String,
    /// End of validity, RFC 3339.
    pub not_after: String,
    /// Whole days until then; negative after expiry.
    pub days_left: i64,
}

/// How much the store holds.
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
