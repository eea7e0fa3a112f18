//! Devices: what they run, what they asked for in vain, and blocking one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::DeviceId;

/// Whether a device is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceBlock {
    /// Which device, `BRAND/MODEL/SERIAL`.
    pub device: DeviceId,
    /// Refused from its next request on.
    pub blocked: bool,
}

/// Which devices to list; each member given narrows the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceFilter {
    /// Of this brand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// Of this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whose model names this store; `ubuntu` is the global one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Not seen for so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<u64>,
    /// That do not run this snap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// That run a snap at a lower revision, `SNAP=REVISION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
}

/// Devices that were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Devices {
    /// Sorted by brand, model and serial.
    pub devices: Vec<Device>,
}

/// A device as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Device {
    /// The brand's account id.
    pub brand: String,
    /// The model.
    pub model: String,
    /// The serial.
    pub serial: String,
    /// The store that its model names; `ubuntu` is the global one.
    pub store: String,
    /// When it was seen first, RFC 3339.
    pub first_seen: String,
    /// When it was seen last, RFC 3339.
    pub last_seen: String,
    /// From where: its own address, or that of what stands between.
    pub address: String,
    /// Its client, such as `snapd/2.77 (series 16; ...)`.
    pub client: String,
    /// The subject of the client certificate that it showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Is it refused?
    pub blocked: bool,
    /// What it runs, sorted by name; none when it did not say.
    pub snaps: Option<Vec<DeviceSnap>>,
    /// What it asked for and did not get, newest first.
    pub misses: Vec<DeviceMiss>,
}

/// A snap that a device runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceSnap {
    /// Its name, or its id when this store does not hold it.
    pub name: String,
    /// Its permanent id.
    pub snap_id: String,
    /// What is installed.
    pub revision: i64,
    /// What it follows.
    pub channel: String,
}

/// What a device asked for and did not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceMiss {
    /// The snap's name, or its id when only that was said.
    pub name: String,
    /// A channel, or `revision N`.
    pub wanted: String,
    /// What the device was told, such as `name-not-found`.
    pub code: String,
    /// When it asked last, RFC 3339.
    pub last_asked: String,
}

/// What devices asked for and did not get: what to carry in next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Misses {
    /// What most devices asked for comes first.
    pub misses: Vec<FleetMiss>,
}

/// A wish of one or more devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FleetMiss {
    /// The snap's name, or its id when only that was said.
    pub name: String,
    /// A channel, or `revision N`.
    pub wanted: String,
    /// What the devices were told, such as `name-not-found`.
    pub code: String,
    /// How many devices asked.
    pub devices: usize,
    /// Their models, `BRAND/MODEL`, sorted.
    pub models: Vec<String>,
    /// When one asked last, RFC 3339.
    pub last_asked: String,
    /// Is a snap of this name held by now? Then its channel, revision or grant is what is missing.
    pub held: bool,
}
