//! What was counted over time, in steps of an hour or a day.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a step of the counters is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MeasureStep {
    /// An hour; 336 are kept, which are 14 days.
    #[default]
    Hour,
    /// A day; 400 are kept.
    Day,
}

impl MeasureStep {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    /// Its name in requests and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// How long it is, in microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        match self {
            Self::Hour => 3_600_000_000,
            Self::Day => 86_400_000_000,
        }
    }

    /// How many of them are kept.
    #[must_use]
    pub const fn kept(self) -> u32 {
        match self {
            Self::Hour => 14 * 24,
            Self::Day => 400,
        }
    }

    /// The first microsecond of the step that a moment lies in.
    #[must_use]
    pub const fn begin(self, at_micros: i64) -> i64 {
        at_micros - at_micros.rem_euclid(self.micros())
    }
}

/// What was counted over time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Measures {
    /// The metric, named as for a monitoring system; `airlock_revision_devices` is one for each snap and is shown here alone.
    pub metric: String,
    /// How long a step is.
    pub step: MeasureStep,
    /// When each step begins, RFC 3339, oldest first; the last one is under way.
    pub at: Vec<String>,
    /// The counts, by label.
    pub series: Vec<MeasureSeries>,
}

/// What was counted under one label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct MeasureSeries {
    /// The label's value, such as the outcome of a session; empty for a metric without labels.
    pub label: String,
    /// The count of each step; none where nothing was counted.
    pub values: Vec<Option<u64>>,
}
