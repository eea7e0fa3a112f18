//! The audit log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What operators did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditLog {
    /// Newest last.
    pub events: Vec<AuditEntry>,
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
