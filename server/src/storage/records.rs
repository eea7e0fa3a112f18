//! The database's records as plain data. Their creators have validated the texts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schema::assertion::{Assertion, DecodeError, Ref, Verified};
use schema::digest::Sha3_384;
use schema::service_login::Acl;
use schema::store::{
    Architecture, Channel, Confinement, DeviceId, Epoch, SnapId, SnapName, SnapType, StoreId,
};
use serde::{Deserialize, Serialize};

use super::policies::SerialList;
use super::position::Position;

/// The member of a snap's texts that names the revision they describe.
pub(crate) const OF_REVISION: &str = "of-revision";

/// The bytes of a snap or component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobRecord {
    /// The digest that names the bytes.
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
    pub(crate) snap_id: SnapId,
    /// Its name.
    pub(crate) name: SnapName,
    /// Its type.
    pub(crate) kind: SnapType,
    /// Whether only its store's devices may see it.
    pub(crate) private: bool,
    /// The stores it was pushed for. A commit adds to them.
    pub(crate) stores: Vec<StoreId>,
    /// Title, summary, description, licence, media, links and so on, as in the store's answer.
    pub(crate) text: serde_json::Value,
}

/// One revision of a snap.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RevisionRecord {
    /// The snap.
    pub(crate) snap_id: SnapId,
    /// The store's number for this upload.
    pub(crate) revision: u32,
    /// Its bytes.
    pub(crate) blob: Sha3_384,
    /// In bytes.
    pub(crate) size: u64,
    /// The version its publisher gave it.
    pub(crate) version: String,
    /// The architectures it runs on.
    pub(crate) architectures: Vec<Architecture>,
    /// The base it needs.
    pub(crate) base: Option<String>,
    /// Its epoch.
    pub(crate) epoch: Epoch,
    /// Its confinement.
    pub(crate) confinement: Confinement,
    /// As in [`SnapRecord::kind`], of this revision.
    pub(crate) kind: SnapType,
    /// Its provenance; `global-upload` by default.
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
    pub(crate) snap_id: SnapId,
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
    /// Its provenance.
    pub(crate) provenance: String,
}

/// A component revision that goes with a snap revision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PairRecord {
    /// The snap.
    pub(crate) snap_id: SnapId,
    /// The snap's revision.
    pub(crate) snap_revision: u32,
    /// The component's name.
    pub(crate) component: String,
    /// The component's revision.
    pub(crate) component_revision: u32,
}

/// The origin of a release. Overrides win.
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
    pub(crate) snap_id: SnapId,
    /// The channel.
    pub(crate) channel: Channel,
    /// The architecture.
    pub(crate) architecture: Architecture,
    /// Imported, overriding and closed releases of one channel are stored side by side.
    pub(crate) origin: Origin,
}

/// One entry of the channel map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReleaseRecord {
    /// The snap.
    pub(crate) snap_id: SnapId,
    /// The channel.
    pub(crate) channel: Channel,
    /// The architecture.
    pub(crate) architecture: Architecture,
    /// What is released.
    pub(crate) revision: u32,
    /// When, RFC 3339.
    pub(crate) released_at: String,
    /// By whom.
    pub(crate) origin: Origin,
}

impl ReleaseRecord {
    /// Whether the other one is in the same channel of the same snap, for any architecture.
    pub(crate) fn is_beside(&self, other: &ReleaseRecord) -> bool {
        (&self.snap_id, &self.channel) == (&other.snap_id, &other.channel)
    }

    /// Its place in the channel map.
    pub(crate) fn key(&self) -> ReleaseKey {
        ReleaseKey {
            snap_id: self.snap_id.clone(),
            channel: self.channel.clone(),
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
    /// Devices need it to boot.
    Essential,
    /// The operator named it explicitly, regardless of the metadata of the snap's own store.
    Told,
}

/// A snap that a store grants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    /// The snap's id.
    pub(crate) snap_id: SnapId,
    /// The snap's name in the store's metadata.
    pub(crate) name: SnapName,
    /// The reason.
    pub(crate) reason: Reason,
}

/// A brand store. Committing one replaces it with all its grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreRecord {
    /// Its id.
    pub(crate) store_id: StoreId,
    /// The brand's account.
    pub(crate) brand_id: String,
    /// Its name for people.
    pub(crate) name: String,
    /// The store it builds on.
    pub(crate) parent: Option<StoreId>,
    /// The snaps it grants, sorted.
    pub(crate) grants: Vec<Grant>,
    /// The JSON document it was made from, without personal data.
    pub(crate) document: String,
}

impl StoreRecord {
    /// Its grants of a snap.
    pub(crate) fn grants_of(&self, snap_id: &str) -> &[Grant] {
        let from = self.grants.partition_point(|grant| grant.snap_id.as_str() < snap_id);
        let many = self.grants[from..].iter().take_while(|grant| grant.snap_id == snap_id).count();
        &self.grants[from..from + many]
    }
}

/// Blocks or unblocks a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceBlock {
    /// Which one.
    pub(crate) device: DeviceId,
    /// Blocked or unblocked.
    pub(crate) blocked: bool,
}

/// An issued service login. Stored as the fact `login.ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoginRecord {
    /// The store it is for; `None` for the whole site.
    #[serde(default)]
    pub(crate) store: Option<StoreId>,
    /// What it may do there.
    pub(crate) acls: BTreeSet<Acl>,
    /// When it was created, in seconds since 1970.
    pub(crate) created: u64,
    /// When it expires, in seconds since 1970.
    pub(crate) expires: u64,
    /// Whether it was revoked.
    pub(crate) revoked: bool,
    /// The id of the key that signed it; `None` for logins from before keys had ids.
    #[serde(default)]
    pub(crate) key: Option<String>,
    /// Who made it; `None` for logins from before this was kept.
    #[serde(default)]
    pub(crate) by: Option<String>,
}

impl LoginRecord {
    /// The prefix of these facts' names, before the login's id.
    pub(crate) const PREFIX: &'static str = "login.";

    /// The fact to store.
    pub(crate) fn fact(&self, id: &str) -> (String, String) {
        (format!("{}{id}", Self::PREFIX), serde_json::json!(self).to_string())
    }
}

/// A name for a generation. Stored as the fact `tag.NAME`; a removed one is there as `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TagRecord {
    /// The generation.
    pub(crate) generation: i64,
    /// When it was named, in microseconds since 1970.
    pub(crate) at: i64,
    /// Who named it.
    pub(crate) who: String,
}

impl TagRecord {
    /// The prefix of these facts' names, before the tag's own.
    pub(crate) const PREFIX: &'static str = "tag.";

    /// The fact to store.
    pub(crate) fn fact(tag: Option<&Self>, name: &str) -> (String, String) {
        (format!("{}{name}", Self::PREFIX), serde_json::json!(tag).to_string())
    }
}

/// An operator's action for the audit log.
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
    /// Further details. Never a secret.
    pub(crate) detail: serde_json::Value,
}

impl AuditEvent {
    /// `who` did `what` to `subject`, and it is done.
    pub(crate) fn new(who: impl Into<String>, what: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            who: who.into(),
            what: what.into(),
            subject: subject.into(),
            outcome: "done".into(),
            detail: serde_json::json!({}),
        }
    }

    /// It ended in another way, or has only begun.
    pub(crate) fn outcome(self, outcome: impl Into<String>) -> Self {
        Self { outcome: outcome.into(), ..self }
    }

    /// Anything else worth keeping. Never a secret.
    pub(crate) fn detail(self, detail: serde_json::Value) -> Self {
        Self { detail, ..self }
    }
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
    /// The result.
    pub(crate) summary: serde_json::Value,
}

/// Rows to remove, after additions and after releases were closed. Files stay.
#[derive(Debug, Clone, Default)]
pub(crate) struct Removed {
    /// Snap revisions with their pairs: snap and number.
    pub(crate) revisions: Vec<(SnapId, u32)>,
    /// Component revisions: snap, name and number.
    pub(crate) components: Vec<(SnapId, String, u32)>,
    /// Snaps with their list of stores.
    pub(crate) snaps: Vec<SnapId>,
    /// Blobs.
    pub(crate) blobs: Vec<Sha3_384>,
    /// Stores with their grants; snaps that were pushed for them lose this store.
    pub(crate) stores: Vec<StoreId>,
    /// Assertions, in every format.
    pub(crate) assertions: Vec<Ref>,
}

/// All effects of one operator action, committed as a whole or not at all.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// Assertions to store; one that is not newer than the stored one changes nothing.
    pub(crate) assertions: Vec<Verified>,
    /// Trust anchors to add: fingerprint and assertion stream.
    pub(crate) anchors_added: Vec<(String, String)>,
    /// Fingerprints of trust anchors to remove.
    pub(crate) anchors_removed: Vec<String>,
    /// Blobs, which must already be durable.
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
    pub(crate) replace_channel_map_of: Vec<SnapId>,
    /// Releases to close before `releases` are added.
    pub(crate) releases_closed: Vec<ReleaseKey>,
    /// Releases to add or replace.
    pub(crate) releases: Vec<ReleaseRecord>,
    /// Stores to add or replace.
    pub(crate) stores: Vec<Arc<StoreRecord>>,
    /// Rows to remove; a remaining reference to one of them rejects the whole change.
    pub(crate) removed: Removed,
    /// Devices to block or unblock.
    pub(crate) device_blocks: Vec<DeviceBlock>,
    /// Named facts to set.
    pub(crate) meta: Vec<(String, String)>,
    /// The list of a model's serials to replace.
    pub(crate) serial_list: Option<SerialList>,
    /// The serial to take from its device.
    pub(crate) serial_given_up: Option<DeviceId>,
    /// The approval that it uses up: its number, and the digest of what was approved.
    pub(crate) approval: Option<(i64, String)>,
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
            serial_list: None,
            serial_given_up: None,
            approval: None,
            audit,
            import: None,
            at_micros,
        }
    }
}

/// An assertion's text, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AssertionRecord(pub(crate) Box<[u8]>);

impl AssertionRecord {
    /// Decodes the assertion.
    ///
    /// # Errors
    /// The text is one that no import can have stored.
    pub(crate) fn decode(&self) -> Result<Arc<Assertion>, DecodeError> {
        Assertion::decode(&self.0).map(Arc::new)
    }
}

impl From<&Assertion> for AssertionRecord {
    fn from(assertion: &Assertion) -> Self {
        Self(assertion.bytes().into())
    }
}

/// Everything the catalog is compiled from, read in one database snapshot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// The database's position.
    pub(crate) position: Position,
    /// All assertions, in no particular order.
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
    /// The channel map: all imported releases, then all overrides, so that the last one of a channel wins.
    pub(crate) releases: Vec<ReleaseRecord>,
    /// All stores.
    pub(crate) stores: Vec<StoreRecord>,
    /// Blocked devices.
    pub(crate) blocked: Vec<DeviceId>,
    /// Named facts.
    pub(crate) meta: BTreeMap<String, String>,
}

/// A use of a nonce. Ordered, so that servers that spend many at once never deadlock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NonceUse {
    /// The epoch that the nonce belongs to.
    pub(crate) epoch: i64,
    /// The stored digest of the nonce.
    pub(crate) key: String,
    /// The digest of the request it is spent on.
    pub(crate) request_digest: String,
    /// When the session is issued, in microseconds since 1970.
    pub(crate) issued_at_micros: i64,
}

impl NonceUse {
    /// The use of `nonce` in `epoch` for the request with `request_digest`.
    pub(crate) fn new(nonce: &str, epoch: i64, request_digest: &str, issued_at_micros: i64) -> Self {
        let key = Sha3_384::of(nonce.as_bytes()).to_base64url();
        Self { epoch, key, request_digest: request_digest.to_owned(), issued_at_micros }
    }
}

/// A spent nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spent {
    /// The epoch that it belongs to.
    pub(crate) epoch: i64,
    /// Its stored digest.
    pub(crate) key: String,
}

impl From<&NonceUse> for Spent {
    fn from(of: &NonceUse) -> Self {
        Self { epoch: of.epoch, key: of.key.clone() }
    }
}

/// The result of spending a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spending {
    /// It belongs to this request.
    Spent {
        /// When its session was first issued, in microseconds since 1970.
        issued_at_micros: i64,
        /// Whether this was the first time.
        fresh: bool,
    },
    /// It was spent on another request, or its epoch is no longer accepted.
    Replayed,
}
