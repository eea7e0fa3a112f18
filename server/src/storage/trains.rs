//! Trains, which are facts: how far the sequences of a validation set may reach.

use schema::rollout::{GroupRules, Wave};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What a train is called in facts, before its set, `ACCOUNT/NAME`.
pub(crate) const TRAIN: &str = "train.";

/// How far the sequences of a validation set reach. Both numbers only rise, and waves only open, so that no device is ever
/// answered less than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrainRecord {
    /// The sequence that every device is answered; 0 for none.
    pub(crate) arrived: u32,
    /// The one on its way.
    pub(crate) departed: Option<Departure>,
}

/// A sequence on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departure {
    /// The sequence.
    pub(crate) sequence: u32,
    /// Whom it takes, one after another.
    pub(crate) waves: Vec<Wave>,
    /// The rules of each wave's group, as they were when it departed.
    pub(crate) rules: Vec<Option<GroupRules>>,
    /// When each open wave was opened, in microseconds since 1970.
    pub(crate) opened: Vec<i64>,
    /// Decides with the set which devices come first.
    pub(crate) salt: String,
    /// Who let it depart.
    pub(crate) who: String,
}

impl TrainRecord {
    /// The fact to store.
    pub(crate) fn fact(&self, set: &str) -> (String, String) {
        (format!("{TRAIN}{set}"), json!(self).to_string())
    }
}
