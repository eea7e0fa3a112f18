//! Why a device gets the revision that it gets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DeviceMiss;
use crate::store::DeviceId;

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Doubt {
    /// The device, `BRAND/MODEL/SERIAL`.
    pub device: DeviceId,
    /// The snap's name or id.
    pub snap: String,
    /// The channel to ask for instead of the one that the device follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The exact revision to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
}

/// The answer that a device would get now, and every step that leads to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The device.
    pub device: DeviceId,
    /// The snap as it was asked for.
    pub snap: String,
    /// What the device gets; nothing if it gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gets: Option<Gets>,
    /// The error code that the device gets instead, such as `revision-not-found`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The answer in one sentence.
    pub answer: String,
    /// How it came about, in order.
    pub steps: Vec<ExplainedStep>,
    /// The device's last request for the snap that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_miss: Option<DeviceMiss>,
}

/// A revision that a device gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Gets {
    /// The revision.
    pub revision: u32,
    /// Its version.
    pub version: String,
    /// The channel it comes from.
    pub channel: String,
    /// The layer that decided: `asked-for`, `validation-set`, `override`, `cohort`, `rollout` or `channel-map`.
    pub layer: String,
    /// Whether the device runs this revision already.
    pub installed: bool,
}

/// One step of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ExplainedStep {
    /// What it is about, such as `session`, `scope`, `channel`, `override` or `epoch`.
    pub subject: String,
    /// What was found, in a full sentence.
    pub says: String,
}
