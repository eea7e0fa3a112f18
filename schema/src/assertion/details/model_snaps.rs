//! The `snaps` of an extended model.

use std::collections::BTreeSet;

use super::unique;
use crate::assertion::fields::{Fields, Result};
use crate::assertion::headers::HeaderValue;
use crate::assertion::scalars;

/// Bases that need no entry of their own, because their ids are well known.
const KNOWN_BASES: [&str; 6] = ["core", "core16", "core18", "core20", "core22", "core24"];

const TYPES: [&str; 6] = ["app", "base", "gadget", "kernel", "core", "snapd"];
const PRESENCES: [&str; 2] = ["required", "optional"];

/// Checks all entries and that the essential snaps are there.
pub(super) fn check(fields: &Fields<'_>, classic: bool, dangerous: bool, base: Option<&str>) -> Result<()> {
    let entries = fields.required_maps("snaps")?;
    let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let mut singles = BTreeSet::new();
    let mut base_listed = false;
    for entry in &entries {
        let name = entry.snap_name("name")?;
        unique(&mut names, entry, "name", name)?;
        match entry.optional_matching("id", scalars::is_snap_id, "must be a snap id")? {
            Some(id) => unique(&mut ids, entry, "id", id)?,
            None if !dangerous => {
                return Err(entry.error("id", "is missing; only grade dangerous does without"));
            }
            None => {}
        }
        let kind = entry.one_of("type", &TYPES)?.unwrap_or("app");
        let is_boot_base = Some(name) == base;
        if is_boot_base {
            base_listed = true;
            if kind != "base" {
                return Err(entry.error("type", "must be base for the base of the model"));
            }
        }
        if ["snapd", "kernel", "gadget"].contains(&kind) {
            unique(&mut singles, entry, "type", kind)?;
        }
        snap(entry, classic, kind, is_boot_base || ["snapd", "kernel", "gadget"].contains(&kind))?;
    }
    let needed: &[&str] = if !classic {
        &["gadget", "kernel"]
    } else if singles.contains("kernel") {
        &["gadget"]
    } else {
        &[]
    };
    if let Some(missing) = needed.iter().find(|kind| !singles.contains(**kind)) {
        return Err(fields.error("snaps", format!("must list a {missing}")));
    }
    if !base_listed && !dangerous && base.is_some_and(|base| !KNOWN_BASES.contains(&base)) {
        return Err(fields.error("snaps", "must list the base of the model"));
    }
    Ok(())
}

fn snap(entry: &Fields<'_>, classic_model: bool, kind: &str, essential: bool) -> Result<()> {
    let is_mode = |mode: &str| {
        mode.len() > 2
            && mode.starts_with(|first: char| first.is_ascii_lowercase())
            && mode.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    if essential {
        for name in ["presence", "modes"] {
            entry.forbid(name, "must not be there for an essential snap")?;
        }
    }
    entry.one_of("presence", &PRESENCES)?;
    let modes = entry.texts("modes", is_mode, "must be a mode")?;
    entry.optional_matching("default-channel", has_explicit_track, "must be a channel with its track")?;
    if entry.flag("classic")? && !(classic_model && kind == "app" && modes.iter().all(|mode| mode == "run")) {
        return Err(entry.error("classic", "is only for applications of classic models in run mode"));
    }
    match entry.map("components")? {
        Some(components) => components.names().try_for_each(|name| component(&components, name, &modes)),
        None => Ok(()),
    }
}

/// A presence, or a map of presence and modes.
fn component(components: &Fields<'_>, name: &str, snap_modes: &[String]) -> Result<()> {
    if !scalars::is_snap_name(name) {
        return Err(components.error(name, "is not a component name"));
    }
    let Some(HeaderValue::Map(_)) = components.get(name) else {
        return components.one_of(name, &PRESENCES).map(drop);
    };
    let Some(entry) = components.map(name)? else {
        return Ok(());
    };
    entry.required("presence")?;
    entry.one_of("presence", &PRESENCES)?;
    if let Some(other) = entry.names().find(|name| !["presence", "modes"].contains(name)) {
        return Err(entry.error(other, "is not known for a component"));
    }
    let modes = entry.texts("modes", |_| true, "must be a mode")?;
    // A snap without modes runs in run mode.
    let is_run_only = |mode: &String| snap_modes.is_empty() && mode == "run";
    if modes.iter().all(|mode| snap_modes.contains(mode) || is_run_only(mode)) {
        Ok(())
    } else {
        Err(entry.error("modes", "must be modes of the snap"))
    }
}

pub(super) fn is_risk(text: &str) -> bool {
    ["stable", "candidate", "beta", "edge"].contains(&text)
}

/// `track`, `track/risk` or `track/risk/branch`.
fn has_explicit_track(text: &str) -> bool {
    let parts: Vec<_> = text.split('/').collect();
    parts.len() <= 3
        && parts.iter().all(|part| !part.is_empty())
        && !is_risk(parts[0])
        && parts.get(1).is_none_or(|risk| is_risk(risk))
}
