//! Service logins.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::service_login::Acl;
use crate::store::StoreId;

/// A service login to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LoginRequest {
    /// The store it is for; `None` for the whole site, as permissions such as `overrides` and `admin` require.
    #[serde(default)]
    pub store: Option<StoreId>,
    /// What it may do there.
    pub acls: BTreeSet<Acl>,
    /// Seconds until it expires.
    pub lifetime_seconds: u64,
}

/// A service login without its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Login {
    /// Its id.
    pub id: String,
    /// The store it is for; `None` for the whole site, as permissions such as `overrides` and `admin` require.
    #[serde(default)]
    pub store: Option<StoreId>,
    /// What it may do there.
    pub acls: BTreeSet<Acl>,
    /// When it was created, RFC 3339.
    pub created: String,
    /// When it expires, RFC 3339.
    pub expires: String,
    /// The id of the key that signed it, as `status` shows it; `None` for logins from before keys had ids.
    #[serde(default)]
    pub key: Option<String>,
    /// `valid`, `expired`, `revoked`, or `void` if its key is no longer accepted; by the server's clock.
    pub state: String,
    /// Who made it: `uid 0`, `login ID`; `None` for logins from before this was kept.
    #[serde(default)]
    pub made_by: Option<String>,
    /// The ids of the logins that it made and that are valid.
    #[serde(default)]
    pub made: Vec<String>,
}

impl Login {
    /// Its scope for people: `store AcmeDevices` or `the whole site`.
    #[must_use]
    pub fn place(&self) -> String {
        self.store.as_ref().map_or_else(|| "the whole site".to_owned(), |store| format!("store {store}"))
    }
}

/// A new service login. Its token is shown only here.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct CreatedLogin {
    /// The login.
    #[serde(flatten)]
    pub login: Login,
    /// The bearer token.
    pub token: String,
}

/// The token stays out of debug output.
impl std::fmt::Debug for CreatedLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.login.fmt(f)
    }
}

/// All service logins, including expired and revoked ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Logins {
    /// Sorted by store, then by creation time.
    pub logins: Vec<Login>,
}
