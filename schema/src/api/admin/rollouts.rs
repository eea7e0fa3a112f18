//! Rollouts: a revision that reaches a channel's devices in waves, and stops by itself.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AuditEntry;
use crate::rollout::{Share, Wave, Window};
use crate::store::DeviceId;

/// A rollout to plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutRequest {
    /// Its name.
    pub name: String,
    /// The snap's name or id.
    pub snap: String,
    /// The revision to roll out.
    pub revision: u32,
    /// The channel whose devices get it; stable on the default track if none is named.
    #[serde(default)]
    pub channel: Option<String>,
    /// The waves in which it reaches them.
    #[serde(flatten)]
    pub gates: Gates,
}

/// Waves, and what has to hold before the next one opens: the same for rollouts and trains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Gates {
    /// The waves, in their order.
    pub waves: Vec<Wave>,
    /// Seconds between the last device that is done and the next wave.
    pub soak: u64,
    /// The share of a wave's devices that may fail.
    pub max_failed: Share,
    /// The share of a wave's devices that may fall silent.
    pub max_silent: Share,
    /// When devices are offered what is new; always if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// The time zone of the windows; UTC if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// How many people have to approve the start, each further wave and the end, beside whoever asks for it.
    #[serde(default, skip_serializing_if = "is_none")]
    pub approvals: u32,
    /// Decides with the name which devices come first; random if there is none. An exported plan has it, so that its waves
    /// take the same devices everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
}

impl Gates {
    /// Waves with the gates of operators who name none: a day of watching, 2 % failed, 5 % silent.
    #[must_use]
    pub fn usual(waves: Vec<Wave>) -> Self {
        Self {
            waves,
            soak: 24 * 3600,
            max_failed: Share::percent(2),
            max_silent: Share::percent(5),
            windows: Vec::new(),
            zone: None,
            approvals: 0,
            salt: None,
        }
    }
}

fn is_none(approvals: &u32) -> bool {
    *approvals == 0
}

/// A plan that travels, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutExport {
    /// What was planned: `proxy rollout import` plans it at another store.
    pub plan: RolloutRequest,
    /// How far it is here.
    pub outcome: Rollout,
    /// What the audit log says of it here, oldest first: each event with the digest that ties it to those before it.
    #[serde(default)]
    pub audit: Vec<AuditEntry>,
}

/// How a rollout would go if devices came and took the revision as usual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutForecast {
    /// Its name.
    pub name: String,
    /// From when on it is told, RFC 3339.
    pub from: String,
    /// The waves, in their order.
    pub waves: Vec<ForecastWave>,
    /// When nothing happens any more, RFC 3339.
    pub ends: String,
    /// How it stands then.
    pub state: RolloutState,
    /// Why it goes no further.
    pub why: Option<String>,
}

/// How a wave would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ForecastWave {
    /// Whom it takes.
    pub wave: Wave,
    /// Devices that were seen, run the snap and follow the channel.
    pub devices: usize,
    /// When it opens, RFC 3339; `None` if it does not.
    pub opens: Option<String>,
    /// When half of its devices are done.
    pub half_done: Option<String>,
    /// When the last of its devices is done.
    pub all_done: Option<String>,
    /// Devices that are done in the end.
    pub done: usize,
    /// Devices that are late already, and are silent in the end.
    pub silent: usize,
    /// Devices that are silent before it opens, and do not count.
    pub absent: usize,
}

/// How far a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// Not begun: no device is offered anything.
    Planned,
    /// Devices of open waves are offered the revision.
    Running,
    /// Nobody new is offered the revision; devices of open waves that have it keep it.
    Paused,
    /// The revision is released in the channel.
    Finished,
    /// Given up: the channel's own revision counts again.
    Back,
}

impl RolloutState {
    /// Whether it decides what devices get.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Whether it has come to its end.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Back)
    }
}

impl fmt::Display for RolloutState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planned => "planned",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Finished => "finished",
            Self::Back => "back",
        })
    }
}

/// What to do with a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutAction {
    /// Open the first wave.
    Start,
    /// Offer the revision to nobody new.
    Pause,
    /// Go on; devices that had failed or fallen silent by then no longer count.
    Resume,
    /// Open the next wave now, or finish.
    Next,
    /// Give it up.
    Back,
}

/// A step of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutStep {
    /// The rollout's name.
    pub name: String,
    /// What to do.
    pub action: RolloutAction,
    /// How it stood when the operator looked at it, as its `standing` tells; the step is refused if it has moved on since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<String>,
}

/// A rollout and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Rollout {
    /// Its name.
    pub name: String,
    /// The snap's name, or its id if the snap is gone.
    pub snap: String,
    /// The channel.
    pub channel: String,
    /// The revision that is rolled out.
    pub revision: u32,
    /// How far it is.
    pub state: RolloutState,
    /// Why it is paused, or what it waits for.
    pub why: Option<String>,
    /// The devices because of which it stopped, the first hundred.
    pub stopped_by: Vec<DeviceId>,
    /// Seconds between the last device that has the revision and the next wave.
    pub soak: u64,
    /// The share of a wave's devices that may fail.
    pub max_failed: Share,
    /// The share of a wave's devices that may fall silent.
    pub max_silent: Share,
    /// How many people have to approve the start, each further wave and the release.
    pub approvals: u32,
    /// When devices are offered the revision, in the time of which zone; always if there is none.
    pub windows: Option<String>,
    /// When the next window begins, RFC 3339; `None` inside a window and without windows.
    pub next_window: Option<String>,
    /// Its waves.
    pub waves: Vec<RolloutWave>,
    /// Who planned it.
    pub who: String,
    /// Changes with each step, whoever takes it: a step that repeats it is refused once it has changed.
    #[serde(default)]
    pub standing: String,
}

/// A wave and its devices. A device counts in the first wave that takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutWave {
    /// Whom it takes.
    pub wave: Wave,
    /// When it was opened, RFC 3339.
    pub opened: Option<String>,
    /// Devices that were seen, run the snap and follow the channel.
    pub devices: usize,
    /// They have the revision.
    pub done: usize,
    /// They were offered it, and hold their updates.
    pub held: usize,
    /// They had it and went back, or were offered it at three visits and never took it.
    pub failed: usize,
    /// They did not come for three times their usual interval.
    pub silent: usize,
    /// They have not settled yet.
    pub waiting: usize,
    /// They were silent before the wave opened, and do not count.
    pub absent: usize,
    /// They had failed or fallen silent before an operator resumed, and no longer count.
    pub excused: usize,
}

/// All rollouts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rollouts {
    /// By name.
    pub rollouts: Vec<Rollout>,
}

/// What rollouts decide about a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutReasons {
    /// One entry for each rollout that is not over.
    pub rollouts: Vec<RolloutReason>,
}

/// What one rollout decides about a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutReason {
    /// The rollout.
    pub rollout: String,
    /// The snap.
    pub snap: String,
    /// The number of the first wave that takes the device, counted from 1; `None` for a device in no wave.
    pub wave: Option<usize>,
    /// Whether that wave is open.
    pub open: bool,
    /// The device's place in the rollout, as a percentage.
    pub place: String,
    /// How the device is doing, such as `done`; `None` if the rollout does not concern it.
    pub outcome: Option<String>,
    /// The decision in a sentence.
    pub says: String,
}
