//! Keys that sign on site, policies for models, and the serials that were given out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::signing::{KeyPlace, ListedSerial, Purpose};
use crate::store::DeviceId;

/// A key to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SigningKeyRequest {
    /// Its name, never used before.
    pub name: String,
    /// The account that it signs for.
    pub account: String,
    /// What it may sign.
    pub purpose: Purpose,
    /// How many people have to approve each signature; if it is left out, two for users and none for serials.
    #[serde(default)]
    pub approvals: Option<u32>,
    /// The PKCS#11 token that makes and keeps it; left out, this store seals it.
    #[serde(default)]
    pub place: Option<KeyPlace>,
    /// Most signatures of a day, in UTC; left out, there is no limit.
    #[serde(default)]
    pub per_day: Option<u32>,
}

/// How much a key may sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct KeyLimit {
    /// The key's name.
    pub name: String,
    /// Most signatures of a day, in UTC; `None` for no limit.
    #[serde(default)]
    pub per_day: Option<u32>,
}

/// A digest to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DigestRequest {
    /// The name of a key for models.
    pub name: String,
    /// The DigestInfo of a SHA-512 digest, in base64.
    pub info: String,
}

/// A signature over a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DigestSigned {
    /// The RSA value, in base64.
    pub value: String,
}

/// A key that signs on site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SigningKeyInfo {
    /// Its name.
    pub name: String,
    /// The account that it signs for.
    pub account: String,
    /// What it may sign.
    pub purpose: Purpose,
    /// The id of its public half, as `list-account-keys` shows it.
    pub key_id: String,
    /// `requested` until its account-key is here, then `ready`; else `not valid yet`, `ended`, `revoked`, `retired`, `of another
    /// account`, or `locked` if the signer cannot open it.
    pub state: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it ends, RFC 3339; `None` if it does not, or that is not known yet.
    #[serde(default)]
    pub ends: Option<String>,
    /// How many serials it signed, or how many other documents it was asked to sign.
    pub signed: u64,
    /// How many people have to approve each signature.
    #[serde(default)]
    pub approvals: u32,
    /// The PKCS#11 token that keeps it; `None` if this store does.
    #[serde(default)]
    pub place: Option<KeyPlace>,
    /// The public key in text form.
    #[serde(default)]
    pub public_key: String,
    /// Most signatures of a day, in UTC.
    #[serde(default)]
    pub per_day: Option<u32>,
    /// How many of these are used up today; counted for keys with a limit only.
    #[serde(default)]
    pub today: Option<u64>,
}

/// All keys that sign on site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SigningKeys {
    /// Sorted by name.
    pub keys: Vec<SigningKeyInfo>,
}

/// What the connected side registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRegistration {
    /// The account-key-request assertion.
    pub request: String,
}

/// Where a model's serials come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SerialSource {
    /// The device proposes one.
    Proposed,
    /// The store makes a random one.
    Assigned,
    /// The operator's list.
    Listed,
}

impl SerialSource {
    /// The source as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Assigned => "assigned",
            Self::Listed => "listed",
        }
    }
}

/// A policy to set.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ModelRequest {
    /// `BRAND/MODEL`.
    pub model: String,
    /// The name of the key that signs.
    pub key: String,
    /// Where the serials come from.
    pub serial: SerialSource,
    /// A regular expression for proposed serials.
    #[serde(default)]
    pub pattern: Option<String>,
    /// The serials of `listed`.
    #[serde(default)]
    pub list: Option<Vec<ListedSerial>>,
    /// What devices must show.
    #[serde(default)]
    pub api_key: Option<String>,
    /// The header that they show it in.
    #[serde(default)]
    pub api_key_header: Option<String>,
    /// How many people have to approve each serial.
    #[serde(default)]
    pub approvals: u32,
    /// Whether devices must prove with a hardware-identity of the brand what hardware they are.
    #[serde(default)]
    pub hardware_required: bool,
}

/// The API key stays out of debug output.
impl std::fmt::Debug for ModelRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelRequest({}, {})", self.model, self.serial.as_str())
    }
}

/// A model to close.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelClose {
    /// `BRAND/MODEL`.
    pub model: String,
}

/// Lets devices of one model become devices of another, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemodelRequest {
    /// What they are, `BRAND/MODEL`.
    pub from: String,
    /// What they become, `BRAND/MODEL`: a model whose serials are signed here.
    pub to: String,
    /// Whether they may.
    pub allowed: bool,
}

/// A serial to give to another device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SerialReissue {
    /// `BRAND/MODEL/SERIAL`.
    pub device: DeviceId,
}

/// The policy of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ModelPolicy {
    /// `BRAND/MODEL`.
    pub model: String,
    /// The name of the key that signs.
    pub key: String,
    /// Where the serials come from.
    pub serial: SerialSource,
    /// A regular expression for proposed serials.
    #[serde(default)]
    pub pattern: Option<String>,
    /// The header in which devices show the API key; `None` if they need none.
    #[serde(default)]
    pub api_key_header: Option<String>,
    /// How many people have to approve each serial.
    #[serde(default)]
    pub approvals: u32,
    /// Whether devices must prove with a hardware-identity of the brand what hardware they are.
    #[serde(default)]
    pub hardware_required: bool,
    /// `open`, `closed`, or `restored`: closed because a backup cannot tell what was given out after it.
    pub state: String,
    /// When it was set, RFC 3339.
    pub since: String,
    /// The models whose devices may become devices of this one.
    #[serde(default)]
    pub remodels_from: Vec<String>,
    /// How many serials the model has.
    pub issued: u64,
    /// How many of its list are left; `None` without a list.
    #[serde(default)]
    pub left: Option<u64>,
}

/// All policies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelPolicies {
    /// Sorted by model.
    pub models: Vec<ModelPolicy>,
}

/// A user for one device, for some hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BreakGlass {
    /// `BRAND/MODEL/SERIAL`.
    pub device: DeviceId,
    /// The user's name.
    pub user: String,
    /// Public keys of those who may log in.
    pub ssh_keys: Vec<String>,
    /// For how long.
    pub hours: u32,
    /// Whether the device keeps the user after that: snapd 2.57 knows no other form.
    #[serde(default)]
    pub stays: bool,
    /// The key that signs; may be left out if there is only one.
    #[serde(default)]
    pub key: Option<String>,
}

/// A signed user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct GlassBroken {
    /// `BRAND/MODEL/SERIAL`.
    pub device: DeviceId,
    /// The user's name.
    pub user: String,
    /// The address by which devices tell users apart.
    pub email: String,
    /// From when on it counts, RFC 3339.
    pub since: String,
    /// When it ends, RFC 3339.
    pub until: String,
    /// The content of `auto-import.assert`.
    pub file: String,
}

/// A serial that was given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct IssuedSerial {
    /// `BRAND/MODEL/SERIAL`.
    pub device: DeviceId,
    /// The id of the device key; empty while the serial waits for another device.
    pub device_key: String,
    /// The name of the key that signed it.
    pub signed_by: String,
    /// When, RFC 3339.
    pub issued: String,
    /// Whether it is signed. One that is not is reserved for its device, which asks again.
    #[serde(default)]
    pub signed: bool,
    /// The serial assertion; `None` while it is reserved and not signed yet, and in a list.
    #[serde(default)]
    pub assertion: Option<String>,
}

/// Serials that were given out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuedSerials {
    /// Sorted by device; at most a thousand.
    pub serials: Vec<IssuedSerial>,
}
