//! What waits until other people have approved it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an operator said to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalVote {
    /// The operator: `uid NUMBER` of the server's host, or `login ID`.
    pub who: String,
    /// Whether it may be done.
    pub approves: bool,
    /// When, RFC 3339.
    pub at: String,
    /// The reason, if one was given.
    #[serde(default)]
    pub why: Option<String>,
}

/// A request for approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Approval {
    /// Its number.
    pub id: i64,
    /// What kind of action it is about, such as `serial`.
    pub kind: String,
    /// What that is done to.
    pub subject: String,
    /// `waiting`, `approved`, `refused`, `used`, `expired`, or `void` if it can no longer be done.
    pub state: String,
    /// How many people have to approve it.
    pub needed: u32,
    /// What was said to it, oldest first.
    pub votes: Vec<ApprovalVote>,
    /// Who asks.
    pub asked_by: String,
    /// When, RFC 3339.
    pub asked: String,
    /// When it ends, done or not, RFC 3339.
    pub ends: String,
    /// The digest of exactly what is to be done: SHA-256 in hex.
    pub digest: String,
    /// What is to be done.
    pub detail: Value,
}

/// Requests for approval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Approvals {
    /// Newest first; at most a thousand.
    pub approvals: Vec<Approval>,
}

/// What an operator says to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalDecision {
    /// The request's number.
    pub id: i64,
    /// Whether it may be done.
    pub approve: bool,
    /// The reason, which the audit log keeps.
    #[serde(default)]
    pub why: Option<String>,
}
