//! Formats of deltas between two revisions of a snap.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a delta is written, by the name that devices give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum DeltaFormat {
    /// VCDIFF between the two files, which every snapd with xdelta3 applies.
    #[serde(rename = "xdelta3")]
    Plain,
    /// VCDIFF between what squashfs-tools say that the files contain. Devices pack the new file again (snapd 2.75, and only where
    /// `experimental.snap-delta-format` is set).
    #[serde(rename = "snap-1-1-xdelta3")]
    Contents,
}

/// The text names no format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no format of deltas: xdelta3 or snap-1-1-xdelta3")]
pub struct DeltaFormatError;

impl DeltaFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Contents];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "xdelta3",
            Self::Contents => "snap-1-1-xdelta3",
        }
    }
}

impl FromStr for DeltaFormat {
    type Err = DeltaFormatError;

    fn from_str(text: &str) -> Result<Self, DeltaFormatError> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or(DeltaFormatError)
    }
}
