//! What the store of record keeps, as plain data. Texts were validated by those who made them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schema::assertion::{Assertion, DecodeError, Ref, Verified};
use schema::digest::Sha3_384;
use schema::service_login::Acl;
use schema::store::StoreId;
use serde::{Deserialize, Serialize};

use super::touched::Position;

/// The bytes of a snap or component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobRecord {
    /// Names the bytes.
    pub(crate) digest: Sha3_384,
    /// In bytes.
    pub(crate) size: u64,
    /// The SHA-256 of each MiB, 32 bytes each, joined; the last block may be shorter than a MiB.
    pub(crate) blocks: Vec<u8>,
}

/// A snap.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SnapRecord {
    /// Its permanent id.
    pub(crate) snap_id: String,
    /// Its name.
    pub(crate) name: String,
    /// `app`, `base`, `gadget`, `kernel`, `os` or `snapd`.
    pub(crate) kind: String,
    /// Whether it is for its store's devices only.
    pub(crate) private: bool,
    /// The stores it was pushed for. A commit adds to them.
    pub(crate) stores: Vec<String>,
    /// Title, summary, description, licence, media, links and so on, as in the store's answer.
    pub(crate) text: serde_json::Value,
}

/// One revision of a snap.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RevisionRecord {
    /// The snap.
    pub(crate) snap_id: String,
    /// The store's number for this upload.
    pub(crate) revision: u32,
    /// Its bytes.
    pub(crate) blob: Sha3_384,
    /// In bytes.
    pub(crate) size: u64,
    /// The version its publisher gave it.
    pub(crate) version: String,
    /// The architectures it runs on.
    pub(crate) architectures: Vec<String>,
    /// The base it needs.
    pub(crate) base: Option<String>,
    /// Its epoch, as in snap.yaml.
    pub(crate) epoch: serde_json::Value,
    /// `strict`, `classic` or `devmode`.
    pub(crate) confinement: String,
    /// As in [`SnapRecord::kind`], of this revision.
    pub(crate) kind: String,
    /// Who built it; `global-upload` when nothing else was said.
    pub(crate) provenance: String,
    /// Its snap.yaml, as it is in the snap.
    pub(crate) snap_yaml: String,
    /// When the store got it, RFC 3339.
    pub(crate) created_at: Option<String>,
}

/// One revision of a component of a snap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComponentRecord {
    /// The snap it belongs to.
    pub(crate) snap_id: String,
    /// The component's name.
    pub(crate) name: String,
    /// The component's own revision.
    pub(crate) revision: u32,
    /// Its bytes.
    pub(crate) blob: Sha3_384,
    /// In bytes.
    pub(crate) size: u64,
    /// Its type, such as `standard` or `kernel-modules`.
    pub(crate) kind: String,
    /// Its version.
    pub(crate) version: String,
    /// Who built it.
    pub(crate) provenance: String,
}

/// A component revision that goes with a snap revision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PairRecord {
    /// The snap.
    pub(crate) snap_id: String,
    /// The snap's revision.
    pub(crate) snap_revision: u32,
    /// The component's name.
    pub(crate) component: String,
    /// The component's revision.
    pub(crate) component_revision: u32,
}

/// Where a release comes from. Overrides win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    /// The imported channel map.
    Imported,
    /// The operator of this store.
    Override,
    /// Nobody: the operator closed the channel, and no import opens it by itself. Its revision is any that is held.
    Closed,
}

/// The place of a release in the channel map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReleaseKey {
    /// The snap.
    pub(crate) snap_id: String,
    /// The track.
    pub(crate) track: String,
    /// The risk.
    pub(crate) risk: String,
    /// The branch, empty for none.
    pub(crate) branch: String,
    /// The architecture.
    pub(crate) architecture: String,
    /// Imported, overriding and closed releases of one channel are kept side by side.
    pub(crate) origin: Origin,
}

/// One entry of the channel map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReleaseRecord {
    /// The snap.
    pub(crate) snap_id: String,
    /// The track.
    pub(crate) track: String,
    /// The risk.
    pub(crate) risk: String,
    /// The branch, empty for none.
    pub(crate) branch: String,
    /// The architecture.
    pub(crate) architecture: String,
    /// What is released.
    pub(crate) revision: u32,
    /// When, RFC 3339.
    pub(crate) released_at: String,
    /// By whom.
    pub(crate) origin: Origin,
}

impl ReleaseRecord {
    /// Is the other one in the same channel of the same snap, for whatever architecture?
    pub(crate) fn is_beside(&self, other: &ReleaseRecord) -> bool {
        (&self.snap_id, &self.track, &self.risk, &self.branch)
            == (&other.snap_id, &other.track, &other.risk, &other.branch)
    }

    /// Its place in the channel map.
    pub(crate) fn key(&self) -> ReleaseKey {
        ReleaseKey {
            snap_id: self.snap_id.clone(),
            track: self.track.clone(),
            risk: self.risk.clone(),
            branch: self.branch.clone(),
            architecture: self.architecture.clone(),
            origin: self.origin,
        }
    }
}

/// Why a store grants a snap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reason {
    /// The snap is published in that store.
    Own,
    /// The store includes it from another store.
    Included,
    /// Devices cannot do without it.
    Essential,
    /// The operator said so by name, whatever the metadata of the snap's own store says.
    Told,
}

/// A snap that a store hands out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    /// The snap's id.
    pub(crate) snap_id: String,
    /// The snap's name in the store's metadata.
    pub(crate) name: String,
    /// Why.
    pub(crate) reason: Reason,
}

/// A brand store. Committing one replaces it with all its grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreRecord {
    /// Its id.
    pub(crate) store_id: String,
    /// The brand's account.
    pub(crate) brand_id: String,
    /// Its name for people.
    pub(crate) name: String,
    /// The store it builds on.
    pub(crate) parent: Option<String>,
    /// What it hands out, sorted.
    pub(crate) grants: Vec<Grant>,
    /// The JSON document it was made from, without personal data.
    pub(crate) document: String,
}

impl StoreRecord {
    /// What it says of a snap.
    pub(crate) fn grants_of(&self, snap_id: &str) -> &[Grant] {
        let from = self.grants.partition_point(|grant| grant.snap_id.as_str() < snap_id);
        let many = self.grants[from..].partition_point(|grant| grant.snap_id == snap_id);
        &self.grants[from..from + many]
    }
}

/// Whether a device is refused from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceBlock {
    /// The brand's account.
    pub(crate) brand: String,
    /// The model.
    pub(crate) model: String,
    /// The serial.
    pub(crate) serial: String,
    /// Refused, or allowed again.
    pub(crate) blocked: bool,
}

/// A service login that was given out. Kept among the named facts, as `login.ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoginRecord {
    /// The store that it is for; none for the whole site.
    #[serde(default)]
    pub(crate) store: Option<StoreId>,
    /// What it may do there.
    pub(crate) acls: BTreeSet<Acl>,
    /// Seconds since 1970 when it was made.
    pub(crate) created: u64,
    /// Seconds since 1970 from which it is void.
    pub(crate) expires: u64,
    /// Taken back before that?
    pub(crate) revoked: bool,
    /// The id of the key that made it; none for those of before there were ids.
    #[serde(default)]
    pub(crate) key: Option<String>,
}

impl LoginRecord {
    /// What the names of these facts begin with; the login's id follows.
    pub(crate) const PREFIX: &'static str = "login.";

    /// The fact to write down.
    pub(crate) fn fact(&self, id: &str) -> (String, String) {
        (format!("{}{id}", Self::PREFIX), serde_json::json!(self).to_string())
    }
}

/// An operator's action, for the record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AuditEvent {
    /// The operator.
    pub(crate) who: String,
    /// The action.
    pub(crate) what: String,
    /// What it was done to.
    pub(crate) subject: String,
    /// How it ended.
    pub(crate) outcome: String,
    /// Anything else worth keeping. Never a secret.
    pub(crate) detail: serde_json::Value,
}

/// An audit event as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AuditRecord {
    /// Its number, counted from 1.
    pub(crate) sequence: i64,
    /// Microseconds since 1970.
    pub(crate) at_micros: i64,
    /// What happened.
    pub(crate) event: AuditEvent,
    /// Its digest in the chain.
    pub(crate) hash: String,
}

/// A file that was imported.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ImportRecord {
    /// Names the file's bytes: their SHA-256, lower-case hex.
    pub(crate) file_digest: String,
    /// What kind of file it was.
    pub(crate) kind: String,
    /// What came of it.
    pub(crate) summary: serde_json::Value,
}

/// Rows to take out, after what was added and after releases were closed. Files stay.
#[derive(Debug, Clone, Default)]
pub(crate) struct Removed {
    /// Snap revisions with their pairs: snap and number.
    pub(crate) revisions: Vec<(String, u32)>,
    /// Component revisions: snap, name and number.
    pub(crate) components: Vec<(String, String, u32)>,
    /// Snaps with the list of stores that they were pushed for.
    pub(crate) snaps: Vec<String>,
    /// Blobs.
    pub(crate) blobs: Vec<Sha3_384>,
    /// Stores with their grants, and what was pushed for them is theirs no longer.
    pub(crate) stores: Vec<String>,
    /// Documents, in every format.
    pub(crate) assertions: Vec<Ref>,
}

/// All effects of one operator action: committed whole or not at all.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// Documents to keep; one that is not newer than what is held changes nothing.
    pub(crate) assertions: Vec<Verified>,
    /// Trust anchors to add: fingerprint and assertion stream.
    pub(crate) anchors_added: Vec<(String, String)>,
    /// Fingerprints of trust anchors to remove.
    pub(crate) anchors_removed: Vec<String>,
    /// Blobs, which must be durable already.
    pub(crate) blobs: Vec<BlobRecord>,
    /// Snaps to add or replace.
    pub(crate) snaps: Vec<SnapRecord>,
    /// Snap revisions to add or replace.
    pub(crate) revisions: Vec<RevisionRecord>,
    /// Component revisions to add or replace.
    pub(crate) components: Vec<ComponentRecord>,
    /// Pairs to add.
    pub(crate) pairs: Vec<PairRecord>,
    /// Snaps whose imported releases are dropped before `releases` are added.
    pub(crate) replace_channel_map_of: Vec<String>,
    /// Releases to close before `releases` are added.
    pub(crate) releases_closed: Vec<ReleaseKey>,
    /// Releases to add or replace.
    pub(crate) releases: Vec<ReleaseRecord>,
    /// Stores to add or replace.
    pub(crate) stores: Vec<Arc<StoreRecord>>,
    /// What is taken out; what something else still refers to refuses the whole change.
    pub(crate) removed: Removed,
    /// Devices to block or to let in again.
    pub(crate) device_blocks: Vec<DeviceBlock>,
    /// Named facts to set.
    pub(crate) meta: Vec<(String, String)>,
    /// Who did it.
    pub(crate) audit: AuditEvent,
    /// The file it came from.
    pub(crate) import: Option<ImportRecord>,
    /// When, in microseconds since 1970.
    pub(crate) at_micros: i64,
}

impl Change {
    /// A change that records `audit` and nothing else yet.
    pub(crate) fn new(audit: AuditEvent, at_micros: i64) -> Change {
        Change {
            assertions: Vec::new(),
            anchors_added: Vec::new(),
            anchors_removed: Vec::new(),
            blobs: Vec::new(),
            snaps: Vec::new(),
            revisions: Vec::new(),
            components: Vec::new(),
            pairs: Vec::new(),
            replace_channel_map_of: Vec::new(),
            releases_closed: Vec::new(),
            releases: Vec::new(),
            stores: Vec::new(),
            removed: Removed::default(),
            device_blocks: Vec::new(),
            meta: Vec::new(),
            audit,
            import: None,
            at_micros,
        }
    }
}

/// The text of a document, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AssertionRecord(pub(crate) Box<[u8]>);

impl AssertionRecord {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with a text that no import can have stored.
    pub(crate) fn decode(&self) -> Result<Arc<Assertion>, DecodeError> {
        Assertion::decode(&self.0).map(Arc::new)
    }
}

impl From<&Assertion> for AssertionRecord {
    fn from(assertion: &Assertion) -> Self {
        Self(assertion.bytes().into())
    }
}

/// Everything the catalog is compiled from, read in one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// How far the database was.
    pub(crate) position: Position,
    /// All documents, in no particular order.
    pub(crate) assertions: Vec<AssertionRecord>,
    /// Added trust anchors: fingerprint and assertion stream.
    pub(crate) anchors: Vec<(String, String)>,
    /// All blobs that a revision may name.
    pub(crate) blobs: Vec<BlobRecord>,
    /// All snaps.
    pub(crate) snaps: Vec<SnapRecord>,
    /// All snap revisions.
    pub(crate) revisions: Vec<RevisionRecord>,
    /// All component revisions.
    pub(crate) components: Vec<ComponentRecord>,
    /// All pairs.
    pub(crate) pairs: Vec<PairRecord>,
    /// The channel map: all imported releases, then all overrides, so that the last one of a channel counts.
    pub(crate) releases: Vec<ReleaseRecord>,
    /// All stores.
    pub(crate) stores: Vec<StoreRecord>,
    /// Blocked devices: brand, model, serial.
    pub(crate) blocked: Vec<(String, String, String)>,
    /// Named facts.
    pub(crate) meta: BTreeMap<String, String>,
}

/// A use of a nonce. Ordered so that servers that spend many at once never wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NonceUse {
    /// The epoch that the nonce belongs to.
    pub(crate) epoch: i64,
    /// What the nonce is kept as: a digest of it.
    pub(crate) key: String,
    /// A digest of the request that it is spent on.
    pub(crate) request_digest: String,
    /// When the session is issued, in microseconds since 1970.
    pub(crate) issued_at_micros: i64,
}

impl NonceUse {
    /// The use of `nonce`, of `epoch`, for the request with `request_digest`.
    pub(crate) fn new(nonce: &str, epoch: i64, request_digest: &str, issued_at_micros: i64) -> Self {
        let key = Sha3_384::of(nonce.as_bytes()).to_base64url();
        Self { epoch, key, request_digest: request_digest.to_owned(), issued_at_micros }
    }
}

/// A nonce that was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spent {
    /// The epoch that it belongs to.
    pub(crate) epoch: i64,
    /// What it is kept as.
    pub(crate) key: String,
}

impl From<&NonceUse> for Spent {
    fn from(of: &NonceUse) -> Self {
        Self { epoch: of.epoch, key: of.key.clone() }
    }
}

/// What came of spending a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spending {
    /// It belongs to this request.
    Spent {
        /// When its session was issued the first time, in microseconds since 1970.
        issued_at_micros: i64,
        /// Whether this was the first time.
        fresh: bool,
    },
    /// It was spent on another request, or its epoch is not accepted any more.
    Replayed,
}

/// A device that was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sighting {
    /// The brand's account.
    pub(crate) brand: String,
    /// The model.
    pub(crate) model: String,
    /// The serial.
    pub(crate) serial: String,
    /// When, in microseconds since 1970.
    pub(crate) seen_at_micros: i64,
    /// From where.
    pub(crate) address: String,
    /// The subject of the client certificate that it showed; empty without one.
    pub(crate) client: String,
    /// The snaps it runs, when it said so.
    pub(crate) snaps: Option<serde_json::Value>,
    /// What it asked for and this store could not give, when that is known.
    pub(crate) missed: Option<serde_json::Value>,
    /// The store of its model; empty for the global one.
    pub(crate) store: String,
    /// The `User-Agent` of its client, which tells its version.
    pub(crate) agent: String,
}

/// A device as it was last seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeviceRecord {
    /// When it was seen first, in microseconds since 1970.
    pub(crate) first_seen_micros: i64,
    /// When it was seen last, and the newest that is known of it.
    pub(crate) last: Sighting,
}
