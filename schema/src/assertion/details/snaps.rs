//! `snap-declaration`, `snap-revision`, `snap-build` and `snap-developer`: who publishes a snap, and which files are
//! its revisions.
//!
//! Interface rules in `plugs` and `slots` are not checked: a trusted authority signed them, and only devices evaluate
//! them. Checking them would reject future declarations.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::unique;
use crate::assertion::fields::{Fields, Result};
use crate::assertion::scalars;

/// Name and publisher of a snap.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct SnapDeclaration {
    pub series: String,
    pub snap_id: String,
    /// Empty when the declaration is revoked; devices refuse to install such a snap.
    pub snap_name: String,
    pub publisher_id: String,
    /// The ids of the snaps whose refreshes this one gates.
    pub refresh_control: Vec<String>,
    pub revision_authority: Vec<RevisionAuthority>,
    pub timestamp: OffsetDateTime,
}

/// An account that may sign revisions of a snap.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct RevisionAuthority {
    pub account_id: String,
    pub provenance: Vec<String>,
    pub min_revision: u32,
    pub max_revision: Option<u32>,
    pub on_store: Vec<String>,
    pub on_brand: Vec<String>,
    /// `brand/model`.
    pub on_model: Vec<String>,
}

/// One file of a snap.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct SnapRevision {
    /// Digest of the file in base64url.
    pub snap_sha3_384: String,
    pub provenance: String,
    pub snap_id: String,
    /// Size of the file in bytes.
    pub snap_size: u64,
    pub snap_revision: u32,
    pub developer_id: String,
    pub timestamp: OffsetDateTime,
}

pub(super) fn snap_declaration(fields: &Fields<'_>) -> Result<SnapDeclaration> {
    let snap_name = fields.present("snap-name")?.to_owned();
    let publisher_id = fields.required("publisher-id")?.to_owned();
    let timestamp = fields.date("timestamp")?;
    for rules in ["plugs", "slots"] {
        fields.map(rules)?;
    }
    fields.texts("auto-aliases", scalars::is_alias, "must be an alias")?;
    let mut names = BTreeSet::new();
    for alias in fields.maps("aliases")? {
        unique(&mut names, &alias, "name", alias.matching("name", scalars::is_alias, "must be an alias")?)?;
        alias.matching("target", scalars::is_words, "must be an application name")?;
    }
    Ok(SnapDeclaration {
        series: fields.required("series")?.to_owned(),
        snap_id: fields.required("snap-id")?.to_owned(),
        snap_name,
        publisher_id,
        refresh_control: fields.texts("refresh-control", |id| !id.is_empty(), "must be a snap id")?,
        revision_authority: fields
            .maps("revision-authority")?
            .iter()
            .map(revision_authority)
            .collect::<Result<_>>()?,
        timestamp,
    })
}

fn revision_authority(fields: &Fields<'_>) -> Result<RevisionAuthority> {
    let account_id = fields.account_id("account-id")?.to_owned();
    let provenance = fields.texts("provenance", scalars::is_words, "must be a provenance")?;
    if provenance.is_empty() {
        return Err(fields.error("provenance", "is missing"));
    }
    let min_revision = fields.count("min-revision", 1)?.unwrap_or(1);
    let max_revision = fields.count("max-revision", 1)?;
    if max_revision.is_some_and(|max| max < min_revision) {
        return Err(fields.error("max-revision", "must not be below min-revision"));
    }
    let is_brand_model = |text: &str| {
        text.split_once('/')
            .is_some_and(|(brand, model)| scalars::is_account_id(brand) && scalars::is_words(model))
    };
    Ok(RevisionAuthority {
        account_id,
        provenance,
        min_revision,
        max_revision,
        on_store: fields.texts("on-store", scalars::is_store_id, "must be a store id")?,
        on_brand: fields.account_ids("on-brand")?,
        on_model: fields.texts("on-model", is_brand_model, "must be brand and model")?,
    })
}

pub(super) fn snap_revision(fields: &Fields<'_>) -> Result<SnapRevision> {
    integrity(fields)?;
    Ok(SnapRevision {
        snap_sha3_384: fields.digest("snap-sha3-384")?.to_owned(),
        provenance: provenance(fields)?,
        snap_id: fields.required("snap-id")?.to_owned(),
        snap_size: fields.unsigned("snap-size")?,
        snap_revision: fields.ordinal("snap-revision")?,
        developer_id: fields.required("developer-id")?.to_owned(),
        timestamp: fields.date("timestamp")?,
    })
}

pub(super) fn provenance(fields: &Fields<'_>) -> Result<String> {
    Ok(fields.matching("provenance", scalars::is_words, "must be a provenance")?.to_owned())
}

/// Data with which devices mount a file under the control of the kernel.
pub(super) fn integrity(fields: &Fields<'_>) -> Result<()> {
    let is_hex = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    for entry in fields.maps("integrity")? {
        entry.required("type")?;
        entry.one_of("type", &["dm-verity"])?;
        if entry.unsigned("version")? != 1 {
            return Err(entry.error("version", "must be 1"));
        }
        entry.required("hash-algorithm")?;
        entry.one_of("hash-algorithm", &["sha256"])?;
        entry.unsigned("data-block-size")?;
        entry.unsigned("hash-block-size")?;
        entry.matching("digest", is_hex, "must be 64 hexadecimal digits")?;
        entry.matching("salt", is_hex, "must be 64 hexadecimal digits")?;
    }
    Ok(())
}

pub(super) fn snap_build(fields: &Fields<'_>) -> Result<()> {
    fields.digest("snap-sha3-384")?;
    fields.required("snap-id")?;
    fields.required("grade")?;
    fields.unsigned("snap-size")?;
    fields.date("timestamp")?;
    Ok(())
}

pub(super) fn snap_developer(fields: &Fields<'_>) -> Result<()> {
    let developers = fields.maps("developers")?;
    let (mut all, mut revoked) = (BTreeSet::new(), BTreeSet::new());
    for developer in &developers {
        let id = developer.account_id("developer-id")?;
        let (since, until) = super::accounts::validity(developer)?;
        let again = !all.insert(id);
        if until == Some(since) {
            revoked.insert(id);
        }
        if again && revoked.contains(id) {
            return Err(developer.error("developer-id", "is revoked and has other entries"));
        }
    }
    Ok(())
}
