//! Checking everything the store holds, and cleaning up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AuditHead, Failure};

/// The result of checking everything in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct VerifyReport {
    /// Files that were read in full.
    pub blobs: usize,
    /// The expected size of these files in bytes.
    pub bytes: u64,
    /// Assertions whose signature and chain were checked.
    pub assertions: usize,
    /// Revisions of snaps and components compared with their assertions.
    pub revisions: usize,
    /// Releases compared with the revisions held.
    pub releases: usize,
    /// Audit log events whose chain was verified.
    pub events: i64,
    /// The problems found; empty when all is well.
    pub problems: Vec<VerifyProblem>,
    /// Digests in hexadecimal of damaged files that were replaced afterwards and no longer count as problems.
    #[serde(default)]
    pub repaired: Vec<String>,
}

/// How to check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct VerifyRequest {
    /// Read at most this many MB per second; `None` for no limit.
    #[serde(default)]
    pub rate: Option<u32>,
    /// Continue a check that was interrupted.
    #[serde(default)]
    pub resume: bool,
    /// A saved end of the audit log: no event up to it may have changed.
    #[serde(default)]
    pub audit_head: Option<AuditHead>,
}

/// The lines of a running check: progress, then the report or an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyNews {
    /// The check is still running.
    Progress(VerifyProgress),
    /// The check is complete.
    Report(VerifyReport),
    /// The check failed.
    Failed(Failure),
}

/// Progress of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifyProgress {
    /// Bytes read.
    pub bytes: u64,
    /// Total bytes.
    pub total: u64,
}

/// The result of a repair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repaired {
    /// Digests in hexadecimal of the damaged files it replaced.
    pub files: Vec<String>,
}

/// A problem in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct VerifyProblem {
    /// The kind of problem.
    pub kind: VerifyKind,
    /// What it is about: a blob's digest in hexadecimal, `TYPE/KEY` of an assertion, or a channel.
    pub subject: String,
    /// What is wrong and what helps, for people.
    pub message: String,
    /// The affected snaps.
    pub affected: Vec<Affected>,
}

/// Kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyKind {
    /// A file is missing or does not match its digest. Devices get 503 until it is pushed again.
    DamagedBlob,
    /// A file cannot be read. Devices get 503 until it can be read or is pushed again.
    UnreadableBlob,
    /// An assertion does not verify up to a trust anchor.
    InvalidAssertion,
    /// A revision does not match its assertion.
    UnsignedRevision,
    /// A channel leads to a revision that is not held.
    DanglingRelease,
    /// The audit log is not as the server wrote it.
    BrokenAudit,
}

/// A snap affected by a problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Affected {
    /// Its name; empty when only its id is known.
    pub snap: String,
    /// Its permanent id.
    pub snap_id: String,
    /// The snap's revision; `None` if a component or the icon is affected.
    pub revision: Option<u32>,
    /// `NAME REVISION` of the affected component.
    pub component: Option<String>,
    /// The stores that serve the snap, by id.
    pub stores: Vec<String>,
}

/// How to remove unowned files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CleanUp {
    /// Only report what would be removed.
    #[serde(default)]
    pub dry_run: bool,
    /// Also remove files written within the last hour.
    #[serde(default)]
    pub now: bool,
}

/// The files that were or would be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CleanedUp {
    /// Whether this was a dry run.
    pub dry_run: bool,
    /// The files, by digest, that no snap, component or icon owns.
    pub removed: Vec<UnownedBlob>,
    /// Their total size in bytes.
    pub bytes: u64,
    /// Unowned files younger than an hour, which are kept.
    pub young: usize,
    /// Files that are owned.
    pub owned: usize,
    /// Database rows of unowned files, removed as well.
    pub rows: usize,
    /// Damaged files that were set aside and are no longer owned, removed as well.
    pub set_aside: usize,
}

/// An unowned file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UnownedBlob {
    /// Its SHA3-384 in hexadecimal.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}
