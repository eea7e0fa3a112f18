//! Releasing, closing and removing, with a plan first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SnapMove;

/// A change that is planned first and applied when the operator says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UpkeepRequest {
    /// Apply the plan; otherwise only report it.
    pub apply: bool,
    /// The task.
    pub task: Task,
}

/// The task. It changes the database only and never touches files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Put a held revision into a channel of the imported map.
    Release {
        /// The snap's name.
        snap: String,
        /// The revision; its architectures decide which devices it applies to.
        revision: u32,
        /// The channel.
        channel: String,
        /// Whether the channel's track may be one that the snap does not have yet.
        #[serde(default, rename = "create-track", skip_serializing_if = "std::ops::Not::not")]
        create_track: bool,
    },
    /// Close a channel of the imported map: its devices fall back to the next safer risk.
    CloseChannel {
        /// The snap's name.
        snap: String,
        /// The channel.
        channel: String,
    },
    /// Remove a snap, or one revision of it.
    RemoveSnap {
        /// The snap's name.
        snap: String,
        /// Only this revision.
        revision: Option<u32>,
    },
    /// Remove the metadata of a store.
    RemoveStore {
        /// Its id.
        store: String,
    },
    /// Remove an account key.
    RemoveAccountKey {
        /// Its id, 64 characters.
        key: String,
    },
    /// Remove revisions that no channel leads to, except the newest ones.
    Prune {
        /// How many revisions to keep per architecture and epoch of a snap, released ones included; at least 1.
        keep: usize,
    },
    /// Give channels the releases of an earlier generation, all at once.
    Back {
        /// The generation: a number, a tag or a time.
        to: String,
        /// Only this snap.
        snap: Option<String>,
    },
}

/// The planned or applied steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UpkeepPlan {
    /// Whether the plan was applied.
    pub applied: bool,
    /// The steps, one short sentence each.
    pub steps: Vec<String>,
    /// How channels of the imported map move.
    #[serde(default)]
    pub moves: Vec<SnapMove>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// Bytes of files that become unused.
    #[serde(alias = "unused_bytes")]
    pub unused_bytes: u64,
}
