//! Snaps: the result of a push, and what is held.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ChannelMove, Store, TrackMove, ViewChange, Waits};

/// The result of pushing a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PushedSnaps {
    /// One entry per snap of the bundle.
    pub snaps: Vec<PushedSnap>,
    /// Changes in which devices see a snap.
    #[serde(default)]
    pub visibility: Vec<ViewChange>,
    /// Warnings for the operator, such as a base that is still missing.
    pub warnings: Vec<String>,
    /// That it waits for approvals; nothing of it is visible until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
}

/// The changes to one snap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PushedSnap {
    /// Its name.
    pub name: String,
    /// Its permanent id.
    pub snap_id: String,
    /// The store it was pushed for.
    pub store: String,
    /// The revisions of the bundle, ascending.
    pub revisions: Vec<PushedRevision>,
    /// Whether the channel map was written.
    pub channel_map_updated: bool,
    /// The channels that lead to a revision of the bundle, `TRACK/RISK[/BRANCH] ARCH -> REVISION`.
    pub channels: Vec<String>,
    /// Channels that now lead to another revision.
    #[serde(default)]
    pub moves: Vec<ChannelMove>,
    /// Channel changes in the file that were not applied: a lower revision, a closed channel, or a change of
    /// something decided on site. `--push-channel-map` applies them.
    #[serde(default)]
    pub left: Vec<ChannelMove>,
    /// The track of devices that name none, where it is another one from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_track: Option<TrackMove>,
}

/// One revision of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PushedRevision {
    /// The store's number for it.
    pub revision: u32,
    /// Whether it was already held.
    pub already_held: bool,
    /// Components in the bundle, `NAME REVISION`.
    #[serde(default)]
    pub components: Vec<String>,
}

/// The result of pushing a store archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PushedArchive {
    /// One entry per snap of the archive.
    pub snaps: Vec<PushedSnap>,
    /// The stores in its metadata, as they are now.
    pub stores: Vec<Store>,
    /// How many assertions were new or newer.
    pub assertions: usize,
    /// Changes in which devices see a snap.
    #[serde(default)]
    pub visibility: Vec<ViewChange>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// That it waits for approvals; nothing of it is visible until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
}

/// All snaps that were pushed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Snaps {
    /// Sorted by name.
    pub snaps: Vec<Snap>,
}

/// One snap of the store.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Snap {
    /// Its name.
    pub name: String,
    /// Its permanent id.
    pub snap_id: String,
    /// Ids of the stores it was pushed for and of those that grant it; `ubuntu` is the global one.
    pub stores: Vec<String>,
    /// Its revisions, ascending.
    pub revisions: Vec<ListedRevision>,
    /// Channels that were closed here, `TRACK/RISK[/BRANCH]`: no import opens them unless told to.
    #[serde(default)]
    pub closed: Vec<String>,
}

/// One revision of a snap.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ListedRevision {
    /// The store's number for it.
    pub revision: u32,
    /// The publisher's version text.
    pub version: String,
    /// The architectures it runs on.
    pub architectures: Vec<String>,
    /// Bytes.
    pub size: u64,
    /// Channels that lead to it, `TRACK/RISK[/BRANCH]`.
    pub channels: Vec<String>,
}
