//! The history of the channel map, of grants, and of what stores and snaps say about themselves.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SnapMove;

/// The changes, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct History {
    /// The generation with which history starts.
    pub start: i64,
    /// When that was, RFC 3339; `None` for a store that was new then.
    pub started: Option<String>,
    /// The generation with which the history of grants and metadata starts; it may be a later one.
    #[serde(default)]
    pub grants_since: i64,
    /// The current generation.
    pub generation: i64,
    /// The changes.
    pub entries: Vec<HistoryEntry>,
    /// Whether there are earlier changes than these.
    pub more: bool,
}

/// One change.
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
    /// How grants changed.
    #[serde(default)]
    pub grants: Vec<GrantMove>,
    /// What stores and snaps say otherwise about themselves.
    #[serde(default)]
    pub metadata: Vec<MetadataMove>,
}

/// What differs between two generations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HistoryDiff {
    /// The first generation.
    pub from: i64,
    /// The second one.
    pub to: i64,
    /// How the map of the first moves to that of the second.
    pub moves: Vec<HistoryMove>,
    /// How the grants of the first become those of the second.
    #[serde(default)]
    pub grants: Vec<GrantMove>,
    /// What stores and snaps say otherwise about themselves.
    #[serde(default)]
    pub metadata: Vec<MetadataMove>,
    /// The generation with which the history of grants and metadata starts: what they were in an earlier one is not known.
    #[serde(default)]
    pub grants_since: i64,
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

/// How a store's grants of a snap changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct GrantMove {
    /// The store's id.
    pub store: String,
    /// The snap's name.
    pub snap: String,
    /// The snap's id.
    pub snap_id: String,
    /// Its grants before.
    pub before: Vec<Granted>,
    /// Its grants after.
    pub after: Vec<Granted>,
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Granted {
    /// The reason: `own`, `included`, `essential`, or `told` by the operator.
    pub reason: String,
    /// What the store calls the snap.
    pub name: String,
}

/// How a store or a snap is described otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MetadataMove {
    /// A store or a snap.
    pub of: Described,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it came, went, or changed.
    pub change: MetadataChange,
    /// What changed about it. Of one that came or went, only the stores that a snap is pushed for, and whether a new one is private.
    pub fields: Vec<FieldMove>,
}

/// What metadata describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Described {
    /// A store.
    Store,
    /// A snap.
    Snap,
}

/// What happened to a store or a snap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MetadataChange {
    /// It came.
    Added,
    /// It went.
    Removed,
    /// It stayed and is described otherwise.
    Changed,
}

/// How one field changed. Long values are not told: then both are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FieldMove {
    /// The field; [`FieldMove::HOME`] is a store that the snap is pushed for.
    pub field: String,
    /// Its value before; `None` if there was none.
    pub before: Option<Value>,
    /// Its value after; `None` if there is none.
    pub after: Option<Value>,
}

impl FieldMove {
    /// A store that a snap is pushed for; each is a field of its own.
    pub const HOME: &str = "pushed-for";
}

/// `store acme grants hello (own)`
impl fmt::Display for GrantMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, snap, before, after, .. } = self;
        let listed = |grants: &[Granted]| {
            let one = |grant: &Granted| match grant.name == *snap {
                true => grant.reason.clone(),
                false => format!("{} as {}", grant.reason, grant.name),
            };
            grants.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        match (&before[..], &after[..]) {
            (gone, []) => write!(f, "store {store} no longer grants {snap} ({})", listed(gone)),
            ([], new) => write!(f, "store {store} grants {snap} ({})", listed(new)),
            (old, new) => {
                write!(f, "store {store} grants {snap} ({}), before ({})", listed(new), listed(old))
            }
        }
    }
}

/// `hello: title "Hello" → "Hello World", description changed`
impl fmt::Display for MetadataMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Described::Store => write!(f, "store {}: ", self.id)?,
            Described::Snap => write!(f, "{}: ", self.name)?,
        }
        let happened = match self.change {
            MetadataChange::Added => Some("added".to_owned()),
            MetadataChange::Removed => Some("removed".to_owned()),
            MetadataChange::Changed => None,
        };
        let parts = happened.into_iter().chain(self.fields.iter().map(ToString::to_string));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

/// `title "Hello" → "Hello World"`
impl fmt::Display for FieldMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Self::HOME, store) = (self.field.as_str(), self.after.as_ref().or(self.before.as_ref())) {
            let no_longer = if self.after.is_none() { "no longer " } else { "" };
            return write!(f, "{no_longer}pushed for {}", store.and_then(Value::as_str).unwrap_or_default());
        }
        let shown =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "none".to_owned(), Value::to_string);
        match (&self.before, &self.after) {
            (None, None) => write!(f, "{} changed", self.field),
            (before, after) => write!(f, "{} {} → {}", self.field, shown(before), shown(after)),
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
