//! `model`: what a brand builds, which store serves it and who may sign its serials.
//!
//! There are classic and core models. Both are either plain (snaps named by `gadget`, `kernel`, `required-snaps`) or
//! extended (all snaps listed in `snaps`).

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::model_snaps;
use super::validation::set_name;
use crate::assertion::fields::{Fields, Result};
use crate::assertion::scalars;

/// A model.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct Model {
    pub series: String,
    pub brand_id: String,
    pub model: String,
    pub display_name: Option<String>,
    /// The store of the devices; `None` is the default store.
    pub store: Option<String>,
    /// Accounts besides the brand that may sign serials.
    pub serial_authority: Vec<String>,
    pub architecture: Option<String>,
    pub base: Option<String>,
    pub classic: bool,
    pub grade: Option<String>,
    pub validation_sets: Vec<ModelValidationSet>,
    pub timestamp: OffsetDateTime,
}

/// A validation-set that a [`Model`] asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct ModelValidationSet {
    pub account_id: String,
    pub name: String,
    /// Pinned sequence point; `None` is the latest.
    pub sequence: Option<u32>,
    /// `enforce` or `prefer-enforce`.
    pub mode: String,
}

impl Model {
    /// Whether an account may sign serials of this model.
    #[must_use]
    pub fn allows_serial_authority(&self, account_id: &str) -> bool {
        self.brand_id == account_id || self.serial_authority.iter().any(|listed| listed == account_id)
    }
}

pub(super) fn model(fields: &Fields<'_>) -> Result<Model> {
    let brand_id = fields.required("brand-id")?;
    if fields.required("authority-id")? != brand_id {
        return Err(fields.error("authority-id", "must be the brand"));
    }
    let model = fields.model_name("model")?.to_owned();
    let timestamp = fields.date("timestamp")?;
    let serial_authority = fields.account_ids("serial-authority")?;
    if fields.get("system-user-authority").and_then(|value| value.as_text()) != Some("*") {
        fields.account_ids("system-user-authority")?;
    }
    fields.account_ids("preseed-authority")?;

    let classic = fields.flag("classic")?;
    let extended = fields.has("snaps");
    let grade = fields.one_of("grade", &["secured", "signed", "dangerous"])?;
    let base = fields.optional_matching("base", scalars::is_snap_name, "must be a snap name")?;
    let architecture = fields.optional("architecture")?;
    if (extended || !classic) && architecture.is_none_or(str::is_empty) {
        return Err(fields.error("architecture", "is missing"));
    }
    distribution(fields, classic && extended)?;
    if extended {
        for plain in ["gadget", "kernel", "required-snaps"] {
            fields.forbid(plain, "must not be there together with snaps")?;
        }
        if base.is_none() {
            return Err(fields.error("base", "is missing"));
        }
        storage_safety(fields, grade)?;
        model_snaps::check(fields, classic, grade == Some("dangerous"), base)?;
    } else {
        plain_snaps(fields, classic)?;
    }
    Ok(Model {
        series: fields.required("series")?.to_owned(),
        brand_id: brand_id.to_owned(),
        model,
        display_name: fields.optional("display-name")?.map(str::to_owned),
        store: fields.optional("store")?.filter(|store| !store.is_empty()).map(str::to_owned),
        serial_authority,
        architecture: architecture.map(str::to_owned),
        base: base.map(str::to_owned),
        classic,
        grade: grade.map(str::to_owned),
        validation_sets: validation_sets(fields, brand_id)?,
        timestamp,
    })
}

fn distribution(fields: &Fields<'_>, wanted: bool) -> Result<()> {
    if !wanted {
        return fields.forbid("distribution", "is only for classic models with snaps");
    }
    let is_distribution = |text: &str| {
        text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    fields.matching("distribution", is_distribution, "must be the id of a distribution").map(drop)
}

fn storage_safety(fields: &Fields<'_>, grade: Option<&str>) -> Result<()> {
    let safety = fields.one_of("storage-safety", &["encrypted", "prefer-encrypted", "prefer-unencrypted"])?;
    if grade == Some("secured") && safety.is_some_and(|safety| safety != "encrypted") {
        return Err(fields.error("storage-safety", "must be encrypted for grade secured"));
    }
    Ok(())
}

/// A model without `snaps`.
fn plain_snaps(fields: &Fields<'_>, classic: bool) -> Result<()> {
    for extended in ["grade", "storage-safety"] {
        fields.forbid(extended, "needs snaps")?;
    }
    let problem = "must be a snap name, or name=track";
    let gadget = fields.optional_matching("gadget", is_snap_and_track, problem)?;
    let kernel = fields.optional_matching("kernel", is_snap_and_track, problem)?;
    fields.texts("required-snaps", scalars::is_snap_name, "must be a snap name")?;
    if classic {
        fields.forbid("kernel", "must not be there in a classic model")?;
        return fields.forbid("base", "must not be there in a classic model without snaps");
    }
    match (gadget, kernel) {
        (None, _) => Err(fields.error("gadget", "is missing")),
        (_, None) => Err(fields.error("kernel", "is missing")),
        _ => Ok(()),
    }
}

fn is_snap_and_track(text: &str) -> bool {
    match text.split_once('=') {
        None => scalars::is_snap_name(text),
        Some((name, track)) => {
            scalars::is_snap_name(name)
                && !track.is_empty()
                && !track.contains('/')
                && !model_snaps::is_risk(track)
        }
    }
}

fn validation_sets(fields: &Fields<'_>, brand_id: &str) -> Result<Vec<ModelValidationSet>> {
    let mut seen = BTreeSet::new();
    let mut sets = Vec::new();
    for entry in fields.maps("validation-sets")? {
        let account_id = if entry.has("account-id") {
            entry.account_id("account-id")?.to_owned()
        } else {
            brand_id.to_owned()
        };
        let name = set_name(&entry)?.to_owned();
        entry.required("mode")?;
        let mode = entry.one_of("mode", &["enforce", "prefer-enforce"])?.unwrap_or_default().to_owned();
        if !seen.insert((account_id.clone(), name.clone())) {
            return Err(entry.error("name", "is listed twice"));
        }
        sets.push(ModelValidationSet { account_id, name, sequence: entry.count("sequence", 1)?, mode });
    }
    Ok(sets)
}
