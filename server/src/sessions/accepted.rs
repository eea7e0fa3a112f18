//! Keys whose signatures count: the one in force, and those that were rotated out and are accepted for a while.

use schema::config::{RotatedSecret, Settings};

use crate::clock;

/// A key whose signatures count.
#[derive(Debug, Clone)]
pub(crate) struct AcceptedKey<K> {
    /// The key.
    pub(crate) key: K,
    /// Seconds since 1970 from which it is not accepted any more; none while it is in force.
    pub(crate) until: Option<u64>,
}

impl<K: Clone> AcceptedKey<K> {
    /// The key in force, then those that were rotated out, also those whose time is over; none without the first.
    pub(crate) fn all(settings: &Settings, which: RotatedSecret, derive: fn(&[u8; 32]) -> K) -> Vec<Self> {
        let Some(secret) = settings.key32(which.key()) else { return Vec::new() };
        let in_force = Self { key: derive(&secret), until: None };
        let old = settings.old_secrets(which).into_iter().map(|old| Self {
            key: derive(&old.secret),
            until: Some(u64::try_from(old.until.unix_timestamp()).unwrap_or_default()),
        });
        std::iter::once(in_force).chain(old).collect()
    }

    /// Does it count at `now` (seconds since 1970)?
    pub(crate) fn is_good(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Those that count at this moment.
    pub(super) fn good(keys: &[Self]) -> Vec<Self> {
        let now = clock::seconds();
        keys.iter().filter(|key| key.is_good(now)).cloned().collect()
    }
}
