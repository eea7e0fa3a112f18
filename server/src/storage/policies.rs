//! The signing desk's facts: keys that sign here, and who gets a serial.

use std::collections::BTreeSet;

use schema::signing::{KeyPlace, Label, ListedSerial};
use schema::store::DeviceId;
use serde::{Deserialize, Serialize};

/// A key that signs here. Stored as the fact `signing-key.NAME`, for ever: a name is never used twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    /// Name, account and purpose.
    #[serde(flatten)]
    pub(crate) label: Label,
    /// The id of the public key.
    pub(crate) key_id: String,
    /// The public key in text form.
    pub(crate) public_key: String,
    /// The private key, sealed, or what is sealed of a key on a token; empty once it was retired.
    pub(crate) sealed: String,
    /// The id of the secret that it was sealed with.
    pub(crate) sealed_by: String,
    /// When it was made, in seconds since 1970.
    pub(crate) created: u64,
    /// When it was retired.
    pub(crate) retired: Option<u64>,
    /// How many people have to approve each signature.
    #[serde(default)]
    pub(crate) approvals: u32,
    /// Where the private key is, if it is on a token.
    #[serde(default)]
    pub(crate) place: Option<KeyPlace>,
    /// Most signatures of a day, in UTC.
    #[serde(default)]
    pub(crate) per_day: Option<u32>,
}

impl KeyRecord {
    /// The prefix of these facts' names, before the key's own.
    pub(crate) const PREFIX: &'static str = "signing-key.";

    /// The fact to store.
    pub(crate) fn fact(&self) -> (String, String) {
        (format!("{}{}", Self::PREFIX, self.label.name), serde_json::json!(self).to_string())
    }
}

/// Where a model's serials come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// The device proposes one.
    Proposed,
    /// The store makes a random one.
    Assigned,
    /// The operator's list.
    Listed,
}

/// Who gets a serial. Stored as the fact `serial-policy.BRAND/MODEL`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyRecord {
    /// The brand.
    pub(crate) brand: String,
    /// The model.
    pub(crate) model: String,
    /// The name of the key that signs.
    pub(crate) key: String,
    /// Where the serials come from.
    pub(crate) source: Source,
    /// What a proposed one must look like.
    pub(crate) pattern: Option<String>,
    /// The header that must carry the API key, and the key's SHA-256 in hex.
    pub(crate) api_key: Option<(String, String)>,
    /// How many people have to approve each serial.
    #[serde(default)]
    pub(crate) approvals: u32,
    /// Whether devices prove what hardware they are.
    #[serde(default)]
    pub(crate) hardware: bool,
    /// The models, `BRAND/MODEL`, whose devices may become devices of this one.
    #[serde(default)]
    pub(crate) from: BTreeSet<String>,
    /// When it was set, in seconds since 1970.
    pub(crate) since: u64,
    /// Why it gives out nothing now: `closed` by the operator, or `restored` from a backup, which cannot tell what
    /// was given out since.
    pub(crate) closed: Option<String>,
}

impl PolicyRecord {
    /// The prefix of these facts' names, before brand and model.
    pub(crate) const PREFIX: &'static str = "serial-policy.";

    /// The name of the fact of a model.
    pub(crate) fn fact_of(brand: &str, model: &str) -> String {
        format!("{}{brand}/{model}", Self::PREFIX)
    }

    /// The fact to store.
    pub(crate) fn fact(&self) -> (String, String) {
        (Self::fact_of(&self.brand, &self.model), serde_json::json!(self).to_string())
    }

    /// Whether it is closed since a restore, until the operator opens it again.
    pub(crate) fn is_restored(&self) -> bool {
        self.closed.as_deref() == Some("restored")
    }

    /// The command that sets it again. Without the pattern or the list that its source needs, it sets nothing.
    pub(crate) fn again(&self) -> String {
        let Self { brand, model, key, source, .. } = self;
        let source = match source {
            Source::Assigned => "assigned",
            Source::Proposed => "proposed",
            Source::Listed => "listed",
        };
        format!("proxy models add {brand}/{model} --key {key} --serial {source}")
    }

    /// After a restore: a random serial never collides, but one that was proposed or listed may have been given to
    /// another device since the backup.
    pub(super) fn restored(self) -> Self {
        match self.source {
            Source::Assigned => self,
            Source::Proposed | Source::Listed => {
                Self { closed: self.closed.or_else(|| Some("restored".into())), ..self }
            }
        }
    }
}

/// The operator took a serial from its device. Stored as the fact `taken-serial.BRAND/MODEL/SERIAL`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TakenRecord {
    /// The revision that the device has: it counts no more, and the next device has a higher one.
    pub(crate) revision: u32,
    /// When, in seconds since 1970.
    pub(crate) at: u64,
}

impl TakenRecord {
    /// The prefix of these facts' names, before the device.
    pub(crate) const PREFIX: &'static str = "taken-serial.";

    /// The fact to store.
    pub(crate) fn fact(&self, device: &DeviceId) -> (String, String) {
        (format!("{}{device}", Self::PREFIX), serde_json::json!(self).to_string())
    }
}

/// The list of a model's serials, replacing the one before.
#[derive(Debug, Clone)]
pub(crate) struct SerialList {
    /// The brand.
    pub(crate) brand: String,
    /// The model.
    pub(crate) model: String,
    /// In the order in which they are given out.
    pub(crate) serials: Vec<ListedSerial>,
}
