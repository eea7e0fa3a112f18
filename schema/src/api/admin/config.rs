//! Configuration and secrets: changes, rotation, moving to another database.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Counts;
use crate::config::SettingChange;

/// Values to set; an empty value clears its key.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct ConfigChange {
    /// New values by key.
    pub values: BTreeMap<String, String>,
    /// Values as the operator saw them, secrets hidden; nothing is changed if one of them is another by now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<String, String>,
}

/// Values may be secrets, so they stay out of debug output.
impl std::fmt::Debug for ConfigChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// The configuration in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// Every key with its public value: `<redacted>` stands for a secret that is set.
    pub values: BTreeMap<String, String>,
}

/// The result of a configuration change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigChanged {
    /// The changed keys with their public values.
    pub values: BTreeMap<String, String>,
    /// Keys that take effect at the server's next start.
    pub after_restart: Vec<String>,
    /// What the changed settings lead to that they should not, in full sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The recorded changes of settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigHistory {
    /// Newest last; one for each key.
    pub changes: Vec<RecordedChange>,
}

/// A change of one setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RecordedChange {
    /// The number of its event in the audit log.
    pub sequence: i64,
    /// When it was made, RFC 3339.
    pub at: String,
    /// The operator, such as `uid 1000`, or `acme`.
    pub who: String,
    /// What changed, secrets as fingerprints.
    #[serde(flatten)]
    pub change: SettingChange,
    /// Was the server stopped at that time?
    pub server_stopped: bool,
}

/// Where to copy the database.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseCopy {
    /// A PostgreSQL URL.
    pub url: String,
}

/// The result of copying the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseCopied {
    /// What the copy holds.
    pub counts: Counts,
}

/// The secret to rotate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SecretRotation {
    /// Its key in the configuration: `proxy.device-auth.secret` or `proxy.auth.secret`.
    pub key: String,
    /// How many seconds the current secret is still accepted; 0 voids it and all older ones at once.
    pub keep_old_seconds: u32,
}

/// The key ids of a secret after its rotation; never the secrets themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SecretRotated {
    /// The secret's configuration key.
    pub secret: String,
    /// The id of the new signing key.
    pub in_force: String,
    /// Old keys that are still accepted.
    pub old_keys: Vec<OldKey>,
}

/// A key that no longer signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OldKey {
    /// Its id.
    pub id: String,
    /// When its signatures stop being accepted, RFC 3339.
    pub until: String,
}
