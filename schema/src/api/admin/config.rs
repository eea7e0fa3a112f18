//! Configuration and secrets: changes, rotation, moving to another database.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Counts;

/// Values to set; an empty one clears its key.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct ConfigChange {
    /// New values by key.
    pub values: BTreeMap<String, String>,
}

/// Values may be secrets.
impl std::fmt::Debug for ConfigChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// The configuration in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// Every key with its value as everybody may see it: `<redacted>` stands for a secret that is set.
    pub values: BTreeMap<String, String>,
}

/// What a change of the configuration did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigChanged {
    /// The keys set, with their values as everybody may see them.
    pub values: BTreeMap<String, String>,
    /// Keys that take effect at the server's next start.
    pub after_restart: Vec<String>,
}

/// Where to copy the database.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseCopy {
    /// A PostgreSQL URL.
    pub url: String,
}

/// How much was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseCopied {
    /// What the copy holds.
    pub counts: Counts,
}

/// Which secret to make anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SecretRotation {
    /// Its key in the configuration: `proxy.device-auth.secret` or `proxy.auth.secret`.
    pub key: String,
    /// How many seconds the one in force is still accepted; with 0 it is void at once, and so is every older one.
    pub keep_old_seconds: u32,
}

/// The keys of a secret after its rotation, by their ids; not the secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SecretRotated {
    /// Which secret: its key in the configuration.
    pub secret: String,
    /// The id of the key that signs from now on.
    pub in_force: String,
    /// Those that are still accepted.
    pub old_keys: Vec<OldKey>,
}

/// A key that signs no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OldKey {
    /// Its id.
    pub id: String,
    /// The first moment at which what it signed is refused, RFC 3339.
    pub until: String,
}
