//! Imports that wait until other people have approved them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StreamKind;
use crate::store::StoreId;

/// What kind of import it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImportKind {
    /// A snap bundle.
    Snaps,
    /// A store archive.
    Archive,
    /// A parcel.
    Parcel,
    /// A stream of assertions.
    Assertions,
    /// The metadata of brand stores.
    Stores,
}

impl ImportKind {
    /// The kind as it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snaps => "snaps",
            Self::Archive => "archive",
            Self::Parcel => "parcel",
            Self::Assertions => "assertions",
            Self::Stores => "stores",
        }
    }
}

/// The options of the push, which count again when the import is released.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ImportOptions {
    /// The store to push for, instead of the bundle's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
    /// Whether channels may move to lower revisions and close.
    #[serde(default)]
    pub push_channel_map: bool,
    /// Names or ids of snaps that more devices may see.
    #[serde(default)]
    pub widen: Vec<String>,
    /// What a stream of assertions was pushed as.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamKind>,
    /// The assertion that returns to a lower revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<String>,
}

/// Imports that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingImports {
    /// Oldest first.
    pub imports: Vec<WaitingImport>,
}

/// An import that was verified, and that no device sees yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WaitingImport {
    /// What it is known by.
    pub id: String,
    /// What kind it is.
    pub kind: ImportKind,
    /// The name of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// Who pushed it: `uid NUMBER` of the server's host, or `login ID`.
    pub pushed_by: String,
    /// When, RFC 3339.
    pub pushed: String,
    /// The options of the push.
    pub options: ImportOptions,
    /// The number of the request for approval; none if that has ended, until a release asks anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<i64>,
    /// `waiting`, `approved`, or `not-asked`; in the answer to a command `released` or `refused`.
    pub state: String,
    /// The digest of exactly that, its file and its options, which is what people approve.
    #[serde(default)]
    pub digest: String,
    /// What it changes once it is released.
    pub plan: ImportPlan,
}

/// What an import changes for devices, next to what the store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ImportPlan {
    /// New revisions of snaps and components.
    pub revisions: Vec<PlannedRevision>,
    /// Bytes of all that is new.
    pub bytes: u64,
    /// Channels that move, `NAME TRACK/RISK ARCH BEFORE → AFTER`.
    pub channels: Vec<String>,
    /// Stores whose grants change.
    pub grants: Vec<PlannedGrants>,
    /// Account keys that are new or newer.
    pub keys: Vec<String>,
    /// Every other assertion that is new or newer, `TYPE/KEY`.
    pub assertions: Vec<String>,
    /// Assertions that go.
    pub removed: Vec<String>,
    /// Who sees what from then on, in full sentences.
    pub visibility: Vec<String>,
}

/// A new revision, next to the newest one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedRevision {
    /// The snap's name, or `SNAP+COMPONENT`.
    pub name: String,
    /// The snap's id.
    pub snap_id: String,
    /// The store's number for it.
    pub revision: u32,
    /// The publisher's version text.
    pub version: String,
    /// Bytes.
    pub size: u64,
    /// SHA3-384 of the file, in hex.
    pub sha3_384: String,
    /// The newest revision before it that is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u32>,
    /// Bytes of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_before: Option<u64>,
    /// What its `snap.yaml` asks for and the one before does not: plugs, slots, and another confinement or base.
    pub new: Vec<String>,
    /// What it asks for no more.
    pub gone: Vec<String>,
}

/// How the grants of a store change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedGrants {
    /// The store.
    pub store: String,
    /// Names of snaps that it gets.
    pub added: Vec<String>,
    /// Names of snaps that it loses.
    pub removed: Vec<String>,
}

/// In the answer to a push: it waits, and no device sees anything of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waits {
    /// What the import is known by.
    pub import: String,
    /// The number of the request for approval.
    pub request: i64,
    /// Whether it is approved already.
    pub approved: bool,
}

/// Has an import released that was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportRelease {
    /// What the import is known by.
    pub import: String,
}
