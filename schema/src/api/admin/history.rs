//! The history of the channel map.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SnapMove;

/// The changes of the channel map, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct History {
    /// The generation with which history starts.
    pub start: i64,
    /// When that was, RFC 3339; `None` for a store that was new then.
    pub started: Option<String>,
    /// The current generation.
    pub generation: i64,
    /// The changes.
    pub entries: Vec<HistoryEntry>,
    /// Whether there are earlier changes than these.
    pub more: bool,
}

/// One change of the channel map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HistoryEntry {
    /// Its generation.
    pub generation: i64,
    /// When it was made, RFC 3339.
    pub at: String,
    /// The operator.
    pub who: String,
    /// The action, as in the audit log.
    pub what: String,
    /// What the action applied to.
    pub subject: String,
    /// How the channel map moved.
    pub moves: Vec<HistoryMove>,
}

/// What differs between the channel maps of two generations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HistoryDiff {
    /// The first generation.
    pub from: i64,
    /// The second one.
    pub to: i64,
    /// How the map of the first moves to that of the second.
    pub moves: Vec<HistoryMove>,
}

/// How one entry of the channel map moved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HistoryMove {
    /// The snap, the channel and the revisions; both are `None` where imports may or may not open the channel.
    #[serde(flatten)]
    pub moved: SnapMove,
    /// The snap's id.
    pub snap_id: String,
    /// What moved.
    pub kind: MoveKind,
}

/// What moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MoveKind {
    /// A release of the imported map.
    Imported,
    /// An override above it.
    Override,
    /// No import opens the channel from now on.
    Closed,
    /// Imports may open the channel again.
    Reopened,
}

/// `core24 latest/stable amd64 1 → 3`
impl fmt::Display for HistoryMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SnapMove { snap, moved } = &self.moved;
        match self.kind {
            MoveKind::Imported => write!(f, "{snap} {moved}"),
            MoveKind::Override => write!(f, "{snap} {moved} (override)"),
            MoveKind::Closed => write!(f, "{snap} {}: stays closed, whatever is imported", moved.channel),
            MoveKind::Reopened => write!(f, "{snap} {}: imports may open it again", moved.channel),
        }
    }
}

/// Named generations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tags {
    /// In the order of their generations.
    pub tags: Vec<Tag>,
}

/// A name for a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tag {
    /// The name.
    pub name: String,
    /// The generation.
    pub generation: i64,
    /// When it was named, RFC 3339.
    pub at: String,
    /// Who named it.
    pub who: String,
}

/// A wish for a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagRequest {
    /// The name.
    pub name: String,
    /// The generation: a number, another tag or a time; the current one by default.
    pub at: Option<String>,
}
