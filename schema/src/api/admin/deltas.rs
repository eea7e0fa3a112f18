//! Deltas for devices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::DeltaFormat;

/// The deltas of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Deltas {
    /// Bytes that deltas may take; 0 where none are made.
    pub budget: u64,
    /// Bytes that those of all snaps take.
    pub used: u64,
    /// Those that are there or would be of use, most wanted first.
    pub deltas: Vec<DeltaStatus>,
}

/// How the delta from one revision to another stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeltaStatus {
    /// The snap's name.
    pub snap: String,
    /// The snap's id.
    pub snap_id: String,
    /// The revision that a device has.
    pub source: u32,
    /// The revision that it gets.
    pub target: u32,
    /// The format, as devices name it.
    pub format: DeltaFormat,
    /// Whether it is there.
    pub state: DeltaState,
    /// Bytes, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Bytes of the whole target.
    pub full_size: u64,
    /// Why it is not there, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Whether a delta is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeltaState {
    /// It is there and is offered.
    Made,
    /// It will be made.
    Waiting,
    /// It would be larger than `proxy.deltas.keep-ratio` allows.
    TooLarge,
    /// It could not be made.
    Failed,
    /// An operator dropped it.
    Dropped,
}

/// Has deltas made, or drops them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeltaRequest {
    /// The snap's name, or its id.
    pub snap: String,
    /// The revision that a device has, and the one that it gets. Without these, all of the snap's deltas are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revisions: Option<(u32, u32)>,
    /// Are they to be dropped?
    #[serde(default)]
    pub drop: bool,
}
