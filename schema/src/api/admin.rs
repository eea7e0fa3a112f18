//! The admin API: JSON over HTTP on a Unix socket in the data directory.
//!
//! | Route | Request | Answer |
//! |---|---|---|
//! | `GET /v1/status` | | [`Status`] |
//! | `POST /v1/snaps?file=NAME&push-channel-map=true&dry-run=true` | a snap bundle | [`PushedSnaps`] |
//! | `POST /v1/archives?file=NAME&push-channel-map=true&dry-run=true` | a store archive | [`PushedArchive`] |
//! | `GET /v1/snaps` | | [`Snaps`] |
//! | `POST /v1/assertions?file=NAME&as=account-keys` | an assertion stream | [`PushedAssertions`] |
//! | `GET /v1/account-keys` | | [`AccountKeys`] |
//! | `POST /v1/stores?file=NAME` | brand store metadata (JSON) | [`PushedStores`] |
//! | `GET /v1/stores` | | [`Stores`] |
//! | `POST /v1/trust` | an assertion stream | [`TrustAnchors`] (those added) |
//! | `GET /v1/trust` | | [`TrustAnchors`] |
//! | `DELETE /v1/trust/{fingerprint}` | | [`TrustAnchors`] (those left) |
//! | `PATCH /v1/config` | [`ConfigChange`] | [`ConfigChanged`] |
//! | `GET /v1/devices?brand=B&model=M&store=ID&stale=SECONDS&missing=SNAP&below=SNAP=REV` | | [`Devices`] |
//! | `GET /v1/device?device=BRAND/MODEL/SERIAL` | | [`Device`] |
//! | `GET /v1/misses` | | [`Misses`] |
//! | `POST /v1/overrides` | [`OverrideRequest`] | [`Overrides`] (those made) |
//! | `POST /v1/upkeep` | [`UpkeepRequest`] | [`UpkeepPlan`] |
//! | `GET /v1/audit?since=SECONDS` | | [`AuditLog`] |
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
//! | `POST /v1/verify` | | [`VerifyReport`] |
//! | `POST /v1/gc` | [`CleanUp`] | [`CleanedUp`] |
//! | `POST /v1/secrets/rotate` | [`SecretRotation`] | [`SecretRotated`] |
//! | `POST /v1/database/copy` | [`DatabaseCopy`] | [`DatabaseCopied`] |
//!
//! Every refusal is an [`Failure`] with a 4xx or 5xx status.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::service_login::Acl;
use crate::store::{DeviceId, StoreId};

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
    /// How certificates come, while they come from an ACME authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeStatus>,
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

/// What a pushed store archive changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PushedArchive {
    /// One entry per snap of the archive.
    pub snaps: Vec<PushedSnap>,
    /// The stores of its metadata, as they are after it.
    pub stores: Vec<Store>,
    /// How many assertions were new or newer.
    pub assertions: usize,
    /// What the operator should know.
    pub warnings: Vec<String>,
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

/// A service login to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoginRequest {
    /// The one store that it is for.
    pub store: StoreId,
    /// What it may do there.
    pub acls: BTreeSet<Acl>,
    /// Seconds until it expires.
    pub lifetime_seconds: u64,
}

/// A service login, without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Login {
    /// Names it.
    pub id: String,
    /// The one store that it is for.
    pub store: StoreId,
    /// What it may do there.
    pub acls: BTreeSet<Acl>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// From when on it is void, RFC 3339.
    pub expires: String,
    /// `valid`, `expired` or `revoked`, by the server's clock.
    pub state: String,
}

/// A service login that was just made: the only time that its token is told.
#[derive(Clone, Serialize, Deserialize)]
pub struct CreatedLogin {
    /// What it is good for.
    #[serde(flatten)]
    pub login: Login,
    /// The bearer token.
    pub token: String,
}

/// The token is a secret.
impl std::fmt::Debug for CreatedLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.login.fmt(f)
    }
}

/// Service logins, those that are over too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logins {
    /// Sorted by store, then by the time they were made.
    pub logins: Vec<Login>,
}

/// Which devices to list; each member given narrows the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceFilter {
    /// Of this brand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// Of this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whose model names this store; `ubuntu` is the global one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Not seen for so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<u64>,
    /// That do not run this snap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// That run a snap at a lower revision, `SNAP=REVISION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
}

/// Devices that were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// Sorted by brand, model and serial.
    pub devices: Vec<Device>,
}

/// A device as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Device {
    /// The brand's account id.
    pub brand: String,
    /// The model.
    pub model: String,
    /// The serial.
    pub serial: String,
    /// The store that its model names; `ubuntu` is the global one.
    pub store: String,
    /// When it was seen first, RFC 3339.
    pub first_seen: String,
    /// When it was seen last, RFC 3339.
    pub last_seen: String,
    /// From where: its own address, or that of what stands between.
    pub address: String,
    /// Its client, such as `snapd/2.77 (series 16; ...)`.
    pub client: String,
    /// The subject of the client certificate that it showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Is it refused?
    pub blocked: bool,
    /// What it runs, sorted by name; none when it did not say.
    pub snaps: Option<Vec<DeviceSnap>>,
    /// What it asked for and did not get, newest first.
    pub misses: Vec<DeviceMiss>,
}

/// A snap that a device runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceSnap {
    /// Its name, or its id when this store does not hold it.
    pub name: String,
    /// Its permanent id.
    pub snap_id: String,
    /// What is installed.
    pub revision: i64,
    /// What it follows.
    pub channel: String,
}

/// What a device asked for and did not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceMiss {
    /// The snap's name, or its id when only that was said.
    pub name: String,
    /// A channel, or `revision N`.
    pub wanted: String,
    /// What the device was told, such as `name-not-found`.
    pub code: String,
    /// When it asked last, RFC 3339.
    pub last_asked: String,
}

/// What devices asked for and did not get: what to carry in next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misses {
    /// What most devices asked for comes first.
    pub misses: Vec<FleetMiss>,
}

/// A wish of one or more devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FleetMiss {
    /// The snap's name, or its id when only that was said.
    pub name: String,
    /// A channel, or `revision N`.
    pub wanted: String,
    /// What the devices were told, such as `name-not-found`.
    pub code: String,
    /// How many devices asked.
    pub devices: usize,
    /// Their models, `BRAND/MODEL`, sorted.
    pub models: Vec<String>,
    /// When one asked last, RFC 3339.
    pub last_asked: String,
    /// Is a snap of this name held by now? Then its channel, revision or grant is what is missing.
    pub held: bool,
}

/// A revision that the operator puts above the imported channel map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OverrideRequest {
    /// The snap's name.
    pub snap: String,
    /// The channel, `[TRACK/]RISK[/BRANCH]`.
    pub channel: String,
    /// The revision, which must be held; it decides the architectures.
    pub revision: u32,
}

/// Overrides of the imported channel map.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Sorted by name, channel and architecture.
    pub overrides: Vec<Override>,
}

/// One channel of one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Override {
    /// The snap's name.
    pub snap_name: String,
    /// The snap's id.
    pub snap_id: String,
    /// The channel, as devices write it: `stable`, `2/edge`.
    pub channel: String,
    /// The architecture.
    pub architecture: String,
    /// What devices get instead of what was imported; none when nothing is overridden.
    pub revision: Option<u32>,
    /// What the imported channel map says; none when it says nothing.
    pub upstream_revision: Option<u32>,
}

/// Something that is planned first and done when the operator says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UpkeepRequest {
    /// Do it; otherwise only the plan is made.
    pub apply: bool,
    /// What.
    pub task: Task,
}

/// What is to be done. Files are never touched: only what the database says of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Put a held revision into a channel of the imported map.
    Release {
        /// The snap's name.
        snap: String,
        /// The revision; it decides the architectures.
        revision: u32,
        /// The channel.
        channel: String,
    },
    /// Take a channel out of the imported map: devices that follow it go to the next safer risk.
    CloseChannel {
        /// The snap's name.
        snap: String,
        /// The channel.
        channel: String,
    },
    /// Remove a snap, or one revision of it.
    RemoveSnap {
        /// The snap's name.
        snap: String,
        /// Only this revision.
        revision: Option<u32>,
    },
    /// Remove the metadata of a store.
    RemoveStore {
        /// Its id.
        store: String,
    },
    /// Remove an account key.
    RemoveAccountKey {
        /// Its id, 64 characters.
        key: String,
    },
    /// Remove the revisions that nothing leads to, but the newest ones.
    Prune {
        /// How many of each architecture and epoch of a snap stay, released ones among them; at least 1.
        keep: usize,
    },
}

/// What would be done, or was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpkeepPlan {
    /// Was it done?
    pub applied: bool,
    /// Each step, in a few words.
    pub steps: Vec<String>,
    /// What the operator should know before.
    pub warnings: Vec<String>,
    /// Bytes of files that nothing names afterwards.
    pub unused_bytes: u64,
}

/// What operators did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLog {
    /// Newest last.
    pub events: Vec<AuditEntry>,
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number, counted from 1 without gaps.
    pub sequence: i64,
    /// When, RFC 3339.
    pub at: String,
    /// The operator, such as `uid 1000`, or `proxyd` itself.
    pub who: String,
    /// The action.
    pub what: String,
    /// What it was done to.
    pub subject: String,
    /// How it ended.
    pub outcome: String,
    /// Anything else worth keeping.
    pub detail: serde_json::Value,
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

/// Where certificates are to come from (RFC 8555).
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AcmeEnable {
    /// The authority's directory, an `https` URL.
    pub directory: String,
    /// PEM certificates to trust the directory with; none: as other outgoing TLS.
    pub ca: Option<String>,
    /// Who the authority may write to, mail addresses.
    pub contact: Vec<String>,
    /// How the store shows that it has its name: `http-01` or `tls-alpn-01`.
    pub challenge: String,
    /// What ties the account to one that the authority knows already.
    pub binding: Option<AcmeBinding>,
}

/// An external account binding (RFC 8555 §7.3.4).
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AcmeBinding {
    /// The key id.
    pub kid: String,
    /// The key in base64url.
    pub key: String,
}

/// Asks for a new certificate now.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AcmeRenew {
    /// Have the certificate of before revoked once the new one is in use.
    #[serde(default)]
    pub revoke: bool,
}

/// How certificates come from an ACME authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AcmeStatus {
    /// The authority's directory; none while ACME is off.
    pub directory: Option<String>,
    /// How the store shows that it has its name: `http-01` or `tls-alpn-01`.
    pub challenge: String,
    /// The name or address that certificates are for.
    pub domain: String,
    /// Who the authority may write to.
    pub contact: Vec<String>,
    /// The key id of the external account binding.
    pub eab_kid: Option<String>,
    /// The last moment of the certificate in use, RFC 3339; none while there is none.
    pub not_after: Option<String>,
    /// When a new certificate is asked for next, RFC 3339; none while ACME is off.
    pub next_renewal: Option<String>,
    /// Why the last attempt was in vain; none when it was not.
    pub last_error: Option<String>,
    /// Attempts in vain since the last success or start.
    pub failures: u32,
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
