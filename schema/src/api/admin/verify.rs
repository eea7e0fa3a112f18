//! Checking everything that is held, and cleaning up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AuditHead, Failure};

/// What a check of everything in the store found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Events of the audit log whose chain was followed.
    pub events: i64,
    /// What is wrong; empty when all is well.
    pub problems: Vec<VerifyProblem>,
    /// Digests, in hexadecimal, of the damaged files that were replaced afterwards and count as problems no more.
    #[serde(default)]
    pub repaired: Vec<String>,
}

/// How to check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct VerifyRequest {
    /// MB in a second that are read at most; none for as fast as can be.
    #[serde(default)]
    pub rate: Option<u32>,
    /// Go on with a check that was cut off.
    #[serde(default)]
    pub resume: bool,
    /// An end of the audit log that was written down: nothing up to there may have changed.
    #[serde(default)]
    pub audit_head: Option<AuditHead>,
}

/// What is heard of a check, line by line: how it goes on, then the report or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyNews {
    /// It goes on.
    Progress(VerifyProgress),
    /// It is done.
    Report(VerifyReport),
    /// It cannot be done.
    Failed(Failure),
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifyProgress {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes there are.
    pub total: u64,
}

/// What a file brought for a repair was good for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repaired {
    /// Digests of the damaged files that it replaced, in hexadecimal.
    pub files: Vec<String>,
}

/// Something wrong in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyKind {
    /// A file is missing, or not what its name says. Devices get 503 until it was pushed again.
    DamagedBlob,
    /// A file cannot be read. Devices get 503 until it can be, or was pushed again.
    UnreadableBlob,
    /// An assertion does not verify up to a trust anchor.
    InvalidAssertion,
    /// A revision is not what its signed document says.
    UnsignedRevision,
    /// A channel leads to a revision that is not held.
    DanglingRelease,
    /// The audit log is not as the server wrote it.
    BrokenAudit,
}

/// A snap that suffers from a problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Rows of the database about files that no snap, component or icon owns: removed as well.
    pub rows: usize,
    /// Damaged files that had been set aside and that nobody owns any more: removed as well.
    pub set_aside: usize,
}

/// A file that nobody owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UnownedBlob {
    /// The SHA3-384 that names it, in hexadecimal.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}
