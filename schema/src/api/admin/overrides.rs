//! Overrides: a channel pinned to a revision on site.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SnapMove;

/// A revision that the operator pins above the imported channel map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OverrideRequest {
    /// The snap's name.
    pub snap: String,
    /// The channel, `[TRACK/]RISK[/BRANCH]`.
    pub channel: String,
    /// The revision, which must be held; its architectures decide which devices it applies to.
    pub revision: u32,
    /// Whether the channel's track may be one that the snap does not have yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create_track: bool,
}

/// Overrides of the imported channel map.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Overrides {
    /// Sorted by name, channel and architecture.
    pub overrides: Vec<Override>,
    /// How a change of overrides moved what devices get; empty if nothing did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<SnapMove>,
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
    /// The revision that devices get instead of the imported one; `None` if nothing is overridden.
    pub revision: Option<u32>,
    /// The revision in the imported channel map; `None` if the channel is not in it.
    pub upstream_revision: Option<u32>,
}
