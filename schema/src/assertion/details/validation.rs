//! `validation` and `validation-set`: snap revisions that were tested together.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::unique;
use crate::assertion::fields::{Fields, Result};
use crate::assertion::headers::HeaderValue;
use crate::assertion::scalars;

/// The publisher of a gating snap approves a revision of another one.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct Validation {
    pub series: String,
    /// The gating snap.
    pub snap_id: String,
    pub approved_snap_id: String,
    pub approved_snap_revision: u32,
    pub revoked: bool,
    pub timestamp: OffsetDateTime,
}

/// Snaps that belong together.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct ValidationSet {
    pub series: String,
    pub account_id: String,
    pub name: String,
    pub sequence: u32,
    pub snaps: Vec<ValidationSetSnap>,
    pub timestamp: OffsetDateTime,
}

/// A snap of a [`ValidationSet`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct ValidationSetSnap {
    pub name: String,
    pub id: String,
    /// `required`, `optional` or `invalid`.
    pub presence: String,
    pub revision: Option<u32>,
}

const PRESENCES: [&str; 3] = ["required", "optional", "invalid"];

pub(super) fn validation(fields: &Fields<'_>) -> Result<Validation> {
    Ok(Validation {
        series: fields.required("series")?.to_owned(),
        snap_id: fields.required("snap-id")?.to_owned(),
        approved_snap_id: fields.required("approved-snap-id")?.to_owned(),
        approved_snap_revision: fields.ordinal("approved-snap-revision")?,
        revoked: fields.flag("revoked")?,
        timestamp: fields.date("timestamp")?,
    })
}

pub(super) fn validation_set(fields: &Fields<'_>) -> Result<ValidationSet> {
    let account_id = fields.required("account-id")?;
    if fields.required("authority-id")? != account_id {
        return Err(fields.error("authority-id", "must be the account of the set"));
    }
    let name = set_name(fields)?.to_owned();
    let sequence = fields.ordinal("sequence")?;
    let entries = fields.required_maps("snaps")?;
    let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let mut snaps = Vec::with_capacity(entries.len());
    for entry in &entries {
        snaps.push(set_snap(entry)?);
        unique(&mut names, entry, "name", entry.required("name")?)?;
        unique(&mut ids, entry, "id", entry.required("id")?)?;
    }
    Ok(ValidationSet {
        series: fields.required("series")?.to_owned(),
        account_id: account_id.to_owned(),
        name,
        sequence,
        snaps,
        timestamp: fields.date("timestamp")?,
    })
}

pub(super) fn set_name<'a>(fields: &Fields<'a>) -> Result<&'a str> {
    fields.matching("name", scalars::is_model_name, "must be lower case words with single dashes")
}

fn set_snap(fields: &Fields<'_>) -> Result<ValidationSetSnap> {
    let presence = fields.one_of("presence", &PRESENCES)?.unwrap_or("required");
    let revision = fields.count("revision", 1)?;
    if presence == "invalid" && revision.is_some() {
        return Err(fields.error("revision", "must not be there for an invalid snap"));
    }
    if let Some(components) = fields.map("components")? {
        for component in components.names() {
            set_component(&components, component, presence == "invalid", revision.is_some())?;
        }
    }
    Ok(ValidationSetSnap {
        name: fields.snap_name("name")?.to_owned(),
        id: fields.matching("id", scalars::is_snap_id, "must be a snap id")?.to_owned(),
        presence: presence.to_owned(),
        revision,
    })
}

/// A component is a presence, or a map of presence and revision; it has a revision exactly when its snap has one.
fn set_component(
    components: &Fields<'_>,
    name: &str,
    invalid_snap: bool,
    snap_has_revision: bool,
) -> Result<()> {
    if !scalars::is_snap_name(name) {
        return Err(components.error(name, "is not a component name"));
    }
    let (presence, revision) = match components.get(name) {
        Some(HeaderValue::Map(_)) => match components.map(name)? {
            Some(entry) => {
                entry.required("presence")?;
                (entry.one_of("presence", &PRESENCES)?, entry.count("revision", 1)?)
            }
            None => (None, None),
        },
        _ => (components.one_of(name, &PRESENCES)?, None),
    };
    let invalid = invalid_snap || presence == Some("invalid");
    match (invalid, revision.is_some(), snap_has_revision) {
        (true, true, _) => Err(components.error(name, "must not have a revision when it is invalid")),
        (false, true, false) => {
            Err(components.error(name, "must not have a revision when the snap has none"))
        }
        (false, false, true) => Err(components.error(name, "must have a revision because the snap has one")),
        _ => Ok(()),
    }
}
