//! Overrides: a channel pinned to a revision on site.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A revision that the operator puts above the imported channel map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OverrideRequest {
    /// The snap's name.
    pub snap: String,
    /// The channel, `[TRACK/]RISK[/BRANCH]`.
    pub channel: String,
    /// The revision, which must be held; it decides the architectures.
    pub revision: u32,
}

/// Overrides of the imported channel map.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Overrides {
    /// Sorted by name, channel and architecture.
    pub overrides: Vec<Override>,
}

/// One channel of one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Override {
    /// The snap's name.
    pub snap_name: String,
    /// The snap's id.
    pub snap_id: String,
    /// The channel, as devices write it: `stable`, `2/edge`.
    pub channel: String,
    /// The architecture.
    pub architecture: String,
    /// What devices get instead of what was imported; none when nothing is overridden.
    pub revision: Option<u32>,
    /// What the imported channel map says; none when it says nothing.
    pub upstream_revision: Option<u32>,
}
