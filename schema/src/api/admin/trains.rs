//! Trains: validation sets that reach devices in waves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AuditEntry, Gates, RolloutState, RolloutWave};
use crate::rollout::Share;
use crate::store::DeviceId;

/// A step of a train.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrainStep {
    /// The validation set, `ACCOUNT/NAME`.
    pub set: String,
    /// What to do.
    pub action: TrainAction,
    /// The sequence that departs; the planned one if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u32>,
    /// The waves in which it departs; those of its plan if there is one, or of the sequence on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<Gates>,
    /// How it stood when the operator looked at it, as its `standing` tells; the step is refused if it has moved on since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<String>,
}

/// What to do with a train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TrainAction {
    /// Keep sequences that are not here yet from devices until they depart.
    Hold,
    /// Keep the plan of a departure, in the place of an earlier one.
    Plan,
    /// Let a sequence depart: its first wave opens.
    Depart,
    /// Open the next wave; after the last one, every device is answered the sequence.
    Next,
    /// Answer the sequence to nobody new.
    Pause,
    /// Go on; devices that had failed or fallen silent by then no longer count.
    Resume,
}

/// A train.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Train {
    /// The validation set, `ACCOUNT/NAME`.
    pub set: String,
    /// The sequence that every device is answered; 0 for none.
    pub arrived: u32,
    /// The sequence on its way.
    pub departed: Option<u32>,
    /// How that one is doing.
    pub journey: Option<TrainJourney>,
    /// The departure that is planned.
    #[serde(default)]
    pub planned: Option<TrainPlan>,
    /// The sequences that are held here.
    pub held: Vec<u32>,
    /// How many devices that were seen are on which sequence.
    pub devices: Vec<TrainCount>,
    /// Changes with each step, whoever takes it: a step that repeats it is refused once it has changed.
    #[serde(default)]
    pub standing: String,
}

/// How a sequence departs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrainPlan {
    /// The validation set, `ACCOUNT/NAME`.
    pub set: String,
    /// The sequence.
    pub sequence: u32,
    /// The waves in which it departs.
    #[serde(flatten)]
    pub gates: Gates,
}

/// A plan that travels, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrainExport {
    /// What was planned: `proxy train import` plans it at another store.
    pub plan: TrainPlan,
    /// How far it is here, with the waves of the sequence on its way, or of the one that arrived last.
    pub outcome: Train,
    /// What the audit log says of it here, oldest first: each event with the digest that ties it to those before it.
    #[serde(default)]
    pub audit: Vec<AuditEntry>,
}

/// A sequence on its way, and how its waves are doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrainJourney {
    /// How far it is.
    pub state: RolloutState,
    /// Why it is paused, or what it waits for.
    pub why: Option<String>,
    /// The devices because of which it stopped, the first hundred.
    pub stopped_by: Vec<DeviceId>,
    /// Seconds between the last device that is on the sequence and the next wave.
    pub soak: u64,
    /// The share of a wave's devices that may fail.
    pub max_failed: Share,
    /// The share of a wave's devices that may fall silent.
    pub max_silent: Share,
    /// How many people have to approve the departure, each further wave and the arrival.
    pub approvals: u32,
    /// When devices are answered the sequence, in the time of which zone; always if there is none.
    pub windows: Option<String>,
    /// When the next window begins, RFC 3339; `None` inside a window and without windows.
    pub next_window: Option<String>,
    /// Its waves. Devices count that were seen and follow the set.
    pub waves: Vec<RolloutWave>,
    /// Who let it depart.
    pub who: String,
}

/// How many devices are on a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrainCount {
    /// The sequence.
    pub sequence: u32,
    /// How many devices.
    pub devices: usize,
}

/// All trains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trains {
    /// By set.
    pub trains: Vec<Train>,
}

/// What a sequence brings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrainDiff {
    /// How it differs from the other one.
    pub changes: Vec<String>,
    /// Why devices would not take it.
    pub problems: Vec<String>,
}

/// A sequence to draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrainDraftRequest {
    /// The validation set, `ACCOUNT/NAME`.
    pub set: String,
    /// The channel whose revisions it names; `stable` if none is named.
    #[serde(default)]
    pub channel: Option<String>,
    /// The snaps to name; those of the newest sequence if none is.
    #[serde(default)]
    pub snaps: Vec<String>,
    /// Name what this older sequence names instead.
    #[serde(default)]
    pub back_to: Option<u32>,
}

/// A sequence to draft, sign and keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrainSignRequest {
    /// What it names.
    pub draft: TrainDraftRequest,
    /// The key that signs; needed if several of the account sign validation sets.
    #[serde(default)]
    pub key: Option<String>,
}

/// Back to what an earlier sequence names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrainBackRequest {
    /// The validation set, `ACCOUNT/NAME`.
    pub set: String,
    /// The earlier sequence; the one that every device gets if none is named.
    #[serde(default)]
    pub to: Option<u32>,
    /// The key that signs; needed if several of the account sign validation sets.
    #[serde(default)]
    pub key: Option<String>,
    /// How it stood when the operator looked at it, as its `standing` tells; the step is refused if it has moved on since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<String>,
}

/// A sequence that was signed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrainSigned {
    /// The validation set, `ACCOUNT/NAME`.
    pub set: String,
    /// Its sequence.
    pub sequence: u32,
    /// The key that signed it.
    pub key: String,
    /// How it differs from the sequence before.
    pub changes: Vec<String>,
}

/// A sequence that nobody has signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrainDraft {
    /// The headers of the assertion, as `snap sign` reads them.
    pub headers: serde_json::Value,
    /// How it differs from the newest sequence.
    pub changes: Vec<String>,
}
