//! Matches each file of a bundle with its signed revision, and compares them.

use std::collections::BTreeMap;

use schema::assertion::Details;
use schema::bundle::Metadata;
use schema::store::{NameError, SnapId, SnapName};

use super::documents::Documents;
use super::receive::{Bundle, ComponentFile, SnapFile};
use super::{ImportError, KnownState};

/// A snap file with its signed revision.
pub(super) struct Placed<'a> {
    pub(super) file: &'a SnapFile,
    pub(super) revision: u32,
    pub(super) held: bool,
    /// When it was signed.
    pub(super) created_at: String,
}

/// A component file with its signed revision.
pub(super) struct PlacedComponent<'a> {
    pub(super) file: &'a ComponentFile,
    pub(super) name: String,
    pub(super) revision: u32,
}

/// Everything in a bundle that belongs to one snap.
pub(super) struct SnapFiles<'a> {
    pub(super) name: SnapName,
    pub(super) snaps: BTreeMap<u32, Placed<'a>>,
    pub(super) components: BTreeMap<(String, u32), PlacedComponent<'a>>,
    pub(super) metadata: Option<&'a Metadata>,
}

impl SnapFiles<'_> {
    /// Nothing yet of the snap of this name.
    fn of(name: SnapName) -> Self {
        Self { name, snaps: BTreeMap::new(), components: BTreeMap::new(), metadata: None }
    }
}

/// Finds the signed revision of every file, grouped by snap.
pub(super) fn place_files<'a>(
    known: &dyn KnownState,
    documents: &Documents<'_>,
    bundle: &'a Bundle,
) -> Result<BTreeMap<SnapId, SnapFiles<'a>>, ImportError> {
    let mut parts: BTreeMap<SnapId, SnapFiles<'a>> = BTreeMap::new();
    for file in &bundle.snaps {
        let (snap_id, placed) = place_snap(known, documents, file)?;
        let part = parts.entry(snap_id).or_insert_with(|| SnapFiles::of(file.yaml.name.clone()));
        let (revision, digest) = (placed.revision, file.blob.digest);
        if let Some(other) = part.snaps.insert(revision, placed)
            && other.file.blob.digest != digest
        {
            return Err(conflict(&file.name, &part.name, revision));
        }
    }
    for file in &bundle.components {
        let (snap_id, placed) = place_component(known, documents, file)?;
        let part = parts.entry(snap_id).or_insert_with(|| SnapFiles::of(file.yaml.snap.clone()));
        let (at, digest) = ((placed.name.clone(), placed.revision), file.blob.digest);
        if let Some(other) = part.components.insert(at, placed)
            && other.file.blob.digest != digest
        {
            return Err(conflict(&file.name, file.yaml.name.as_str(), 0));
        }
    }
    Ok(parts)
}

/// Finds a snap file's signed revision and compares all their fields.
fn place_snap<'a>(
    known: &dyn KnownState,
    documents: &Documents<'_>,
    file: &'a SnapFile,
) -> Result<(SnapId, Placed<'a>), ImportError> {
    const SIGNED_BY: &str = "snap-revision";
    let digest = file.blob.digest.to_base64url();
    let found = documents.snap_revisions(&digest, &file.yaml.provenance);
    let details = |found: &std::sync::Arc<schema::assertion::Assertion>| match found.details() {
        Details::SnapRevision(revision) => Some(revision.clone()),
        _ => None,
    };
    let revisions: Vec<_> = found.iter().filter_map(details).collect();
    let Some(revision) = revisions.iter().find(|found| found.provenance == file.yaml.provenance) else {
        return Err(match revisions.first() {
            Some(other) => {
                mismatch(&file.name, "provenance", &file.yaml.provenance, &other.provenance, SIGNED_BY)
            }
            None => ImportError::Unsigned { file: file.name.clone(), digest },
        });
    };
    if revision.snap_size != file.blob.size {
        return Err(mismatch(&file.name, "size", file.blob.size, revision.snap_size, SIGNED_BY));
    }
    check_number(&file.name, revision.snap_revision)?;
    let snap_id = check_declaration(documents, &file.name, &revision.snap_id, file.yaml.name.as_str())?;
    let held = known.revision(&revision.snap_id, revision.snap_revision);
    if held.as_ref().is_some_and(|held| held.blob != file.blob.digest) {
        return Err(conflict(&file.name, file.yaml.name.as_str(), revision.snap_revision));
    }
    let placed = Placed {
        file,
        revision: revision.snap_revision,
        held: held.is_some(),
        created_at: super::rfc3339(revision.timestamp),
    };
    Ok((snap_id, placed))
}

/// As [`place_snap`], for a component.
fn place_component<'a>(
    known: &dyn KnownState,
    documents: &Documents<'_>,
    file: &'a ComponentFile,
) -> Result<(SnapId, PlacedComponent<'a>), ImportError> {
    const SIGNED_BY: &str = "snap-resource-revision";
    let digest = file.blob.digest.to_base64url();
    let found = documents.resource_revisions(&digest);
    let revisions: Vec<_> = found
        .iter()
        .filter_map(|found| match found.details() {
            Details::SnapResourceRevision(revision) => Some(revision.clone()),
            _ => None,
        })
        .collect();
    let Some(revision) = revisions.iter().find(|found| found.provenance == file.yaml.provenance) else {
        return Err(match revisions.first() {
            Some(other) => {
                mismatch(&file.name, "provenance", &file.yaml.provenance, &other.provenance, SIGNED_BY)
            }
            None => ImportError::Unsigned { file: file.name.clone(), digest },
        });
    };
    if revision.resource_size != file.blob.size {
        return Err(mismatch(&file.name, "size", file.blob.size, revision.resource_size, SIGNED_BY));
    }
    if revision.resource_name != file.yaml.name.as_str() {
        return Err(mismatch(&file.name, "name", &file.yaml.name, &revision.resource_name, SIGNED_BY));
    }
    check_number(&file.name, revision.resource_revision)?;
    let snap_id = check_declaration(documents, &file.name, &revision.snap_id, file.yaml.snap.as_str())?;
    let held = known.component(&revision.snap_id, &revision.resource_name, revision.resource_revision);
    if held.is_some_and(|held| held != file.blob.digest) {
        return Err(conflict(&file.name, &revision.resource_name, revision.resource_revision));
    }
    let placed =
        PlacedComponent { file, name: revision.resource_name.clone(), revision: revision.resource_revision };
    Ok((snap_id, placed))
}

/// The file belongs to the snap whose name it has, and that snap is not revoked.
fn check_declaration(
    documents: &Documents<'_>,
    file: &str,
    snap_id: &str,
    name: &str,
) -> Result<SnapId, ImportError> {
    let invalid = |error: NameError| ImportError::Invalid { file: file.into(), what: error.to_string() };
    let id: SnapId = snap_id.parse().map_err(invalid)?;
    // A verified revision has a declaration; a missing one counts as one for another snap.
    let found = documents.declaration(snap_id);
    let declared = match found.as_ref().map(|found| found.details()) {
        Some(Details::SnapDeclaration(declaration)) => declaration.snap_name.as_str(),
        _ => "",
    };
    match declared {
        "" => Err(ImportError::Revoked { file: file.into(), snap_id: snap_id.into() }),
        declared if declared == name => Ok(id),
        declared => Err(mismatch(file, "snap name", name, declared, "snap-declaration")),
    }
}

/// A revision number must fit what every device can hold: a signed 32-bit number.
fn check_number(file: &str, revision: u32) -> Result<(), ImportError> {
    match i32::try_from(revision) {
        Ok(1..) => Ok(()),
        _ => Err(ImportError::Invalid {
            file: file.into(),
            what: format!("revision {revision} is out of range"),
        }),
    }
}

/// Adds the store's metadata of a snap; ignored with a warning if the snap is not here.
pub(super) fn place_metadata<'a>(
    known: &dyn KnownState,
    metadata: &'a Metadata,
    parts: &mut BTreeMap<SnapId, SnapFiles<'a>>,
    warnings: &mut Vec<String>,
) -> Result<(), ImportError> {
    let snap_id = &metadata.snap_id;
    if !parts.contains_key(snap_id) {
        let Some(held) = known.snap(snap_id) else {
            warnings.push(format!("Ignored the metadata of {}: no revision of it was pushed", metadata.name));
            return Ok(());
        };
        parts.insert(snap_id.clone(), SnapFiles::of(held.name));
    }
    let Some(part) = parts.get_mut(snap_id) else { return Ok(()) };
    if part.name != metadata.name.as_str() {
        return Err(ImportError::OtherSnap {
            snap_id: snap_id.to_string(),
            metadata: metadata.name.to_string(),
            declared: part.name.to_string(),
        });
    }
    if part.metadata.replace(metadata).is_some() {
        return Err(ImportError::Bundle(schema::bundle::BundleError::Form(
            "the bundle has two metadata.json for one snap",
        )));
    }
    Ok(())
}

fn mismatch(
    file: &str,
    what: &'static str,
    found: impl ToString,
    signed: impl ToString,
    signed_by: &'static str,
) -> ImportError {
    let (file, found, signed) = (file.to_owned(), found.to_string(), signed.to_string());
    ImportError::Mismatch { file, what, found, signed, signed_by }
}

fn conflict(file: &str, name: &str, revision: u32) -> ImportError {
    ImportError::Conflict { file: file.to_owned(), name: name.to_owned(), revision }
}
