//! Keys of cohorts: devices that show the same key get what the channels of a snap held at one moment.
//!
//! ```text
//! base64url( text | HMAC-SHA-256 over it, cut to 16 )      text: snap id, seconds since 1970, then CHANNEL ARCHITECTURE REVISION for each release
//! ```
//!
//! A key carries the channel map itself, so it means the same on every server with the secret and on one that is rebuilt
//! from a backup.

use std::fmt::Write as _;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::SessionKey;
use crate::store::{Architecture, Channel, SnapId};

const MAC: usize = 16;

/// A channel map of one snap that is kept for a cohort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cohort {
    /// The snap.
    pub snap_id: SnapId,
    /// When it was taken, in seconds since 1970.
    pub frozen_at: u64,
    /// What was released then, without branches.
    pub releases: Vec<(Channel, Architecture, u32)>,
}

impl Cohort {
    /// How long a map holds, in seconds: the 90 days that snapd's documentation promises.
    pub const LIFE: u64 = 90 * 24 * 60 * 60;
    /// The longest key that is looked at, in bytes.
    const MOST: usize = 64 << 10;

    /// The key: letters, digits, dashes and underscores.
    #[must_use]
    pub fn seal(&self, key: &SessionKey) -> String {
        let mut text = format!("{} {}", self.snap_id, self.frozen_at);
        for (channel, architecture, revision) in &self.releases {
            let _ = write!(text, " {channel} {architecture} {revision}");
        }
        let mut bytes = text.into_bytes();
        let tag = hmac::sign(&key.cohort, &bytes);
        bytes.extend_from_slice(&tag.as_ref()[..MAC]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// When the map is frozen anew that counts at `now`: each 90 days after the key was made. `None` while its own one counts.
    #[must_use]
    pub fn frozen_again(&self, now: u64) -> Option<u64> {
        let periods = now.saturating_sub(self.frozen_at) / Self::LIFE;
        (periods > 0).then(|| self.frozen_at + periods * Self::LIFE)
    }

    /// Opens a key that was sealed by one of `keys`. Another store's key and an altered one mean nothing.
    #[must_use]
    pub fn open<'k>(text: &str, keys: impl IntoIterator<Item = &'k SessionKey>) -> Option<Self> {
        if text.len() > Self::MOST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (claim, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        let ours = |key: &SessionKey| {
            verify_slices_are_equal(&hmac::sign(&key.cohort, claim).as_ref()[..MAC], mac).is_ok()
        };
        if !keys.into_iter().any(ours) {
            return None;
        }
        let mut words = std::str::from_utf8(claim).ok()?.split(' ');
        let snap_id = words.next()?.parse().ok()?;
        let frozen_at: u64 = words.next()?.parse().ok()?;
        let mut releases = Vec::new();
        while let Some(channel) = words.next() {
            let (channel, architecture) = (channel.parse().ok()?, words.next()?.parse().ok()?);
            releases.push((channel, architecture, words.next()?.parse().ok()?));
        }
        Some(Self { snap_id, frozen_at, releases })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cohort() -> Cohort {
        let release = |channel: &str, architecture: &str, revision| {
            (channel.parse().unwrap(), architecture.parse().unwrap(), revision)
        };
        Cohort {
            snap_id: "abcdefghijklmnopqrstuvwxyz012345".parse().unwrap(),
            frozen_at: 1_780_000_000,
            releases: vec![release("latest/stable", "amd64", 7), release("2.0/beta", "all", u32::MAX)],
        }
    }

    #[test]
    fn what_was_sealed_is_opened_and_frozen_anew_each_90_days() {
        let (key, other) = (SessionKey::new(&[1; 32]), SessionKey::new(&[2; 32]));
        for cohort in [cohort(), Cohort { releases: Vec::new(), ..cohort() }] {
            let sealed = cohort.seal(&key);
            assert_eq!(Cohort::open(&sealed, [&other, &key]).as_ref(), Some(&cohort));
            assert_eq!(Cohort::open(&sealed, [&other]), None, "of another store");
            let (begun, life) = (cohort.frozen_at, Cohort::LIFE);
            for now in [0, begun, begun + life - 1] {
                assert_eq!(cohort.frozen_again(now), None, "at {now}");
            }
            for (now, again) in
                [(life, life), (2 * life - 1, life), (2 * life, 2 * life), (9 * life + 5, 9 * life)]
            {
                assert_eq!(cohort.frozen_again(begun + now), Some(begun + again));
            }
        }
    }

    #[test]
    fn no_altered_key_is_opened() {
        let key = SessionKey::new(&[1; 32]);
        let sealed = URL_SAFE_NO_PAD.decode(cohort().seal(&key)).unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(Cohort::open(&URL_SAFE_NO_PAD.encode(altered), [&key]), None, "byte {at}");
        }
        for foreign in ["", "whatever", "MSBmTG93", &"A".repeat(70_000)] {
            assert_eq!(Cohort::open(foreign, [&key]), None, "{foreign:.20}");
        }
    }
}
