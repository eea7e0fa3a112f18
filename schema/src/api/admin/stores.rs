//! Brand stores: the result of a push, and what is held.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ViewChange, Waits};

/// The result of pushing store metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PushedStores {
    /// The stores of the file.
    pub stores: Vec<Store>,
    /// Changes in which devices see a snap.
    #[serde(default)]
    pub visibility: Vec<ViewChange>,
    /// Warnings for the operator, such as granted snaps that were not pushed yet.
    pub warnings: Vec<String>,
    /// That it waits for approvals; nothing of it is visible until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
}

/// All stores.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Stores {
    /// Sorted by id.
    pub stores: Vec<Store>,
}

/// A store whose metadata was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Store {
    /// Its id.
    pub id: String,
    /// What its brand calls it.
    pub name: String,
    /// The brand's account id.
    pub brand_id: String,
    /// The store it is based on.
    pub parent: Option<String>,
    /// Names of the snaps it grants.
    pub snaps: Vec<String>,
    /// Granted snaps that were not pushed yet.
    pub missing: Vec<String>,
}
