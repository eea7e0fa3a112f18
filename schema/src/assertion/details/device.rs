//! `serial`, `device-session-request`, `serial-request`, `confdb-control` and `hardware-identity`: devices and what
//! they sign.

use time::OffsetDateTime;

use crate::assertion::fields::{Fields, Result};
use crate::assertion::key::PublicKey;
use crate::assertion::scalars;
use crate::digest::Sha3_384;

/// The identity of one device, and its key.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct Serial {
    pub brand_id: String,
    pub model: String,
    /// Free text without a slash.
    pub serial: String,
    pub device_key: PublicKey,
    /// `device-key-sha3-384`, the id of `device_key`.
    pub device_key_id: String,
    pub timestamp: OffsetDateTime,
}

/// A device proves possession of its key by signing the store's nonce.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct DeviceSessionRequest {
    pub brand_id: String,
    pub model: String,
    pub serial: String,
    pub nonce: String,
    /// By the clock of the device, which may be wrong.
    pub timestamp: OffsetDateTime,
}

/// A device requests a serial.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct SerialRequest {
    pub brand_id: String,
    pub model: String,
    pub request_id: String,
    /// The serial that the device proposes.
    pub serial: Option<String>,
    pub device_key: PublicKey,
}

pub(super) fn serial(fields: &Fields<'_>) -> Result<Serial> {
    let device_key = fields.public_key("device-key")?;
    if fields.digest("device-key-sha3-384")? != device_key.id() {
        return Err(fields.error("device-key-sha3-384", "is not the digest of the device key"));
    }
    Ok(Serial {
        brand_id: fields.account_id("brand-id")?.to_owned(),
        model: fields.model_name("model")?.to_owned(),
        serial: fields.required("serial")?.to_owned(),
        device_key_id: device_key.id().to_owned(),
        device_key,
        timestamp: fields.date("timestamp")?,
    })
}

pub(super) fn device_session_request(fields: &Fields<'_>) -> Result<DeviceSessionRequest> {
    Ok(DeviceSessionRequest {
        brand_id: fields.required("brand-id")?.to_owned(),
        model: fields.model_name("model")?.to_owned(),
        serial: fields.required("serial")?.to_owned(),
        nonce: fields.required("nonce")?.to_owned(),
        timestamp: fields.date("timestamp")?,
    })
}

pub(super) fn serial_request(fields: &Fields<'_>) -> Result<SerialRequest> {
    let device_key = fields.public_key("device-key")?;
    if fields.required("sign-key-sha3-384")? != device_key.id() {
        return Err(fields.error("sign-key-sha3-384", "must be the device key"));
    }
    for original in ["original-brand-id", "original-model", "original-serial"] {
        fields.optional(original)?;
    }
    Ok(SerialRequest {
        brand_id: fields.required("brand-id")?.to_owned(),
        model: fields.model_name("model")?.to_owned(),
        request_id: fields.required("request-id")?.to_owned(),
        serial: fields.optional("serial")?.map(str::to_owned),
        device_key,
    })
}

pub(super) fn confdb_control(fields: &Fields<'_>) -> Result<()> {
    fields.account_id("brand-id")?;
    fields.model_name("model")?;
    fields.matching(
        "serial",
        scalars::is_strict_serial,
        "must be letters and digits with single separators",
    )?;
    for group in fields.required_maps("groups")? {
        let is_view = |text: &str| {
            let parts: Vec<_> = text.split('/').collect();
            parts.len() == 3 && parts.iter().all(|part| !part.is_empty())
        };
        let operators = group.account_ids("operators")?;
        let methods =
            group.texts("authentications", |word| ["operator-key", "store"].contains(&word), "is unknown")?;
        let views = group.texts("views", is_view, "must be account, confdb and view")?;
        for (name, list) in [("operators", operators), ("authentications", methods), ("views", views)] {
            if list.is_empty() {
                return Err(group.error(name, "is missing"));
            }
        }
    }
    Ok(())
}

pub(super) fn hardware_identity(fields: &Fields<'_>) -> Result<()> {
    if fields.account_id("issuer-id")? != fields.required("authority-id")? {
        return Err(fields.error("authority-id", "must be the issuer"));
    }
    fields.required("manufacturer")?;
    fields.matching("hardware-name", scalars::is_words, "must be words with single dashes")?;
    fields.required("hardware-id")?;
    let digest = Sha3_384::of(fields.required("hardware-id-key")?.as_bytes());
    if fields.digest("hardware-id-key-sha3-384")? != digest.to_base64url() {
        return Err(fields.error("hardware-id-key-sha3-384", "is not the digest of the hardware key"));
    }
    Ok(())
}
