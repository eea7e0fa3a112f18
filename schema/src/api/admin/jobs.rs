//! What runs in the background.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that is done again and again in the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JobStatus {
    /// Its name.
    pub name: String,
    /// Seconds from one round to the next; none where something else than time begins a round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace_seconds: Option<u64>,
    /// Does an operator hold it?
    pub paused: bool,
    /// When its last round ended, in RFC 3339; none since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<String>,
    /// Why that round failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When the next round begins, in RFC 3339, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<String>,
}

/// All jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Jobs {
    /// Each of them.
    pub jobs: Vec<JobStatus>,
}

/// Holds a job, or lets it go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobPause {
    /// Its name.
    pub job: String,
    /// Is it to be held?
    pub paused: bool,
}
