//! How one setting changed, as the audit log keeps it: never with a secret in clear.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{KEYS, Key, Kind, REDACTED, Settings};
use crate::digest::Sha3_384;

/// Longer values are shown as fingerprints, in characters.
const LONGEST: usize = 200;

/// A value that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettingChange {
    /// The key.
    pub key: String,
    /// The value that was replaced, a text or a boolean; `null` if none was set.
    pub old: Value,
    /// The value that replaced it; `null` if it was cleared.
    pub new: Value,
}

impl SettingChange {
    /// Every key whose value in force differs.
    #[must_use]
    pub fn between(before: &Settings, after: &Settings) -> Vec<Self> {
        let differs = |key: &&Key| before.value(key.name) != after.value(key.name);
        let change = |key: &Key| Self {
            key: key.name.to_owned(),
            old: key.recorded(before.value(key.name)),
            new: key.recorded(after.value(key.name)),
        };
        KEYS.iter().filter(differs).map(change).collect()
    }
}

impl Key {
    /// The value as the audit log may keep it: secrets and long texts as fingerprints. A secret that a person may have
    /// chosen has none, because it would confirm a guess.
    #[must_use]
    pub fn recorded(&self, value: &str) -> Value {
        let is_random = matches!(self.kind, Kind::Pem | Kind::Key32 | Kind::MacKey | Kind::OldSecrets);
        let is_long = self.kind == Kind::Pem || value.chars().count() > LONGEST;
        match (self.kind, self.redact(value)) {
            (_, shown) if shown.is_empty() => Value::Null,
            (Kind::Switch, shown) => (shown == "True").into(),
            (_, shown) if shown == REDACTED && is_random || shown == value && is_long => {
                fingerprint(value).into()
            }
            (_, shown) => shown.into(),
        }
    }
}

/// Tells one value from another; the same text always has the same one.
fn fingerprint(value: &str) -> String {
    format!("<fingerprint {}>", &Sha3_384::of(value.as_bytes()).to_hex()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key;

    #[test]
    fn no_secret_is_recorded_in_clear() {
        let chosen = |kind| matches!(kind, Kind::Text | Kind::Database);
        for key in KEYS.iter().filter(|key| key.secret) {
            let (one, other) = (key.recorded("c2VjcmV0IG9uZQ=="), key.recorded("c2VjcmV0IHR3bw=="));
            assert!(!one.to_string().contains("c2VjcmV0"), "{}: {one}", key.name);
            assert_eq!(one == other, chosen(key.kind), "{}: {one} {other}", key.name);
            assert_eq!(key.recorded(""), Value::Null, "{}", key.name);
        }
        let database =
            key("proxy.db.connection").unwrap().recorded("postgresql://airlock:hunter2@db/airlock");
        let database = database.as_str().unwrap();
        assert!(database.contains("airlock:<redacted>@db") && !database.contains("hunter2"), "{database}");
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let (mut before, mut after) = (Settings::default(), Settings::default());
        assert_eq!(key("proxy.airgap").map(|key| key.recorded("True")), Some(true.into()));
        before.set("proxy.domain", "old.internal").unwrap();
        after.set("proxy.domain", "new.internal").unwrap();
        let change = SettingChange {
            key: "proxy.domain".into(),
            old: "old.internal".into(),
            new: "new.internal".into(),
        };
        assert_eq!(SettingChange::between(&before, &after), [change]);
        assert_eq!(SettingChange::between(&after, &after), []);
    }
}
