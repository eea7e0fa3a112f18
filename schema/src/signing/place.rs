//! Where a key is that is not sealed in the database: an object of a PKCS#11 token.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest name of a token or object, in bytes; PKCS#11 gives tokens 32.
const LONGEST: usize = 64;

/// A key on a PKCS#11 token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct KeyPlace {
    /// The label of the token.
    pub token: String,
    /// The label of the key on it.
    pub object: String,
}

impl KeyPlace {
    /// Whether both labels are plain text that a token can have.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        [&self.token, &self.object].into_iter().all(|label| {
            (1..=LONGEST).contains(&label.len())
                && label.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
                && label.trim() == label
        })
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.token, self.object)
    }
}
