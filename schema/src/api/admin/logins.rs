//! Service logins.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::service_login::Acl;
use crate::store::StoreId;

/// A service login to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LoginRequest {
    /// The one store that it is for; none for the whole site, which is what permissions such as `overrides` and
    /// `admin` are about.
    #[serde(default)]
    pub store: Option<StoreId>,
    /// What it may do there.
    pub acls: BTreeSet<Acl>,
    /// Seconds until it expires.
    pub lifetime_seconds: u64,
}

/// A service login, without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Login {
    /// Names it.
    pub id: String,
    /// The one store that it is for; none for the whole site, which is what permissions such as `overrides` and
    /// `admin` are about.
    #[serde(default)]
    pub store: Option<StoreId>,
    /// What it may do there.
    pub acls: BTreeSet<Acl>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// From when on it is void, RFC 3339.
    pub expires: String,
    /// The id of the key that it was made with, as `status` shows it; none for logins of before there were ids.
    #[serde(default)]
    pub key: Option<String>,
    /// `valid`, `expired`, `revoked`, or `void` when its key is not accepted any more; by the server's clock.
    pub state: String,
}

impl Login {
    /// Where it is good, for people: `store AcmeDevices` or `the whole site`.
    #[must_use]
    pub fn place(&self) -> String {
        self.store.as_ref().map_or_else(|| "the whole site".to_owned(), |store| format!("store {store}"))
    }
}

/// A service login that was just made: the only time that its token is told.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct CreatedLogin {
    /// What it is good for.
    #[serde(flatten)]
    pub login: Login,
    /// The bearer token.
    pub token: String,
}

/// The token is a secret.
impl std::fmt::Debug for CreatedLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.login.fmt(f)
    }
}

/// Service logins, those that are over too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Logins {
    /// Sorted by store, then by the time they were made.
    pub logins: Vec<Login>,
}
