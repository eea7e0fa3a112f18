//! Trains, which are facts: how far the sequences of a validation set may reach.

use schema::api::admin::Gates;
use schema::rollout::GroupRules;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rollouts::Course;

/// What a train is called in facts, before its set, `ACCOUNT/NAME`.
pub(crate) const TRAIN: &str = "train.";

/// How far the sequences of a validation set reach. Both numbers only rise, and no device is answered less than what it says
/// that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrainRecord {
    /// The sequence that every device is answered; 0 for none.
    pub(crate) arrived: u32,
    /// The one on its way.
    pub(crate) departed: Option<Departure>,
    /// The one that departs when an operator says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) planned: Option<Plan>,
    /// The one that arrived last, as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<Departure>,
}

/// How a sequence is to depart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The sequence.
    pub(crate) sequence: u32,
    /// Its waves, with what decides who comes first.
    pub(crate) gates: Gates,
}

/// A sequence on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departure {
    /// The sequence.
    pub(crate) sequence: u32,
    /// The rules of each wave's group, as they were when it departed.
    pub(crate) rules: Vec<Option<GroupRules>>,
    /// The waves in which it departs.
    #[serde(flatten)]
    pub(crate) course: Course,
}

impl TrainRecord {
    /// The fact to store.
    pub(crate) fn fact(&self, set: &str) -> (String, String) {
        (format!("{TRAIN}{set}"), json!(self).to_string())
    }
}
