//! Checking everything that is held, and cleaning up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// What is wrong; empty when all is well.
    pub problems: Vec<VerifyProblem>,
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
