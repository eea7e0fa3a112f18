//! Devices: what they run, which requests failed, and blocking a device.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DeltaTraffic;
use crate::store::{Architecture, DeltaFormat, DeviceId};

/// Whether a device is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceBlock {
    /// Which device, `BRAND/MODEL/SERIAL`.
    pub device: DeviceId,
    /// Whether the device is refused from its next request on.
    pub blocked: bool,
    /// Whether a device may be blocked that was never seen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
}

/// Which devices to list; each field that is set narrows the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceFilter {
    /// Devices of this brand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// Devices of this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Devices whose model names this store; `ubuntu` is the global one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Devices not seen for this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<u64>,
    /// Devices that do not run this snap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Devices that run a snap at a lower revision, `SNAP=REVISION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
    /// Devices with this serial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Devices after this one, `BRAND/MODEL/SERIAL`, in the order of their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<DeviceId>,
    /// At most so many, the first ones by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// How many devices were seen, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FleetCounts {
    /// All.
    pub devices: u64,
    /// Those seen within the last hour.
    pub within_hour: u64,
    /// Those seen within the last day.
    pub within_day: u64,
    /// Those seen within the last week.
    pub within_week: u64,
    /// Those that are blocked.
    pub blocked: u64,
    /// How many were last seen within each of the last 24 hours, the newest first.
    #[serde(default)]
    pub by_hour: Vec<u64>,
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
    /// Its own address, or that of the proxy in front.
    pub address: String,
    /// Its client, such as `snapd/2.77 (series 16; ...)`.
    pub client: String,
    /// Its architecture, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// The subject of its client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Whether it is blocked.
    pub blocked: bool,
    /// The snaps it runs, sorted by name; `None` if it did not say.
    pub snaps: Option<Vec<DeviceSnap>>,
    /// Requests that failed, newest first.
    pub misses: Vec<DeviceMiss>,
    /// What it was offered and downloaded, if there was anything. Only where one device is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downloads: Option<DeviceDownloads>,
}

/// What a device was offered and downloaded. Each server writes it down every few seconds, and what it has not yet written is lost
/// when it dies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceDownloads {
    /// All of it.
    pub total: DeltaTraffic,
    /// The last updates, 16 at most, the newest first.
    pub last: Vec<DeviceDownload>,
}

/// What a device was offered and downloaded of one revision of a snap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceDownload {
    /// The snap's name, or its id if neither a held snap nor a store's metadata has it.
    pub name: String,
    /// The snap's id.
    pub snap_id: String,
    /// The revision that deltas started from; `None` if none was offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<u32>,
    /// The revision.
    pub target: u32,
    /// The deltas that it was offered last, with their sizes.
    pub offered: Vec<DeltaBytes>,
    /// The bytes of deltas that it was sent.
    pub fetched: Vec<DeltaBytes>,
    /// The bytes of the whole snap that it was sent.
    pub whole_bytes: u64,
    /// What came of it.
    pub outcome: DownloadOutcome,
    /// When it was offered or downloaded something of it last, RFC 3339.
    pub last_at: String,
}

/// Bytes of deltas in one format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeltaBytes {
    /// The format, as devices name it.
    pub format: DeltaFormat,
    /// How many bytes.
    pub bytes: u64,
}

/// What came of the offer of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DownloadOutcome {
    /// It was offered a delta and has downloaded nothing yet.
    Offered,
    /// It downloaded a delta.
    Delta,
    /// It downloaded the whole snap, and was offered no delta.
    Whole,
    /// It downloaded the whole snap, although it was offered a delta.
    WholeInstead,
    /// It downloaded a delta, and the whole snap right after that.
    FellBack,
}

/// A snap that a device runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceSnap {
    /// Its name, or its id if neither a held snap nor a store's metadata has it.
    pub name: String,
    /// Its permanent id.
    pub snap_id: String,
    /// The installed revision.
    pub revision: i64,
    /// The channel it tracks.
    pub channel: String,
}

/// A device's request that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceMiss {
    /// The snap's name, or its id if the device sent only that and neither a held snap nor a store's metadata has it.
    pub name: String,
    /// The snap's id, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snap_id: Option<String>,
    /// A channel, or `revision N`.
    pub wanted: String,
    /// The error code sent to the device, such as `name-not-found`.
    pub code: String,
    /// When it asked last, RFC 3339.
    pub last_asked: String,
}

/// Failed requests of all devices: what to carry in next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Misses {
    /// Most frequent first. What some of the devices would get by now is listed apart from what the others still miss.
    pub misses: Vec<FleetMiss>,
    /// Requests for a serial that failed at this server since it started, most frequent first.
    #[serde(default)]
    pub registrations: Vec<RegistrationMiss>,
}

/// Failed requests for a serial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RegistrationMiss {
    /// `BRAND/MODEL`; empty where no signed model was shown.
    pub model: String,
    /// The check that failed, or `unavailable`.
    pub check: String,
    /// How often.
    pub times: u64,
    /// When the last time was, RFC 3339.
    pub last_asked: String,
    /// What the device was told then.
    pub why: String,
}

/// A failed request of one or more devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FleetMiss {
    /// The snap's name, or its id if the devices sent only that and neither a held snap nor a store's metadata has it.
    pub name: String,
    /// The snap's id, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snap_id: Option<String>,
    /// A channel, or `revision N`.
    pub wanted: String,
    /// The error code sent to the device that asked last, such as `name-not-found`.
    pub code: String,
    /// How many devices asked.
    pub devices: usize,
    /// Their models, `BRAND/MODEL`, sorted.
    pub models: Vec<String>,
    /// When one asked last, RFC 3339.
    pub last_asked: String,
    /// Whether a snap of this name is held by now. If so, its channel, revision or grant is missing.
    pub held: bool,
    /// What these devices would get by now, `revision 3 from latest/stable`; `None` while they would still get nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
}

/// How many failed requests were forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClearedMisses {
    /// Requests; one of two devices counts twice.
    pub cleared: usize,
}
