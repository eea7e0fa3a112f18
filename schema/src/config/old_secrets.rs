//! Rotated secrets: a new one takes effect, and old ones are still accepted for a while.
//!
//! ```text
//! proxy.device-auth.old-secrets: [{"secret": "<32 bytes, base64>", "until": "2026-12-24T00:00:00Z"}]
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::{ConfigError, Settings};

/// Most old secrets per kind, because checking a login tries them one after the other.
pub const MOST_OLD_SECRETS: usize = 8;

/// A secret that is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotatedSecret {
    /// Signs device sessions.
    Sessions,
    /// Signs service logins.
    Logins,
}

impl RotatedSecret {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sessions, Self::Logins];

    /// The secret stored under this configuration key.
    #[must_use]
    pub fn named(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|which| which.key() == key)
    }

    /// The configuration key of the current secret.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Sessions => "proxy.device-auth.secret",
            Self::Logins => "proxy.auth.secret",
        }
    }

    /// The configuration key of the old secrets.
    const fn old_key(self) -> &'static str {
        match self {
            Self::Sessions => "proxy.device-auth.old-secrets",
            Self::Logins => "proxy.auth.old-secrets",
        }
    }
}

/// An old secret.
pub struct OldSecret {
    /// The secret.
    pub secret: Zeroizing<[u8; 32]>,
    /// When it stops being accepted.
    pub until: OffsetDateTime,
}

impl Settings {
    /// The secret in force, if set.
    #[must_use]
    pub fn secret(&self, which: RotatedSecret) -> Option<Zeroizing<[u8; 32]>> {
        let bytes = Zeroizing::new(STANDARD.decode(self.value(which.key())).ok()?);
        Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
    }

    /// The secrets that were rotated out, including expired ones.
    #[must_use]
    pub fn old_secrets(&self, which: RotatedSecret) -> Vec<OldSecret> {
        parse(self.value(which.old_key())).unwrap_or_default()
    }

    /// Replaces the current secret with a fresh one; the current one is accepted until `until`. Drops old secrets
    /// that have expired at `now`. An `until` not after `now` voids all old secrets at once, including those that
    /// were to be accepted longer.
    ///
    /// # Errors
    /// [`ConfigError::NoSecret`] if there is no current secret, [`ConfigError::TooManySecrets`] if the maximum number
    /// of old secrets is still accepted.
    pub fn rotate_secret(
        &mut self,
        which: RotatedSecret,
        fresh: &[u8; 32],
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), ConfigError> {
        let secret = self.secret(which).ok_or(ConfigError::NoSecret(which.key()))?;
        let mut old = self.old_secrets(which);
        if until > now {
            old.retain(|old| old.until > now);
            old.push(OldSecret { secret, until });
        } else {
            // Keep it with an expiry in 1970, so that it stays void even if the clock is set back: the database may
            // still have to recognise it.
            old = vec![OldSecret { secret, until: OffsetDateTime::UNIX_EPOCH }];
        }
        if old.len() > MOST_OLD_SECRETS {
            let next = old.iter().map(|old| old.until).min().and_then(|next| next.format(&Rfc3339).ok());
            return Err(ConfigError::TooManySecrets { key: which.key(), next: next.unwrap_or_default() });
        }
        let fresh = Zeroizing::new(STANDARD.encode(fresh));
        self.set_all([(which.key(), fresh.as_str()), (which.old_key(), &written(&old))])
    }
}

pub(super) fn parse(text: &str) -> Option<Vec<OldSecret>> {
    let list: Vec<Value> = serde_json::from_str(text).ok()?;
    let entry = |entry: &Value| {
        if entry.as_object()?.len() != 2 {
            return None;
        }
        let bytes = Zeroizing::new(STANDARD.decode(entry.get("secret")?.as_str()?).ok()?);
        let until = OffsetDateTime::parse(entry.get("until")?.as_str()?, &Rfc3339).ok()?;
        Some(OldSecret { secret: Zeroizing::new(bytes.as_slice().try_into().ok()?), until })
    };
    list.iter().map(entry).collect()
}

pub(super) fn written(secrets: &[OldSecret]) -> String {
    let entry = |old: &OldSecret| {
        let until = old.until.format(&Rfc3339).unwrap_or_default();
        json!({ "secret": STANDARD.encode(*old.secret), "until": until })
    };
    Value::from_iter(secrets.iter().map(entry)).to_string()
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const DAY: OffsetDateTime = datetime!(2026-01-01 0:00 UTC);

    fn old(settings: &Settings, which: RotatedSecret) -> Vec<(u8, OffsetDateTime)> {
        settings.old_secrets(which).iter().map(|old| (old.secret[0], old.until)).collect()
    }

    #[test]
    fn rotations_stack_and_run_out() {
        let times = [DAY, DAY + Duration::days(31), DAY + Duration::days(59)];
        for which in RotatedSecret::ALL {
            let mut settings = Settings::default();
            let refused = settings.rotate_secret(which, &[9; 32], times[1], times[0]);
            assert_eq!(refused, Err(ConfigError::NoSecret(which.key())));
            settings.set(which.key(), &STANDARD.encode([1; 32])).unwrap();
            settings.rotate_secret(which, &[2; 32], times[1], times[0]).unwrap();
            settings.rotate_secret(which, &[3; 32], times[2], times[0]).unwrap();
            assert_eq!(old(&settings, which), [(1, times[1]), (2, times[2])]);
            assert_eq!(settings.secret(which).unwrap()[0], 3);
            settings.rotate_secret(which, &[4; 32], times[2], times[1]).unwrap();
            assert_eq!(old(&settings, which), [(2, times[2]), (3, times[2])]);
            let dump: String = settings.redacted().map(|(_, value)| value).collect();
            assert!(!dump.contains(&STANDARD.encode([2; 32])), "{dump}");
            assert_eq!(Settings::from_yaml(&settings.to_yaml()).unwrap(), settings);
            for bad in ["x", "{}", "[1]", r#"[{"secret":"AA==","until":"2026-01-01T00:00:00Z"}]"#] {
                assert!(settings.set(which.old_key(), bad).is_err(), "{bad}");
            }
            let others = RotatedSecret::ALL.into_iter().filter(|other| *other != which);
            assert!(others.map(|other| old(&settings, other)).all(|old| old.is_empty()));
            assert_eq!(RotatedSecret::named(which.key()), Some(which));
        }
        assert_eq!(RotatedSecret::named("proxy.key.private"), None);
    }

    #[test]
    fn at_once_voids_what_earlier_rotations_kept() {
        let which = RotatedSecret::Logins;
        let mut settings = Settings::default();
        settings.set(which.key(), &STANDARD.encode([1; 32])).unwrap();
        settings.rotate_secret(which, &[2; 32], DAY + Duration::days(31), DAY).unwrap();
        settings.rotate_secret(which, &[3; 32], DAY, DAY).unwrap();
        assert_eq!(old(&settings, which), [(2, OffsetDateTime::UNIX_EPOCH)]);
    }

    #[test]
    fn only_so_many_stand_at_once() {
        let which = RotatedSecret::Logins;
        let mut settings = Settings::default();
        settings.set(which.key(), &STANDARD.encode([1; 32])).unwrap();
        for number in 0..8 {
            let until = DAY + Duration::days(9 - i64::from(number));
            settings.rotate_secret(which, &[number; 32], until, DAY).unwrap();
        }
        let before = settings.clone();
        let refused = settings.rotate_secret(which, &[9; 32], DAY + Duration::days(1), DAY);
        assert!(refused.unwrap_err().to_string().contains("2026-01-02T00:00:00Z"), "one more");
        assert_eq!(settings, before);
        settings.rotate_secret(which, &[9; 32], DAY, DAY).expect("expired ones make room");
    }
}
