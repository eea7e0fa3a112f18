//! The auditor: everything in the store, checked again from the bytes up.
//!
//! What the database holds is read in one moment and checked without believing that it was checked before; every
//! blob that a row owns is read in full. A blob that is not what its name says is marked, so that devices get 503
//! and not a part of it, until the same revision is pushed again.

mod documents;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use schema::api::admin::{Affected, VerifyKind, VerifyProblem, VerifyReport};
use schema::digest::Sha3_384;
use tracing::{info, warn};

use crate::catalog::CompileError;
use crate::storage::blobs::BlobError;
use crate::storage::error::StorageError;
use crate::storage::owned::{Owner, Part};
use crate::storage::records::{BlobRecord, Snapshot};
use crate::store::Store;

/// Why the store cannot be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum VerifyError {
    /// The database does not say what is in the store.
    #[error("cannot read what is in the store")]
    Storage(#[from] StorageError),
    /// Nobody knows where trust ends.
    #[error("cannot tell what is trusted")]
    Anchors(#[from] CompileError),
    /// A thread was cut off.
    #[error("cannot finish the check of the documents")]
    CutOff(#[from] tokio::task::JoinError),
}

/// Checks everything. Reads as many files at once as there are processors; a caller that goes away ends it.
pub(crate) async fn verify(store: &Store) -> Result<VerifyReport, VerifyError> {
    let snapshot = Arc::new(store.database().load().await?);
    let documents = {
        let snapshot = Arc::clone(&snapshot);
        tokio::task::spawn_blocking(move || documents::check(&snapshot)).await??
    };
    let owned = snapshot.owned_blobs();
    let rows: BTreeMap<Sha3_384, &BlobRecord> = snapshot.blobs.iter().map(|row| (row.digest, row)).collect();
    // The picture of a snap may never have been carried in; a revision cannot be without its row.
    let blobs: Vec<(&BlobRecord, &[Owner])> =
        owned.iter().filter_map(|(digest, owners)| Some((*rows.get(digest)?, owners.as_slice()))).collect();
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    // Each is made before the stream runs, so that none of them borrows from the iterator that makes it.
    let checks: Vec<_> = blobs.iter().map(|(record, owners)| check_blob(store, record, owners)).collect();
    let found: Vec<Option<Finding>> = stream::iter(checks).buffer_unordered(at_once).collect().await;

    let names = Names::new(&snapshot);
    let findings = documents.into_iter().chain(found.into_iter().flatten());
    let mut problems: Vec<VerifyProblem> = findings.map(|finding| names.problem(finding)).collect();
    problems.sort();
    let report = VerifyReport {
        blobs: blobs.len(),
        bytes: blobs.iter().map(|(record, _)| record.size).sum(),
        assertions: snapshot.assertions.len(),
        revisions: snapshot.revisions.len() + snapshot.components.len(),
        releases: snapshot.releases.len(),
        problems,
    };
    match report.problems.len() {
        0 => info!(blobs = report.blobs, "Verified the store: all is well"),
        problems => warn!(problems, "Verified the store: {problems} problems"),
    }
    Ok(report)
}

/// Something wrong, and whose it is.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    kind: VerifyKind,
    subject: String,
    message: String,
    owners: Vec<Owner>,
}

/// Reads a blob in full and lets devices have it, or not any more.
async fn check_blob(store: &Store, record: &BlobRecord, owners: &[Owner]) -> Option<Finding> {
    let is_whole = || store.blobs().is_whole(record.digest, record.size);
    let finding =
        |kind, message| Finding { kind, subject: record.digest.to_hex(), message, owners: owners.to_vec() };
    let unreadable = |error: BlobError| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Some(finding(VerifyKind::UnreadableBlob, format!("{error}{cause}")))
    };
    let mark = |damaged| {
        if let Some(blob) = store.catalog().blob(&record.digest) {
            if damaged { blob.checks.mark_damaged() } else { blob.checks.look_anew() }
        }
    };
    let mut whole = is_whole().await;
    if matches!(whole, Ok(false)) {
        mark(true);
        // An import that heals it may have come between: then the mark must not be the last word.
        whole = is_whole().await;
    }
    match whole {
        Ok(true) => {
            mark(false);
            None
        }
        Ok(false) => Some(finding(
            VerifyKind::DamagedBlob,
            "A file is missing or damaged, push its snap again (`proxy push-snap`)".into(),
        )),
        Err(error) => unreadable(error),
    }
}

/// What snaps are called, and where they are served.
struct Names<'a> {
    snaps: BTreeMap<&'a str, (&'a str, BTreeSet<&'a String>)>,
}

impl<'a> Names<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let mut snaps: BTreeMap<&str, (&str, BTreeSet<&String>)> = BTreeMap::new();
        for snap in &snapshot.snaps {
            snaps.insert(&snap.snap_id, (&snap.name, snap.stores.iter().collect()));
        }
        for store in &snapshot.stores {
            for grant in &store.grants {
                if let Some((_, stores)) = snaps.get_mut(grant.snap_id.as_str()) {
                    stores.insert(&store.store_id);
                }
            }
        }
        Self { snaps }
    }

    fn problem(&self, Finding { kind, subject, message, owners }: Finding) -> VerifyProblem {
        let mut affected: Vec<Affected> = owners.into_iter().map(|owner| self.affected(owner)).collect();
        affected.sort();
        VerifyProblem { kind, subject, message, affected }
    }

    fn affected(&self, Owner { snap_id, part }: Owner) -> Affected {
        let (name, stores) = self.snaps.get(snap_id.as_str()).cloned().unwrap_or_default();
        let (revision, component) = match part {
            Part::Revision(revision) => (Some(revision), None),
            Part::Component(name, revision) => (None, Some(format!("{name} {revision}"))),
            Part::Icon => (None, None),
        };
        let stores = stores.into_iter().cloned().collect();
        Affected { snap: name.to_owned(), snap_id, revision, component, stores }
    }
}
