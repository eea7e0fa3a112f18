//! What a device needs to use the store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a device needs to use the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceKit {
    /// Where the store is.
    pub url: String,
    /// The registered store's id, for `proxy.store`.
    pub store_id: Option<String>,
    /// Its assertion and what that depends on, for `snap ack`.
    pub assertions: Option<String>,
    /// Where its assertion sends devices.
    pub registered_url: Option<String>,
    /// The certificate that devices need to trust, PEM; none over HTTP, and where an authority that is not the store's own
    /// issued it.
    pub ca: Option<String>,
}
