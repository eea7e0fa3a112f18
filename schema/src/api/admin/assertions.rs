//! Assertions: the result of a push, account keys, trust anchors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ViewChange, Waits};

/// What a pushed stream changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PushedAssertions {
    /// Assertions that are new or newer, `TYPE/KEY` each.
    pub added: Vec<String>,
    /// Those that the store already held at this or a higher revision.
    pub already_held: Vec<String>,
    /// The changes in which devices see a snap.
    #[serde(default)]
    pub visibility: Vec<ViewChange>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// The store id, if this was a registration.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub store_id: Option<String>,
    /// That it waits for approvals; nothing of it is visible until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
}

/// What a stream is pushed as. This decides which types it must and may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StreamKind {
    /// At least one account-key, and any other assertions that verify.
    AccountKeys,
    /// Any assertions that verify.
    Assertions,
    /// Exactly one store assertion with its prerequisites; it becomes this server's registration.
    Registration,
}

/// All account keys except the built-in ones.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AccountKeys {
    /// Sorted by account and name.
    pub account_keys: Vec<AccountKey>,
}

/// An account key that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AccountKey {
    /// The key's id, 64 characters.
    pub public_key_sha3_384: String,
    /// The account that owns the key.
    pub account_id: String,
    /// What the account calls it.
    pub name: Option<String>,
    /// First moment of validity, RFC 3339.
    pub since: String,
    /// First moment after its validity; `None` if it never expires.
    pub until: Option<String>,
    /// `valid`, `expired`, `revoked` or `not yet valid`, by the server's clock.
    pub state: String,
}

/// Trust anchors in addition to the built-in ones.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct TrustAnchors {
    /// Sorted by fingerprint.
    pub anchors: Vec<TrustAnchor>,
}

/// An added root key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrustAnchor {
    /// The key's id, 64 characters.
    pub fingerprint: String,
    /// The account it speaks for.
    pub account_id: String,
}
