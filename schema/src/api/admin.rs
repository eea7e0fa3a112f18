//! The admin API: JSON over HTTP on a Unix socket in the data directory.
//!
//! | Route | Request | Answer |
//! |---|---|---|
//! | `GET /v1/status` | | [`Status`] |
//! | `POST /v1/snaps?file=NAME&push-channel-map=true` | a snap bundle | [`PushedSnaps`] |
//! | `GET /v1/snaps` | | [`Snaps`] |
//! | `POST /v1/assertions?file=NAME&as=account-keys` | an assertion stream | [`PushedAssertions`] |
//! | `GET /v1/account-keys` | | [`AccountKeys`] |
//! | `POST /v1/stores?file=NAME` | brand store metadata (JSON) | [`PushedStores`] |
//! | `GET /v1/stores` | | [`Stores`] |
//! | `POST /v1/trust` | an assertion stream | [`TrustAnchors`] (those added) |
//! | `GET /v1/trust` | | [`TrustAnchors`] |
//! | `DELETE /v1/trust/{fingerprint}` | | [`TrustAnchors`] (those left) |
//! | `PATCH /v1/config` | [`ConfigChange`] | [`ConfigChanged`] |
//! | `PUT /v1/devices/block` | [`DeviceBlock`] | [`DeviceBlock`] |
//! | `POST /v1/verify` | | [`VerifyReport`] |
//! | `POST /v1/gc` | [`CleanUp`] | [`CleanedUp`] |
//! | `POST /v1/secrets/rotate` | [`SecretRotation`] | [`SecretRotated`] |
//! | `POST /v1/database/copy` | [`DatabaseCopy`] | [`DatabaseCopied`] |
//!
//! Every refusal is an [`Failure`] with a 4xx or 5xx status.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::store::DeviceId;

/// The socket's name in the data directory.
pub const SOCKET_NAME: &str = "admin.sock";

/// Why an action was refused or failed; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word for programs, such as `invalid-bundle`.
    pub code: String,
    /// What could not be done and why, for people; may end with the command that helps.
    pub message: String,
}

/// How the store is doing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The server's version.
    pub version: String,
    /// The base of every link that devices get.
    pub store_url: String,
    /// Where the server listens, as `http://ADDRESS:PORT` or `https://ADDRESS:PORT` with what was bound.
    pub listening: Vec<String>,
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
    pub old_session_keys: Vec<OldSessionKey>,
    /// How HTTPS looks from outside, while devices use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsStatus>,
    /// What is still missing or needs a person, in full sentences; empty when all is well.
    pub problems: Vec<String>,
    /// How much is in the store.
    pub counts: Counts,
}

/// How HTTPS looks from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// What a pushed bundle changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PushedSnaps {
    /// One entry per snap of the bundle.
    pub snaps: Vec<PushedSnap>,
    /// What the operator should know, such as a base that is not there yet.
    pub warnings: Vec<String>,
}

/// What changed of one snap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PushedSnap {
    /// Its name.
    pub name: String,
    /// Its permanent id.
    pub snap_id: String,
    /// The store it was pushed for.
    pub store: String,
    /// The revisions of the bundle, in rising order.
    pub revisions: Vec<PushedRevision>,
    /// Was the channel map written?
    pub channel_map_updated: bool,
    /// The channels that lead to a revision of the bundle, `TRACK/RISK[/BRANCH] ARCH -> REVISION`.
    pub channels: Vec<String>,
}

/// One revision of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PushedRevision {
    /// The store's number for it.
    pub revision: u32,
    /// Was it there before?
    pub already_held: bool,
    /// Components that came with it, `NAME REVISION`.
    #[serde(default)]
    pub components: Vec<String>,
}

/// All snaps that were pushed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Snaps {
    /// Sorted by name.
    pub snaps: Vec<Snap>,
}

/// One snap of the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snap {
    /// Its name.
    pub name: String,
    /// Its permanent id.
    pub snap_id: String,
    /// Ids of the stores it was pushed for and those that grant it; `ubuntu` is the global one.
    pub stores: Vec<String>,
    /// Its revisions, rising.
    pub revisions: Vec<Revision>,
}

/// One revision of a snap.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Revision {
    /// The store's number for it.
    pub revision: u32,
    /// The publisher's version text.
    pub version: String,
    /// Where it runs.
    pub architectures: Vec<String>,
    /// Bytes.
    pub size: u64,
    /// Channels that lead to it, `TRACK/RISK[/BRANCH]`.
    pub channels: Vec<String>,
}

/// What a pushed stream changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PushedAssertions {
    /// Assertions that are new or newer, `TYPE/KEY` each.
    pub added: Vec<String>,
    /// Those that the store already held at this or a higher revision.
    pub already_held: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The store id of the registration, when this was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub store_id: Option<String>,
}

/// What a stream is pushed as: decides which types it must and may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamKind {
    /// At least one account key; anything verified besides.
    AccountKeys,
    /// Anything verified.
    Assertions,
    /// Exactly one store assertion with what it depends on; becomes this server's registration.
    Registration,
}

/// What pushed metadata changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PushedStores {
    /// The stores of the file.
    pub stores: Vec<Store>,
    /// What the operator should know, such as granted snaps that were not pushed yet.
    pub warnings: Vec<String>,
}

/// All stores.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Stores {
    /// Sorted by id.
    pub stores: Vec<Store>,
}

/// A store whose metadata was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Store {
    /// Its id.
    pub id: String,
    /// What its brand calls it.
    pub name: String,
    /// The brand's account id.
    pub brand_id: String,
    /// The store it is based on.
    pub parent: Option<String>,
    /// Names of the snaps it grants.
    pub snaps: Vec<String>,
    /// Those of them that were not pushed yet.
    pub missing: Vec<String>,
}

/// All account keys but the built-in ones.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccountKeys {
    /// Sorted by account and name.
    pub account_keys: Vec<AccountKey>,
}

/// An account key that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccountKey {
    /// The key's id, 64 characters.
    pub public_key_sha3_384: String,
    /// Whose key.
    pub account_id: String,
    /// What the account calls it.
    pub name: Option<String>,
    /// First moment of validity, RFC 3339.
    pub since: String,
    /// First moment after its validity; none means never.
    pub until: Option<String>,
    /// `valid`, `expired`, `revoked` or `not yet valid`, by the server's clock.
    pub state: String,
}

/// Trust anchors beside the built-in ones.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TrustAnchors {
    /// Sorted by fingerprint.
    pub anchors: Vec<TrustAnchor>,
}

/// One root key that was added.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrustAnchor {
    /// The key's id, 64 characters.
    pub fingerprint: String,
    /// The account it speaks for.
    pub account_id: String,
}

/// Values to set; an empty one clears its key.
#[derive(Clone, Serialize, Deserialize)]
pub struct ConfigChange {
    /// New values by key.
    pub values: BTreeMap<String, String>,
}

/// Values may be secrets.
impl std::fmt::Debug for ConfigChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// What a change of the configuration did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigChanged {
    /// The keys set, with their values as everybody may see them.
    pub values: BTreeMap<String, String>,
    /// Keys that take effect at the server's next start.
    pub after_restart: Vec<String>,
}

/// Whether a device is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceBlock {
    /// Which device, `BRAND/MODEL/SERIAL`.
    pub device: DeviceId,
    /// Refused from its next request on.
    pub blocked: bool,
}

/// Where to copy the database.
#[derive(Clone, Serialize, Deserialize)]
pub struct DatabaseCopy {
    /// A PostgreSQL URL.
    pub url: String,
}

/// How much was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseCopied {
    /// What the copy holds.
    pub counts: Counts,
}

/// What a check of everything in the store found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerifyReport {
    /// Files that were read in full.
    pub blobs: usize,
    /// Bytes that these must have together.
    pub bytes: u64,
    /// Assertions whose signature and chain were checked.
    pub assertions: usize,
    /// Revisions of snaps and components that were compared with their signed documents.
    pub revisions: usize,
    /// Releases that were compared with the revisions held.
    pub releases: usize,
    /// What is wrong; empty when all is well.
    pub problems: Vec<VerifyProblem>,
}

/// Something wrong in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerifyProblem {
    /// What kind of thing is wrong.
    pub kind: VerifyKind,
    /// What it is about: a blob's digest in hexadecimal, `TYPE/KEY` of an assertion, or a channel.
    pub subject: String,
    /// What is wrong with it and what helps, for people.
    pub message: String,
    /// The snaps that suffer from it.
    pub affected: Vec<Affected>,
}

/// Kinds of things that may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyKind {
    /// A file is missing, or not what its name says. Devices get 503 until it was pushed again.
    DamagedBlob,
    /// A file cannot be read, which says nothing about what is in it.
    UnreadableBlob,
    /// An assertion does not verify up to a trust anchor.
    InvalidAssertion,
    /// A revision is not what its signed document says.
    UnsignedRevision,
    /// A channel leads to a revision that is not held.
    DanglingRelease,
}

/// A snap that suffers from a problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Affected {
    /// Its name; empty when only its id is known.
    pub snap: String,
    /// Its permanent id.
    pub snap_id: String,
    /// The snap's revision, unless it is about a component or the picture.
    pub revision: Option<u32>,
    /// `NAME REVISION` of the component that it is about.
    pub component: Option<String>,
    /// The stores that serve the snap, by id.
    pub stores: Vec<String>,
}

/// How to remove files that nobody owns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CleanUp {
    /// Only say what would be removed.
    #[serde(default)]
    pub dry_run: bool,
    /// Also remove files that were written within the last hour.
    #[serde(default)]
    pub now: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CleanedUp {
    /// Did it stay with saying so?
    pub dry_run: bool,
    /// The files that no snap, component or icon owns, by digest.
    pub removed: Vec<UnownedBlob>,
    /// Bytes of these together.
    pub bytes: u64,
    /// Files that nobody owns yet and that are younger than an hour: they stay.
    pub young: usize,
    /// Files that are owned.
    pub owned: usize,
}

/// A file that nobody owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnownedBlob {
    /// The SHA3-384 that names it, in hexadecimal.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

/// Which secret to make anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SecretRotation {
    /// Its key in the configuration: `proxy.device-auth.secret`.
    pub key: String,
    /// How many seconds the one in force is still accepted.
    pub keep_old_seconds: u32,
}

/// The keys of device sessions after a rotation; not the secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SecretRotated {
    /// The key that signs from now on, by its id.
    pub session_key: String,
    /// Those that are still accepted.
    pub old_session_keys: Vec<OldSessionKey>,
}

/// A key that signs no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OldSessionKey {
    /// Its id.
    pub id: String,
    /// The first moment at which its sessions are refused, RFC 3339.
    pub until: String,
}
