//! `request-message` and `response-message`: remote management of devices.

use std::collections::BTreeSet;

use super::{Draft, unique};
use crate::assertion::decode_error::DecodeReason;
use crate::assertion::fields::{Fields, Result, any_text};
use crate::assertion::scalars;

const BAD_DEVICE: &str = "must be serial, model and brand joined by dots";

pub(super) fn request_message(draft: &Draft<'_>) -> std::result::Result<(), DecodeReason> {
    let fields = &draft.fields;
    fields.account_id("account-id")?;
    message_id(fields)?;
    fields.matching("message-kind", is_message_kind, "must be lower case words with single dashes")?;
    let devices = fields.texts("devices", scalars::is_device_id, BAD_DEVICE)?;
    if devices.is_empty() {
        return Err(fields.error("devices", "is missing").into());
    }
    let mut seen = BTreeSet::new();
    devices.iter().try_for_each(|device| unique(&mut seen, fields, "devices", device))?;
    fields.texts("assumes", any_text, "must be a text")?;
    for date in ["valid-since", "valid-until", "timestamp"] {
        fields.date(date)?;
    }
    if draft.body.is_empty() { Err(DecodeReason::Body("is missing")) } else { Ok(()) }
}

pub(super) fn response_message(fields: &Fields<'_>) -> Result<()> {
    fields.account_id("account-id")?;
    message_id(fields)?;
    fields.matching("device", scalars::is_device_id, BAD_DEVICE)?;
    fields.required("status")?;
    fields.one_of("status", &["success", "error", "unauthorized", "rejected"])?;
    fields.date("timestamp")?;
    Ok(())
}

/// 4 to 16 letters and digits, and possibly the number of a message in a sequence.
fn message_id(fields: &Fields<'_>) -> Result<()> {
    let is_id = |text: &str| {
        let (id, number) = text.split_once('-').map_or((text, None), |(id, number)| (id, Some(number)));
        (4..=16).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && number.is_none_or(|number| scalars::unsigned(number).is_some_and(|number| number > 0))
    };
    fields
        .matching("message-id", is_id, "must be 4 to 16 letters and digits, and a number after a dash")
        .map(drop)
}

fn is_message_kind(text: &str) -> bool {
    scalars::is_dashed(text, |byte| byte.is_ascii_lowercase(), |byte| byte.is_ascii_lowercase())
}
