//! Brand stores: what a push did, and what is held.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ViewChange;

/// What pushed metadata changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PushedStores {
    /// The stores of the file.
    pub stores: Vec<Store>,
    /// Who sees a snap from now on, or no longer.
    #[serde(default)]
    pub visibility: Vec<ViewChange>,
    /// What the operator should know, such as granted snaps that were not pushed yet.
    pub warnings: Vec<String>,
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
    /// Those of them that were not pushed yet.
    pub missing: Vec<String>,
}
