//! Accepted signing keys: the current one, and rotated ones that are still accepted for a while.

use schema::config::{RotatedSecret, Settings};

use crate::clock;

/// An accepted signing key.
#[derive(Debug, Clone)]
pub(crate) struct AcceptedKey<K> {
    /// The key.
    pub(crate) key: K,
    /// When it stops being accepted, in seconds since 1970; `None` for the current key.
    pub(crate) until: Option<u64>,
}

impl<K: Clone> AcceptedKey<K> {
    /// The current key, then the rotated ones, including expired ones; empty without a current key.
    pub(crate) fn all(settings: &Settings, which: RotatedSecret, derive: fn(&[u8; 32]) -> K) -> Vec<Self> {
        let Some(secret) = settings.secret(which) else { return Vec::new() };
        let in_force = Self { key: derive(&secret), until: None };
        let old = settings.old_secrets(which).into_iter().map(|old| Self {
            key: derive(&old.secret),
            until: Some(u64::try_from(old.until.unix_timestamp()).unwrap_or_default()),
        });
        std::iter::once(in_force).chain(old).collect()
    }

    /// Whether it is accepted at `now` (seconds since 1970).
    pub(crate) fn is_good(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The keys accepted now.
    pub(super) fn good(keys: &[Self]) -> Vec<Self> {
        let now = clock::seconds();
        keys.iter().filter(|key| key.is_good(now)).cloned().collect()
    }
}
