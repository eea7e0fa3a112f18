//! Receipts of a site, the senders it trusts, and their parcels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::parcel::{ParcelFile, ParcelKind, PublicKey};

/// Has a receipt written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptRequest {}

/// What a person can carry in place of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteCode {
    /// The code, which names the parcel that was imported last; `None` before the first.
    pub code: Option<String>,
}

/// The senders whose parcels are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Senders {
    /// By name.
    pub senders: Vec<Sender>,
}

/// A sender whose parcels are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sender {
    /// What people call it.
    pub name: String,
    /// Its key.
    pub key: PublicKey,
    /// The number of the last parcel of it that was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

/// The parcels that were begun and are not imported yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parcels {
    /// Oldest first.
    pub parcels: Vec<ParcelStatus>,
}

/// How far a parcel is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ParcelStatus {
    /// What it is known by.
    pub id: String,
    /// The name of its parts, without their endings.
    pub name: String,
    /// What people call its sender.
    pub sender: String,
    /// Its number among those of this sender.
    pub sequence: u64,
    /// When it was made, RFC 3339.
    pub time: String,
    /// What it holds.
    pub kind: ParcelKind,
    /// The snaps and components in it.
    pub files: Vec<ParcelFile>,
    /// Bytes of all parts.
    pub size: u64,
    /// The numbers of the parts that are not here yet, counted from 1.
    pub lacking: Vec<usize>,
    /// Whether it was imported.
    pub imported: bool,
}

/// Has a parcel imported whose parts are all here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ParcelImport {
    /// Its id.
    pub parcel: String,
    /// Apply its channels also where they lead to a lower revision, close, or undo an on-site decision.
    #[serde(default)]
    pub push_channel_map: bool,
    /// Names or ids of snaps that more devices may see.
    #[serde(default)]
    pub widen: Vec<String>,
    /// Only report what would change.
    #[serde(default)]
    pub dry_run: bool,
}
