//! Groups of devices, and tags.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rollout::GroupRules;
use crate::store::DeviceId;

/// A group to make or to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupRequest {
    /// Save it; otherwise only report whom it takes.
    pub apply: bool,
    /// Its name.
    pub name: String,
    /// Whom it takes.
    pub rules: GroupRules,
}

/// A group of devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Whom it takes.
    pub rules: GroupRules,
    /// Its members among the devices that were seen, sorted.
    pub members: Vec<DeviceId>,
    /// How many devices were seen at all.
    pub seen: usize,
    /// Listed devices that were never seen here.
    pub unseen: usize,
    /// Whether it was saved or removed.
    #[serde(default)]
    pub applied: bool,
}

/// All groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Groups {
    /// By name.
    pub groups: Vec<Group>,
}

/// Gives devices a tag, or takes it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagDevices {
    /// The devices: `BRAND/MODEL/SERIAL`, or the serial of one that was seen.
    pub devices: Vec<String>,
    /// The tag.
    pub tag: String,
    /// Take it back.
    #[serde(default)]
    pub remove: bool,
}

/// Devices with their tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaggedDevices {
    /// Sorted.
    pub devices: Vec<TaggedDevice>,
}

/// The tags of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaggedDevice {
    /// The device.
    pub device: DeviceId,
    /// Its tags now, sorted.
    pub tags: Vec<String>,
}
