//! Channels: `[TRACK/]RISK[/BRANCH]`, and how a request resolves to a channel.
//!
//! ```text
//! edge              latest/edge          a risk alone means the default track
//! 2.1               2.1/stable           a track alone means its stable risk
//! 2.1/edge/fix-7                         a branch of a risk
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Branch, Track};
use crate::nearest::nearest;

/// How much change a device accepts, from the safest to the wildest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// For everybody.
    Stable,
    /// To become stable.
    Candidate,
    /// Features complete, quality not yet proven.
    Beta,
    /// Every change as it comes.
    Edge,
}

impl Risk {
    /// All risks, safest first.
    pub const ALL: [Risk; 4] = [Risk::Stable, Risk::Candidate, Risk::Beta, Risk::Edge];

    /// The risk's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Risk::Stable => "stable",
            Risk::Candidate => "candidate",
            Risk::Beta => "beta",
            Risk::Edge => "edge",
        }
    }

    /// The risk of this name.
    pub(super) fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|risk| risk.as_str() == text)
    }

    /// This risk and then every safer one, nearest first: the order in which a closed risk falls back.
    pub fn and_safer(self) -> impl Iterator<Item = Risk> {
        Self::ALL.into_iter().rev().filter(move |risk| *risk <= self)
    }
}

impl FromStr for Risk {
    type Err = ChannelError;

    fn from_str(text: &str) -> Result<Self, ChannelError> {
        Self::named(text).ok_or_else(|| ChannelError::new(text))
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid channel {0:?}: {hint}", hint = hint(.0))]
pub struct ChannelError(String);

/// A risk that was probably meant, and the form of a channel.
fn hint(text: &str) -> String {
    let risks = Risk::ALL.map(Risk::as_str);
    let meant = text.split('/').filter(|part| !risks.contains(part)).find_map(|part| nearest(part, risks));
    let meant = meant.map(|risk| format!("did you mean {risk}? ")).unwrap_or_default();
    format!("{meant}write [TRACK/]RISK[/BRANCH], with a risk of stable, candidate, beta or edge")
}

impl ChannelError {
    fn new(text: &str) -> Self {
        Self(text.chars().take(80).collect())
    }
}

/// A requested channel; the track may be left to the snap's default.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChannelRequest {
    /// The track, if named.
    pub track: Option<Track>,
    /// The risk; stable if not named.
    pub risk: Risk,
    /// The branch, if named.
    pub branch: Option<Branch>,
}

impl ChannelRequest {
    /// The channel for a snap whose default track is `default`.
    #[must_use]
    pub fn on(&self, default: &Track) -> Channel {
        Channel {
            track: self.track.clone().unwrap_or_else(|| default.clone()),
            risk: self.risk,
            branch: self.branch.clone(),
        }
    }
}

impl Default for ChannelRequest {
    fn default() -> Self {
        Self { track: None, risk: Risk::Stable, branch: None }
    }
}

impl FromStr for ChannelRequest {
    type Err = ChannelError;

    fn from_str(text: &str) -> Result<Self, ChannelError> {
        let bad = || ChannelError::new(text);
        let track = |part: &str| part.parse().map(Some).map_err(|_| bad());
        let branch = |part: &str| part.parse().map(Some).map_err(|_| bad());
        let mut parts = text.split('/');
        let (track, risk, branch) = match [parts.next(), parts.next(), parts.next(), parts.next()] {
            [Some(one), None, ..] => match Risk::named(one) {
                Some(risk) => (None, risk, None),
                None => (track(one)?, Risk::Stable, None),
            },
            [Some(first), Some(second), None, _] => match (Risk::named(first), Risk::named(second)) {
                (Some(risk), _) => (None, risk, branch(second)?),
                (None, Some(risk)) => (track(first)?, risk, None),
                (None, None) => return Err(bad()),
            },
            [Some(first), Some(second), Some(third), None] => {
                (track(first)?, Risk::named(second).ok_or_else(bad)?, branch(third)?)
            }
            _ => return Err(bad()),
        };
        Ok(Self { track, risk, branch })
    }
}

/// A channel with an explicit track.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Channel {
    /// The track.
    pub track: Track,
    /// The risk.
    pub risk: Risk,
    /// The branch, if any.
    pub branch: Option<Branch>,
}

impl Channel {
    /// The short name that the store's channel map uses: `stable` on the latest track, `3/edge` elsewhere.
    #[must_use]
    pub fn short_name(&self) -> String {
        let mut name = String::new();
        self.push_short_name(&mut name);
        name
    }

    /// Appends [`Channel::short_name`].
    pub fn push_short_name(&self, to: &mut String) {
        if self.track.as_str() != "latest" {
            to.push_str(&self.track);
            to.push('/');
        }
        to.push_str(self.risk.as_str());
        if let Some(branch) = &self.branch {
            to.push('/');
            to.push_str(branch);
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.track, self.risk)?;
        match &self.branch {
            Some(branch) => write!(f, "/{branch}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Channel {
    type Err = ChannelError;

    /// Reads a channel as an operator writes it: without a track it is on `latest`.
    fn from_str(text: &str) -> Result<Self, ChannelError> {
        Ok(text.parse::<ChannelRequest>()?.on(&Track::latest()))
    }
}

impl TryFrom<String> for Channel {
    type Error = ChannelError;

    fn try_from(text: String) -> Result<Self, ChannelError> {
        text.parse()
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> String {
        channel.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_devices_write_them() {
        let full = |text: &str| text.parse::<Channel>().map(|channel| channel.to_string());
        for (text, wanted) in [
            ("edge", "latest/edge"),
            ("latest/edge", "latest/edge"),
            ("2.1", "2.1/stable"),
            ("2.1/beta", "2.1/beta"),
            ("stable/fix-7", "latest/stable/fix-7"),
            ("2.1/stable/fix-7", "2.1/stable/fix-7"),
        ] {
            assert_eq!(full(text).as_deref(), Ok(wanted), "{text}");
        }
        for bad in ["", "/", "a/b", "a/b/c", "1/stable/x/y", "stable/edge", "edge/", "../stable", "a b"] {
            assert!(full(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_track_left_out_is_the_default_one() {
        let wish: ChannelRequest = "edge".parse().expect("a channel");
        assert_eq!(wish.on(&"3".parse().expect("a track")).to_string(), "3/edge");
    }

    #[test]
    fn a_closed_risk_falls_back_to_the_next_safer_one() {
        let order: Vec<_> = Risk::Edge.and_safer().collect();
        assert_eq!(order, [Risk::Edge, Risk::Beta, Risk::Candidate, Risk::Stable]);
        assert_eq!(Risk::Stable.and_safer().collect::<Vec<_>>(), [Risk::Stable]);
    }

    #[test]
    fn short_names() {
        let short = |text: &str| text.parse::<Channel>().expect("a channel").short_name();
        assert_eq!(short("latest/stable"), "stable");
        assert_eq!(short("3/edge"), "3/edge");
        assert_eq!(short("latest/edge/fix"), "edge/fix");
        assert_eq!(short("3/edge/fix"), "3/edge/fix");
    }
}
