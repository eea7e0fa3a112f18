//! Releasing, closing and removing, planned first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that is planned first and done when the operator says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UpkeepRequest {
    /// Do it; otherwise only the plan is made.
    pub apply: bool,
    /// What.
    pub task: Task,
}

/// What is to be done. Files are never touched: only what the database says of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Put a held revision into a channel of the imported map.
    Release {
        /// The snap's name.
        snap: String,
        /// The revision; it decides the architectures.
        revision: u32,
        /// The channel.
        channel: String,
    },
    /// Take a channel out of the imported map: devices that follow it go to the next safer risk.
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
    /// Remove the revisions that nothing leads to, but the newest ones.
    Prune {
        /// How many of each architecture and epoch of a snap stay, released ones among them; at least 1.
        keep: usize,
    },
}

/// What would be done, or was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpkeepPlan {
    /// Was it done?
    pub applied: bool,
    /// Each step, in a few words.
    pub steps: Vec<String>,
    /// What the operator should know before.
    pub warnings: Vec<String>,
    /// Bytes of files that nothing names afterwards.
    pub unused_bytes: u64,
}
