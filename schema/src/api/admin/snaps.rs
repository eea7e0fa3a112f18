//! Snaps: what a push did, and what is held.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ChannelMove, Store, TrackMove, ViewChange};

/// What a pushed bundle changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PushedSnaps {
    /// One entry per snap of the bundle.
    pub snaps: Vec<PushedSnap>,
    /// Who sees a snap from now on, or no longer.
    #[serde(default)]
    pub visibility: Vec<ViewChange>,
    /// What the operator should know, such as a base that is not there yet.
    pub warnings: Vec<String>,
}

/// What changed of one snap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PushedSnap {
    /// Its name.
    pub name: String,
    /// Its permanent id.
    pub snap_id: String,
    /// The store it was pushed for.
    pub store: String,
    /// The revisions of the bundle, in rising order.
    pub revisions: Vec<PushedRevision>,
    /// Was the channel map written?
    pub channel_map_updated: bool,
    /// The channels that lead to a revision of the bundle, `TRACK/RISK[/BRANCH] ARCH -> REVISION`.
    pub channels: Vec<String>,
    /// What channels lead to from now on, where that is something else than before.
    #[serde(default)]
    pub moves: Vec<ChannelMove>,
    /// What the file says of channels and is left undone: going back, closing, or taking back what was decided on site.
    /// `--push-channel-map` does it.
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
    /// Was it there before?
    pub already_held: bool,
    /// Components that came with it, `NAME REVISION`.
    #[serde(default)]
    pub components: Vec<String>,
}

/// What a pushed store archive changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PushedArchive {
    /// One entry per snap of the archive.
    pub snaps: Vec<PushedSnap>,
    /// The stores of its metadata, as they are after it.
    pub stores: Vec<Store>,
    /// How many assertions were new or newer.
    pub assertions: usize,
    /// Who sees a snap from now on, or no longer.
    #[serde(default)]
    pub visibility: Vec<ViewChange>,
    /// What the operator should know.
    pub warnings: Vec<String>,
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
    /// Ids of the stores it was pushed for and those that grant it; `ubuntu` is the global one.
    pub stores: Vec<String>,
    /// Its revisions, rising.
    pub revisions: Vec<Revision>,
    /// Channels that were closed here, `TRACK/RISK[/BRANCH]`: no import opens them unless told to.
    #[serde(default)]
    pub closed: Vec<String>,
}

/// One revision of a snap.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Revision {
    /// The store's number for it.
    pub revision: u32,
    /// The publisher's version text.
    pub version: String,
    /// Where it runs.
    pub architectures: Vec<String>,
    /// Bytes.
    pub size: u64,
    /// Channels that lead to it, `TRACK/RISK[/BRANCH]`.
    pub channels: Vec<String>,
}
