//! Secrets that were rotated out and are still accepted for a while.
//!
//! ```text
//! [{"secret": "<32 bytes, base64>", "until": "2026-12-24T00:00:00Z"}]
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::{ConfigError, Settings};

const SECRET: &str = "proxy.device-auth.secret";
const OLD_SECRETS: &str = "proxy.device-auth.old-secrets";

/// A secret of before.
pub struct OldSecret {
    /// The secret.
    pub secret: Zeroizing<[u8; 32]>,
    /// The first moment at which it is not accepted any more.
    pub until: OffsetDateTime,
}

impl Settings {
    /// The secrets of device sessions that were rotated out, also those whose time is over.
    #[must_use]
    pub fn old_secrets(&self) -> Vec<OldSecret> {
        parse(self.value(OLD_SECRETS)).unwrap_or_default()
    }

    /// Puts a fresh secret of device sessions in place of the one in force, which is accepted until `until`. Those
    /// whose time is over at `now` are dropped.
    ///
    /// # Errors
    /// [`ConfigError::NoSecret`] while none is in force.
    pub fn rotate_secret(
        &mut self,
        fresh: &[u8; 32],
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), ConfigError> {
        let secret = self.key32(SECRET).ok_or(ConfigError::NoSecret(SECRET))?;
        let mut old = self.old_secrets();
        old.retain(|old| old.until > now);
        old.push(OldSecret { secret, until });
        let fresh = Zeroizing::new(STANDARD.encode(fresh));
        self.set_all([(SECRET, fresh.as_str()), (OLD_SECRETS, &written(&old))])
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
    use time::macros::datetime;

    use super::*;

    #[test]
    fn rotations_stack_and_run_out() {
        let mut settings = Settings::default();
        let times =
            [datetime!(2026-01-01 0:00 UTC), datetime!(2026-02-01 0:00 UTC), datetime!(2026-03-01 0:00 UTC)];
        assert_eq!(settings.rotate_secret(&[9; 32], times[1], times[0]), Err(ConfigError::NoSecret(SECRET)));
        settings.set(SECRET, &STANDARD.encode([1; 32])).unwrap();
        settings.rotate_secret(&[2; 32], times[1], times[0]).unwrap();
        settings.rotate_secret(&[3; 32], times[2], times[0]).unwrap();
        let old = |settings: &Settings| -> Vec<_> {
            settings.old_secrets().iter().map(|old| (old.secret[0], old.until)).collect()
        };
        assert_eq!(old(&settings), [(1, times[1]), (2, times[2])]);
        assert_eq!(settings.key32(SECRET).unwrap()[0], 3);
        settings.rotate_secret(&[4; 32], times[2], times[1]).unwrap();
        assert_eq!(old(&settings), [(2, times[2]), (3, times[2])]);
        let dump: String = settings.redacted().map(|(_, value)| value).collect();
        assert!(!dump.contains(&STANDARD.encode([2; 32])), "{dump}");
        assert_eq!(Settings::from_yaml(&settings.to_yaml()).unwrap(), settings);
        for bad in ["x", "{}", "[1]", r#"[{"secret":"AA==","until":"2026-01-01T00:00:00Z"}]"#] {
            assert!(settings.set(OLD_SECRETS, bad).is_err(), "{bad}");
        }
    }
}
