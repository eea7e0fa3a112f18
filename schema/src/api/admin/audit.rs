//! The audit log.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What operators did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditLog {
    /// Newest last.
    pub events: Vec<AuditEntry>,
    /// Where the log ends; none while nothing was ever done.
    pub head: Option<AuditHead>,
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
    /// How it ended: `done`, `begun` or `refused`.
    pub outcome: String,
    /// Anything else worth keeping.
    pub detail: serde_json::Value,
    /// The SHA3-384 of this event and of the digest before it, in hexadecimal.
    pub hash: String,
}

/// Where the audit log ends, written `NUMBER:DIGEST`. Who wrote it down can tell later that nothing up to it was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditHead {
    /// The number of the last event.
    pub sequence: i64,
    /// Its digest.
    pub hash: String,
}

/// A text that is no end of an audit log.
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
