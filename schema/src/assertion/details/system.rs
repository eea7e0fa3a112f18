//! Types that a store only passes on: `base-declaration`, `system-user`, `repair`, `preseed`, `confdb-schema`,
//! `cluster`.

use std::collections::BTreeSet;

use time::Duration;

use super::{Draft, unique};
use crate::assertion::decode_error::DecodeReason;
use crate::assertion::fields::{Fields, Result, any_text};
use crate::assertion::scalars;

pub(super) fn base_declaration(fields: &Fields<'_>) -> Result<()> {
    for rules in ["plugs", "slots"] {
        fields.map(rules)?;
    }
    fields.date("timestamp").map(drop)
}

pub(super) fn system_user(draft: &Draft<'_>) -> Result<()> {
    let fields = &draft.fields;
    fields.required("brand-id")?;
    fields.matching("email", is_email, "must be an e-mail address")?;
    fields.texts("series", any_text, "must be a text")?;
    fields.texts("ssh-keys", any_text, "must be a text")?;
    let models = fields.texts("models", any_text, "must be a text")?;
    let serials = fields.texts("serials", any_text, "must be a text")?;
    if !serials.is_empty() && draft.format < 1 {
        return Err(fields.error("serials", "needs format 1"));
    }
    if !serials.is_empty() && models.len() != 1 {
        return Err(fields.error("serials", "needs exactly one model"));
    }
    fields.optional("name")?;
    fields.matching("username", is_user_name, "must be a user name")?;
    let password =
        fields.optional_matching("password", is_crypt_hash, "must be a crypt hash of kind 6 or later")?;
    if fields.flag("force-password-change")? && password.is_none() {
        return Err(fields.error("force-password-change", "needs a password"));
    }
    let (since, until) = (fields.date("since")?, fields.date("until")?);
    if until < since {
        return Err(fields.error("until", "must not be before since"));
    }
    // One year, whether or not it is a leap year.
    if models.is_empty() && until - since > Duration::days(366) {
        return Err(fields.error("until", "must be within a year of since when there are no models"));
    }
    if fields.has("user-presence") && draft.format < 2 {
        return Err(fields.error("user-presence", "needs format 2"));
    }
    fields.one_of("user-presence", &["until-expiration"]).map(drop)
}

/// Something before and after an at sign, without control characters.
fn is_email(text: &str) -> bool {
    !text.contains(char::is_control)
        && text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

/// Whether this can be the name of a user whom a device makes.
#[must_use]
pub fn is_user_name(text: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().next().is_some_and(is_first)
        && text.bytes().all(|byte| is_first(byte) || b"-._".contains(&byte))
}

/// `$id$[rounds=N$]salt$hash`.
fn is_crypt_hash(text: &str) -> bool {
    let is_crypt_text = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte))
    };
    let is_rounds = |text: &str| {
        let rounds = text.strip_prefix("rounds=").and_then(scalars::unsigned);
        rounds.is_some_and(|rounds| (5000..=999_999_999).contains(&rounds))
    };
    let parts: Vec<_> = text.split('$').collect();
    let (id, salt, hash) = match parts[..] {
        ["", id, salt, hash] => (id, salt, hash),
        ["", id, rounds, salt, hash] if is_rounds(rounds) => (id, salt, hash),
        _ => return false,
    };
    scalars::unsigned(id).is_some_and(|id| id >= 6) && is_crypt_text(salt) && is_crypt_text(hash)
}

pub(super) fn repair(fields: &Fields<'_>) -> Result<()> {
    if fields.required("brand-id")? != fields.required("authority-id")? {
        return Err(fields.error("authority-id", "must be the brand"));
    }
    fields.ordinal("repair-id")?;
    if fields.required("summary")?.contains('\n') {
        return Err(fields.error("summary", "must be one line"));
    }
    for list in ["series", "architectures", "models"] {
        fields.texts(list, any_text, "must be a text")?;
    }
    let bases = fields.texts("bases", scalars::is_snap_name, "must be a snap name")?;
    let modes = fields.texts("modes", |mode| ["run", "recover"].contains(&mode), "must be run or recover")?;
    if !modes.is_empty() && bases.iter().any(|base| ["core", "core16", "core18"].contains(&base.as_str())) {
        return Err(fields.error("bases", "must not be core, core16 or core18 when there are modes"));
    }
    fields.flag("disabled")?;
    fields.date("timestamp").map(drop)
}

pub(super) fn preseed(fields: &Fields<'_>) -> Result<()> {
    fields.account_id("brand-id")?;
    fields.model_name("model")?;
    fields.matching("system-label", scalars::is_model_name, "must be lower case words with single dashes")?;
    fields.digest("artifact-sha3-384")?;
    let snaps = fields.required_maps("snaps")?;
    let mut names = BTreeSet::new();
    for snap in &snaps {
        unique(&mut names, snap, "name", snap.snap_name("name")?)?;
        let id = snap.optional_matching("id", scalars::is_snap_id, "must be a snap id")?;
        if id.is_some() != snap.count("revision", 1)?.is_some() {
            return Err(snap.error("id", "and revision must be there together"));
        }
        for component in snap.maps("components")? {
            component.snap_name("name")?;
            component.count("revision", 1)?;
        }
    }
    fields.date("timestamp").map(drop)
}

/// The body only has to be an object with `storage`; the rest matters to devices alone.
pub(super) fn confdb_schema(draft: &Draft<'_>) -> std::result::Result<(), DecodeReason> {
    let fields = &draft.fields;
    let (account, authority) = (fields.required("account-id")?, fields.required("authority-id")?);
    // The system's own schemas have a separate account; the trust check looks at who signed them.
    if account != authority && account != "system" {
        return Err(fields.error("authority-id", "must be the account of the schema").into());
    }
    let is_name = |text: &str| {
        scalars::is_dashed(text, |b| b.is_ascii_lowercase(), |b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    fields.matching("name", is_name, "must be lower case words with single dashes")?;
    if fields.map("views")?.is_none() {
        return Err(fields.error("views", "is missing").into());
    }
    fields.optional("summary")?;
    fields.date("timestamp")?;
    let body: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(draft.body).map_err(|_| DecodeReason::Body("is not a JSON object"))?;
    if body.contains_key("storage") { Ok(()) } else { Err(DecodeReason::Body("has no storage")) }
}

pub(super) fn cluster(fields: &Fields<'_>) -> Result<()> {
    fields.ordinal("sequence")?;
    let devices = fields.maps("devices")?;
    let mut ids = BTreeSet::new();
    for device in &devices {
        if !ids.insert(device.ordinal("id")?) {
            return Err(device.error("id", "is listed twice"));
        }
        device.matching("device", scalars::is_device_id, "must be serial, model and brand joined by dots")?;
        device.texts("addresses", any_text, "must be a text")?;
    }
    let subclusters = fields.maps("subclusters")?;
    let mut names = BTreeSet::new();
    for subcluster in &subclusters {
        unique(&mut names, subcluster, "name", subcluster.required("name")?)?;
        for id in subcluster.texts("devices", |id| scalars::integer(id).is_some(), "must be an integer")? {
            let known = id.parse().is_ok_and(|id: u32| ids.contains(&id));
            if !known {
                return Err(subcluster.error("devices", "names an unknown device"));
            }
        }
        for snap in subcluster.maps("snaps")? {
            snap.required("state")?;
            snap.one_of("state", &["clustered", "evacuated", "removed"])?;
            snap.required("instance")?;
            snap.required("channel")?;
        }
    }
    Ok(())
}
