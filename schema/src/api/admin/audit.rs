//! The audit log.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The actions of operators.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditLog {
    /// Newest last.
    pub events: Vec<AuditEntry>,
    /// The end of the log; `None` while it is empty.
    pub head: Option<AuditHead>,
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Its number, counted from 1 without gaps.
    pub sequence: i64,
    /// When it happened, RFC 3339.
    pub at: String,
    /// The operator, such as `uid 1000`, or `proxyd` itself.
    pub who: String,
    /// The action.
    pub what: String,
    /// What the action applied to.
    pub subject: String,
    /// How it ended: `done`, `begun`, `failed` or `refused`.
    pub outcome: String,
    /// Further details.
    pub detail: serde_json::Value,
    /// The SHA3-384 of this event and of the digest before it, in hexadecimal.
    pub hash: String,
}

/// The files that were imported or refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Imports {
    /// Newest last.
    pub imports: Vec<Import>,
    /// How many imports wait for approvals, so that no device sees them.
    #[serde(default)]
    pub waiting: usize,
}

/// An import, or an attempt at one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Import {
    /// The number of its event in the audit log.
    pub sequence: i64,
    /// When, RFC 3339.
    pub at: String,
    /// The operator, such as `uid 1000`.
    pub who: String,
    /// The command.
    pub what: String,
    /// The name of the file; `None` if it had none.
    pub file: Option<String>,
    /// The SHA-256 of the file, in hexadecimal; `None` if it was refused, perhaps before it was read to its end.
    pub sha256: Option<String>,
    /// What it brought, and what changed with it.
    pub changes: Vec<String>,
    /// Why it was refused.
    pub refused: Option<String>,
}

/// The end of the audit log, written `NUMBER:DIGEST`. A copy kept elsewhere proves later that no event up to it was
/// changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditHead {
    /// The number of the last event.
    pub sequence: i64,
    /// Its digest.
    pub hash: String,
}

/// The text is not the end of an audit log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the end of an audit log: it is written NUMBER:DIGEST, as `proxy audit` prints it")]
pub struct AuditHeadError;

impl fmt::Display for AuditHead {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.sequence, self.hash)
    }
}

impl FromStr for AuditHead {
    type Err = AuditHeadError;

    fn from_str(text: &str) -> Result<Self, AuditHeadError> {
        let (number, hash) = text.split_once(':').ok_or(AuditHeadError)?;
        let sequence = number.parse().ok().filter(|number| *number > 0).ok_or(AuditHeadError)?;
        let digest = crate::digest::Sha3_384::from_hex(hash).map_err(|_| AuditHeadError)?;
        Ok(Self { sequence, hash: digest.to_hex() })
    }
}
