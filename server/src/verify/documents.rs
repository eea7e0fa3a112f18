//! Checks the database's contents: assertions up to their anchors, revisions and releases against the assertions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use schema::api::admin::VerifyKind;
use schema::assertion::{Assertion, AssertionType, Checker, Details, KeyTime};

use super::Finding;
use crate::catalog::{Assertions, CompileError, anchors};
use crate::storage::owned::{Owner, Part};
use crate::storage::records::Snapshot;

/// What an assertion says about a file: snap, component, revision and size.
type Signed = (String, Option<String>, u32, u64);

/// Checks all rows. Blocks.
pub(super) fn check(snapshot: &Snapshot) -> Result<Vec<Finding>, CompileError> {
    let (proven, mut findings) = prove(snapshot)?;
    check_revisions(snapshot, &proven, &mut findings);
    check_releases(snapshot, &mut findings);
    Ok(findings)
}

/// Verifies assertions from the anchors up: one counts for others only once it is verified, so that no cycle can
/// vouch for itself.
fn prove(snapshot: &Snapshot) -> Result<(Assertions, Vec<Finding>), CompileError> {
    let anchors = anchors(snapshot)?;
    let mut proven = Assertions::default();
    let decoded = snapshot.assertions.iter().map(|record| record.decode().map_err(CompileError::Assertion));
    let mut open = decoded.collect::<Result<Vec<Arc<Assertion>>, _>>()?;
    // Those that others need come first, which saves rounds.
    open.sort_by_key(|assertion| match assertion.kind() {
        AssertionType::Account => 0,
        AssertionType::AccountKey => 1,
        AssertionType::SnapDeclaration | AssertionType::Model => 2,
        _ => 3,
    });
    loop {
        let (before, mut findings, mut left) = (open.len(), Vec::new(), Vec::new());
        for assertion in open {
            let checker = Checker { anchors: &anchors, source: &proven, time: KeyTime::DocumentTime };
            match checker.check(&assertion) {
                Ok(verified) => proven.add(verified.into_inner()),
                Err(error) => {
                    findings.push(Finding {
                        kind: VerifyKind::InvalidAssertion,
                        subject: assertion.reference().to_string(),
                        message: format!("An assertion does not verify ({error})"),
                        owners: owners(&assertion),
                    });
                    left.push(assertion);
                }
            }
        }
        if left.is_empty() || left.len() == before {
            return Ok((proven, findings));
        }
        open = left;
    }
}

/// The snap that an assertion is about.
fn owners(assertion: &Assertion) -> Vec<Owner> {
    let owner = |snap_id: &str, part| vec![Owner { snap_id: snap_id.to_owned(), part }];
    match assertion.details() {
        Details::SnapRevision(found) => owner(&found.snap_id, Part::Revision(found.snap_revision)),
        Details::SnapResourceRevision(found) => {
            owner(&found.snap_id, Part::Component(found.resource_name.clone(), found.resource_revision))
        }
        Details::SnapResourcePair(found) => owner(&found.snap_id, Part::Revision(found.snap_revision)),
        _ => Vec::new(),
    }
}

fn check_revisions(snapshot: &Snapshot, proven: &Assertions, findings: &mut Vec<Finding>) {
    let mut signed: HashMap<String, Vec<Signed>> = HashMap::new();
    let kinds = [AssertionType::SnapRevision, AssertionType::SnapResourceRevision];
    for assertion in kinds.into_iter().flat_map(|kind| proven.of_kind(kind)) {
        let (digest, says) = match assertion.details() {
            Details::SnapRevision(found) => {
                (&found.snap_sha3_384, (found.snap_id.clone(), None, found.snap_revision, found.snap_size))
            }
            Details::SnapResourceRevision(found) => {
                let name = Some(found.resource_name.clone());
                (
                    &found.resource_sha3_384,
                    (found.snap_id.clone(), name, found.resource_revision, found.resource_size),
                )
            }
            _ => continue,
        };
        signed.entry(digest.clone()).or_default().push(says);
    }
    let sizes: HashMap<_, u64> = snapshot.blobs.iter().map(|row| (row.digest, row.size)).collect();
    let snaps = snapshot.revisions.iter().map(|row| {
        let says = (row.snap_id.to_string(), None, row.revision, row.size);
        (row.blob, says, Part::Revision(row.revision))
    });
    let components = snapshot.components.iter().map(|row| {
        let says = (row.snap_id.to_string(), Some(row.name.clone()), row.revision, row.size);
        (row.blob, says, Part::Component(row.name.clone(), row.revision))
    });
    for (blob, says, part) in snaps.chain(components) {
        let is_signed = signed.get(&blob.to_base64url()).is_some_and(|signed| signed.contains(&says));
        let message = match (is_signed, sizes.get(&blob) == Some(&says.3)) {
            (true, true) => continue,
            (true, false) => "A file has another size than its revision",
            (false, _) => "A revision is not what a signed document says",
        };
        findings.push(Finding {
            kind: VerifyKind::UnsignedRevision,
            subject: blob.to_hex(),
            message: message.into(),
            owners: vec![Owner { snap_id: says.0, part }],
        });
    }
}

fn check_releases(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let held: HashSet<(&str, u32)> =
        snapshot.revisions.iter().map(|row| (row.snap_id.as_str(), row.revision)).collect();
    for row in &snapshot.releases {
        if held.contains(&(row.snap_id.as_str(), row.revision)) {
            continue;
        }
        findings.push(Finding {
            kind: VerifyKind::DanglingRelease,
            subject: format!("{} {}", row.channel, row.architecture),
            message: format!("A channel leads to revision {}, which is not held", row.revision),
            owners: vec![Owner { snap_id: row.snap_id.to_string(), part: Part::Revision(row.revision) }],
        });
    }
}

#[cfg(test)]
mod tests;
