//! The vocabulary of rollouts: which devices a group means, shares of a fleet, and waves.
//!
//! Whether a device is in a wave follows from these texts and its identity alone, so that every server answers the same,
//! before and after a restart or a restore.

mod windows;

pub use windows::{Window, WindowError, Windows};

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Sha3_384;
use crate::store::{DeviceId, GLOBAL_STORE};

/// The longest name of a group, a tag or a rollout.
const LONGEST: usize = 64;

/// The rules of a group. A device is a member if it fits every rule that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct GroupRules {
    /// The brand's account id; `*` stands for any text and `?` for any character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// The model, as a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The serial, as a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The store that the model names; `ubuntu` is the global one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// A tag that operators gave the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// A list, of which the device has to be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<BTreeSet<DeviceId>>,
}

impl GroupRules {
    /// Whether there is any rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a device is a member: the only place that decides it. `store` is that of its model, `tags` are those that
    /// operators gave it.
    #[must_use]
    pub fn take(&self, device: &DeviceId, store: Option<&str>, tags: Option<&BTreeSet<String>>) -> bool {
        let fits = |rule: &Option<String>, text: &str| rule.as_deref().is_none_or(|rule| matches(rule, text));
        fits(&self.brand, &device.brand)
            && fits(&self.model, &device.model)
            && fits(&self.serial, &device.serial)
            && self.store.as_deref().is_none_or(|rule| rule == store.unwrap_or(GLOBAL_STORE))
            && self.tag.as_ref().is_none_or(|tag| tags.is_some_and(|tags| tags.contains(tag)))
            && self.devices.as_ref().is_none_or(|devices| devices.contains(device))
    }
}

/// `model gateway, serial 7*`
impl fmt::Display for GroupRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [
            ("brand", &self.brand),
            ("model", &self.model),
            ("serial", &self.serial),
            ("store", &self.store),
            ("tag", &self.tag),
        ];
        let texts = texts.into_iter().filter_map(|(rule, text)| Some(format!("{rule} {}", text.as_ref()?)));
        let listed = self.devices.iter().map(|devices| format!("{} listed devices", devices.len()));
        f.write_str(&texts.chain(listed).collect::<Vec<_>>().join(", "))
    }
}

/// Whether a text fits a pattern, in which `*` stands for any text and `?` for any character.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on if what follows the last star does not fit.
    let mut again: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let before = text.clone();
        match (pattern.next(), text.next()) {
            (Some('*'), _) => {
                again = Some((pattern.clone(), before.clone()));
                text = before;
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            (None, None) => return true,
            _ => {
                let Some((rest, from)) = &mut again else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, text) = (rest.clone(), from.clone());
            }
        }
    }
}

/// Whether a text is fit to name a group, a tag or a rollout: 1 to 64 letters, digits, dots, dashes and underscores, a
/// letter first.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.len() <= LONGEST
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}

/// A share of devices, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Share(u32);

/// A text that is no share or no wave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolloutTextError {
    /// No share.
    #[error("cannot read {0:?} as a share: write a percentage from 0% to 100%, such as 10% or 2.5%")]
    Share(String),
    /// No wave.
    #[error("cannot read {0:?} as a wave: write 10%, group=NAME, or group=NAME:10%")]
    Wave(String),
}

impl Share {
    /// Everything.
    pub const ALL: Share = Share(10_000);

    /// Some hundredths.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        Self(percent as u32 * 100)
    }

    /// Whether `part` of `whole` is more than this share.
    #[must_use]
    pub fn is_exceeded_by(self, part: usize, whole: usize) -> bool {
        part as u128 * 10_000 > u128::from(self.0) * whole as u128
    }

    /// Whether a device at this place of a rollout is in the share. Whoever is in a share is in every larger one.
    #[must_use]
    pub fn takes(self, place: u64) -> bool {
        (u128::from(place) * 10_000) >> 64 < u128::from(self.0)
    }
}

/// `2.5%`
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        match part {
            0 => write!(f, "{whole}%"),
            part if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            part => write!(f, "{whole}.{part:02}%"),
        }
    }
}

impl FromStr for Share {
    type Err = RolloutTextError;

    fn from_str(text: &str) -> Result<Self, RolloutTextError> {
        let bad = || RolloutTextError::Share(text.chars().take(40).collect());
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.strip_suffix('%').ok_or_else(bad)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        if !digits(whole) || !digits(part) || whole.len() > 3 || part.len() > 2 {
            return Err(bad());
        }
        let read = |text: &str| text.parse::<u32>().map_err(|_| bad());
        let hundredths = if part.len() == 1 { read(part)? * 10 } else { read(part)? };
        Some(Share(read(whole)? * 100 + hundredths)).filter(|share| *share <= Share::ALL).ok_or_else(bad)
    }
}

impl TryFrom<String> for Share {
    type Error = RolloutTextError;

    fn try_from(text: String) -> Result<Self, RolloutTextError> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> String {
        share.to_string()
    }
}

/// The devices that a rollout takes at once: a share of all, or of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Wave {
    /// Only members of this group.
    pub group: Option<String>,
    /// How many of them.
    pub share: Share,
}

impl Wave {
    /// Whether it takes everybody, known or not.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        self.group.is_none() && self.share == Share::ALL
    }
}

/// `10%`, `group=lab`, `group=lab:10%`
impl fmt::Display for Wave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            None => self.share.fmt(f),
            Some(group) if self.share == Share::ALL => write!(f, "group={group}"),
            Some(group) => write!(f, "group={group}:{}", self.share),
        }
    }
}

impl FromStr for Wave {
    type Err = RolloutTextError;

    fn from_str(text: &str) -> Result<Self, RolloutTextError> {
        let bad = || RolloutTextError::Wave(text.chars().take(80).collect());
        let (group, share) = match text.strip_prefix("group=") {
            None => (None, text),
            Some(named) => {
                let (group, share) = named.split_once(':').unwrap_or((named, "100%"));
                (Some(Some(group.to_owned()).filter(|group| is_name(group)).ok_or_else(bad)?), share)
            }
        };
        let share = share.parse().map_err(|_| bad())?;
        // A wave of nobody proves nothing.
        Some(Self { group, share }).filter(|wave| wave.share != Share(0)).ok_or_else(bad)
    }
}

impl TryFrom<String> for Wave {
    type Error = RolloutTextError;

    fn try_from(text: String) -> Result<Self, RolloutTextError> {
        text.parse()
    }
}

impl From<Wave> for String {
    fn from(wave: Wave) -> String {
        wave.to_string()
    }
}

/// A device's place in a rollout. Places are spread evenly, and differently for each rollout, so that not the same devices
/// are always the first. Nobody who does not know the salt can tell a place.
#[must_use]
pub fn place(rollout: &str, salt: &str, device: &DeviceId) -> u64 {
    let DeviceId { brand, model, serial } = device;
    // No part contains a zero byte or, but for the serial, a slash.
    let parts = ["airlock rollout 1", rollout, salt, brand, model, serial];
    let digest = Sha3_384::of_parts(parts.map(str::as_bytes));
    let mut start = [0; 8];
    start.copy_from_slice(&digest.0[..8]);
    u64::from_be_bytes(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(serial: impl fmt::Display) -> DeviceId {
        format!("acme/gateway/{serial}").parse().unwrap()
    }

    #[test]
    fn patterns_fit_as_written() {
        for (pattern, fits, fails) in [
            ("7*", &["7", "70", "7*"][..], &["", "17", "a7"][..]),
            ("*7", &["7", "17", "a77"], &["70", ""]),
            ("FG2-?7*-b", &["FG2-07-b", "FG2-a7x-b", "FG2-77-c-b"], &["FG2-7-b", "FG2-07-c", "fg2-07-b"]),
            ("a*b*c", &["abc", "a-b-b-c-c"], &["acb", "abcd", "ab"]),
            ("**", &["", "any"], &[]),
            ("", &[""], &["a"]),
            ("?", &["ü"], &["", "ab"]),
        ] {
            fits.iter().for_each(|text| assert!(matches(pattern, text), "{pattern} {text}"));
            fails.iter().for_each(|text| assert!(!matches(pattern, text), "{pattern} {text}"));
        }
    }

    #[test]
    fn a_member_fits_every_rule() {
        let text = |text: &str| Some(text.to_owned());
        let (lab, tags) = (device(7), BTreeSet::from(["lab".to_owned()]));
        let all = GroupRules {
            brand: text("acme"),
            model: text("gate*"),
            serial: text("7"),
            store: text("AcmeStore"),
            tag: text("lab"),
            devices: Some(BTreeSet::from([lab.clone()])),
        };
        assert!(all.take(&lab, Some("AcmeStore"), Some(&tags)));
        for broken in [
            GroupRules { brand: text("other"), ..all.clone() },
            GroupRules { model: text("gate"), ..all.clone() },
            GroupRules { serial: text("8"), ..all.clone() },
            GroupRules { store: text("ubuntu"), ..all.clone() },
            GroupRules { tag: text("la"), ..all.clone() },
            GroupRules { devices: Some(BTreeSet::new()), ..all.clone() },
        ] {
            assert!(!broken.take(&lab, Some("AcmeStore"), Some(&tags)), "{broken}");
        }
        assert!(!all.take(&lab, None, Some(&tags)) && !all.take(&lab, Some("AcmeStore"), None));
        let global = GroupRules { store: text("ubuntu"), ..GroupRules::default() };
        assert!(global.take(&lab, None, None) && GroupRules::default().is_empty() && !global.is_empty());
        assert_eq!(
            all.to_string(),
            "brand acme, model gate*, serial 7, store AcmeStore, tag lab, 1 listed devices"
        );
    }

    #[test]
    fn texts_are_read_as_they_are_written() {
        for text in ["10%", "2.5%", "0.01%", "100%", "group=lab", "group=lab-2:33.33%"] {
            assert_eq!(text.parse::<Wave>().unwrap().to_string(), text);
        }
        assert_eq!("05.50%".parse::<Share>().unwrap().to_string(), "5.5%");
        for text in [
            "",
            "10",
            "%",
            "101%",
            "100.01%",
            "-1%",
            "1.234%",
            "1.%",
            ".5%",
            "0%",
            "group=",
            "group=lab:",
            "group=l b",
            "lab",
        ] {
            assert!(text.parse::<Wave>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_a_share_and_larger_ones_contain_it() {
        let shares = ["1%", "10%", "50%", "100%"].map(|text| text.parse::<Share>().unwrap());
        let mut taken = [0; 4];
        for serial in 0..10_000 {
            let place = place("spring", "salt", &device(serial));
            let of: Vec<bool> = shares.iter().map(|share| share.takes(place)).collect();
            assert!(of.is_sorted(), "{serial}: {of:?}");
            taken.iter_mut().zip(of).for_each(|(count, taken)| *count += usize::from(taken));
        }
        assert!((60..140).contains(&taken[0]) && (850..1150).contains(&taken[1]), "{taken:?}");
        assert!((4700..5300).contains(&taken[2]) && taken[3] == 10_000, "{taken:?}");
        assert!(Share::ALL.takes(u64::MAX) && Share::ALL.takes(0));
    }

    #[test]
    fn a_place_is_the_same_everywhere_and_another_in_each_rollout() {
        // Servers of any version must agree: these numbers never change.
        assert_eq!(place("spring", "salt", &device(1)), PLACE);
        let others = [
            place("summer", "salt", &device(1)),
            place("spring", "pepper", &device(1)),
            place("spring", "salt", &device(2)),
            place("spring", "salt", &DeviceId { model: "gatewa".into(), serial: "y1".into(), ..device(1) }),
        ];
        assert!(!others.contains(&PLACE), "{others:?}");
    }

    const PLACE: u64 = 8_624_178_901_757_843_935;

    #[test]
    fn a_share_is_exceeded_by_more_than_it() {
        let share: Share = "2%".parse().unwrap();
        assert!(!share.is_exceeded_by(2, 100) && share.is_exceeded_by(3, 100) && share.is_exceeded_by(1, 10));
        assert!(!share.is_exceeded_by(0, 0) && !Share::ALL.is_exceeded_by(5, 5));
        assert!("0%".parse::<Share>().unwrap().is_exceeded_by(1, 1_000_000));
    }
}
