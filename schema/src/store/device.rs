//! A device's identity: brand, model and serial.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Identifies one device. Serials are free text: never use one in a path or a pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct DeviceId {
    /// The brand's account id.
    pub brand: String,
    /// The model's name.
    pub model: String,
    /// The serial, as the brand wrote it.
    pub serial: String,
}

/// The text does not identify a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {0:?} as a device: write BRAND/MODEL/SERIAL")]
pub struct DeviceIdError(String);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.brand, self.model, self.serial)
    }
}

impl FromStr for DeviceId {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<Self, DeviceIdError> {
        match text.split('/').collect::<Vec<_>>()[..] {
            [brand, model, serial] if !brand.is_empty() && !model.is_empty() && !serial.is_empty() => {
                Ok(Self { brand: brand.into(), model: model.into(), serial: serial.into() })
            }
            _ => Err(DeviceIdError(text.chars().take(200).collect())),
        }
    }
}

impl TryFrom<String> for DeviceId {
    type Error = DeviceIdError;

    fn try_from(text: String) -> Result<Self, DeviceIdError> {
        text.parse()
    }
}

impl From<DeviceId> for String {
    fn from(device: DeviceId) -> String {
        device.to_string()
    }
}
