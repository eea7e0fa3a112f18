//! Checks everything in the store again, from the bytes up.
//!
//! The database is read in one snapshot, and earlier verification is not trusted. Every blob that a row owns is read
//! in full, in parallel and at a limited rate. A blob that does not match its name is set aside, so that devices get
//! 503 instead of a part of it until the revision is pushed again. The audit log's chain is verified to its end.

pub(crate) mod blobs;
mod documents;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use schema::api::admin::{Affected, AuditHead, VerifyKind, VerifyProblem, VerifyProgress, VerifyReport};
use schema::digest::Sha3_384;
use schema::store::StoreId;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::catalog::CompileError;
use crate::clock;
use crate::rounds::{Finished, Round, Rounds};
use crate::site::Site;
use crate::storage::blobs::Pace;
use crate::storage::error::StorageError;
use crate::storage::owned::{Owner, Part};
use crate::storage::records::Origin;
use crate::storage::records::{BlobRecord, Snapshot};

/// How often a round saves its progress.
const SAVED: Duration = Duration::from_secs(5);

/// Why the store cannot be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum VerifyError {
    /// The database cannot be read.
    #[error("cannot read what is in the store")]
    Storage(#[from] StorageError),
    /// The trust anchors are unusable.
    #[error("cannot tell what is trusted")]
    Anchors(#[from] CompileError),
    /// A thread failed.
    #[error("cannot finish the check of the documents")]
    CutOff(#[from] tokio::task::JoinError),
}

/// How files are read.
pub(crate) struct Reader {
    /// MB per second for all readers together; none or 0 for no limit.
    pub(crate) rate: Option<u64>,
    /// Files read at once.
    pub(crate) at_once: usize,
    /// Continue an interrupted round.
    pub(crate) resume: bool,
}

/// The progress of a check.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pace: std::sync::OnceLock<Arc<Pace>>,
    passed: AtomicU64,
    total: AtomicU64,
}

impl Meter {
    /// How far it is.
    pub(crate) fn progress(&self) -> VerifyProgress {
        let read = self.pace.get().map_or(0, |pace| pace.bytes_read());
        VerifyProgress {
            bytes: self.passed.load(Ordering::Relaxed) + read,
            total: self.total.load(Ordering::Relaxed),
        }
    }
}

/// Ends the reading in blocking threads when nobody waits for it any more.
pub(crate) struct StopWhenDropped(pub(crate) Arc<Pace>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Saves a round's progress, also when it is interrupted.
struct SaveWhenDropped<'a>(&'a Rounds);

impl Drop for SaveWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.save();
    }
}

/// Like [`run`], for an operator: the background check makes way.
pub(crate) async fn verify(
    store: &Site,
    reader: &Reader,
    meter: &Meter,
    audit_head: Option<&AuditHead>,
) -> Result<VerifyReport, VerifyError> {
    // Kept until somebody waits for it, so that a check which is just starting is notified too.
    store.rounds().wanted.notify_one();
    run(store, reader, meter, audit_head).await
}

/// Checks everything, unless it is dropped before. `audit_head` is an end of the audit log that was written down.
pub(crate) async fn run(
    store: &Site,
    reader: &Reader,
    meter: &Meter,
    audit_head: Option<&AuditHead>,
) -> Result<VerifyReport, VerifyError> {
    let rounds = store.rounds();
    let _turn = rounds.turn.lock().await;
    let snapshot = Arc::new(store.database().load().await?);
    let audit = store.database().check_audit(audit_head).await?;
    let mut findings = {
        let snapshot = Arc::clone(&snapshot);
        tokio::task::spawn_blocking(move || documents::check(&snapshot)).await??
    };
    findings.extend(audit.broken.map(|(number, why)| Finding {
        kind: VerifyKind::BrokenAudit,
        subject: format!("event {number}"),
        message: format!("The audit log was changed by other means than this server: {why}"),
        owners: Vec::new(),
    }));

    let owned = snapshot.owned_blobs();
    let rows: BTreeMap<Sha3_384, &BlobRecord> = snapshot.blobs.iter().map(|row| (row.digest, row)).collect();
    // A snap's icon may never have been imported; a revision must have its row.
    let blobs: Vec<(&BlobRecord, &[Owner])> =
        owned.iter().filter_map(|(digest, owners)| Some((*rows.get(digest)?, owners.as_slice()))).collect();
    meter.total.store(blobs.iter().map(|(record, _)| record.size).sum(), Ordering::Relaxed);
    let mut round = rounds.current().filter(|_| reader.resume).unwrap_or_default();
    let (passed, open): (Vec<_>, Vec<_>) =
        blobs.into_iter().partition(|(record, _)| round.has_passed(&record.digest));
    meter.passed.store(passed.iter().map(|(record, _)| record.size).sum(), Ordering::Relaxed);
    findings.extend(found_before(store, &passed).await);
    findings.extend(read(store, reader, meter, &mut round, open).await);

    let names = Names::new(&snapshot);
    let mut problems: Vec<VerifyProblem> =
        findings.into_iter().map(|finding| names.problem(finding)).collect();
    problems.sort();
    let report = VerifyReport {
        blobs: round.blobs,
        bytes: round.bytes,
        assertions: snapshot.assertions.len(),
        revisions: snapshot.revisions.len() + snapshot.components.len(),
        releases: snapshot.releases.iter().filter(|row| row.origin != Origin::Closed).count(),
        events: audit.rows,
        problems,
        repaired: Vec::new(),
    };
    let is_file = |problem: &&VerifyProblem| {
        matches!(problem.kind, VerifyKind::DamagedBlob | VerifyKind::UnreadableBlob)
    };
    rounds.finish(Finished {
        at_micros: clock::micros(),
        blobs: report.blobs,
        bytes: report.bytes,
        problems: report.problems.len(),
        others: report.problems.len() - report.problems.iter().filter(is_file).count(),
    });
    rounds.save();
    match report.problems.len() {
        0 => info!(blobs = report.blobs, "Verified the store: all is well"),
        problems => warn!(problems, "Verified the store: {problems} problems"),
    }
    Ok(report)
}

/// Reads these files in full and continues the round.
async fn read(
    store: &Site,
    reader: &Reader,
    meter: &Meter,
    round: &mut Round,
    open: Vec<(&BlobRecord, &[Owner])>,
) -> Vec<Finding> {
    let pace = Arc::new(Pace::new(reader.rate.map(|rate| rate.saturating_mul(1_000_000))));
    let _ = meter.pace.set(Arc::clone(&pace));
    let _stop = StopWhenDropped(Arc::clone(&pace));
    let _save = SaveWhenDropped(store.rounds());
    // Created before the stream runs, so that none borrows from the iterator that creates it.
    let checks: Vec<_> = open
        .into_iter()
        .map(|(record, owners)| {
            let pace = &pace;
            async move { (record, blobs::check(store, record, owners, pace).await) }
        })
        .collect();
    // In order, so that a single digest records the progress.
    let mut checks = stream::iter(checks).buffered(reader.at_once);
    let (mut findings, mut saved) = (Vec::new(), Instant::now());
    while let Some((record, finding)) = checks.next().await {
        findings.extend(finding);
        round.position = record.digest.to_hex();
        round.blobs += 1;
        round.bytes += record.size;
        store.rounds().advance(round);
        if saved.elapsed() >= SAVED {
            store.rounds().save();
            saved = Instant::now();
        }
    }
    findings
}

/// What the round has found already, before it was cut off.
async fn found_before(store: &Site, passed: &[(&BlobRecord, &[Owner])]) -> Vec<Finding> {
    let aside =
        if passed.is_empty() { Vec::new() } else { store.blobs().damaged().await.unwrap_or_default() };
    let damaged = passed.iter().filter(|(record, _)| aside.contains(&record.digest));
    let finding = |(record, owners): &(&BlobRecord, &[Owner])| Finding {
        kind: VerifyKind::DamagedBlob,
        subject: record.digest.to_hex(),
        message: format!("A file is damaged, as was found before: {}", blobs::HEAL),
        owners: owners.to_vec(),
    };
    damaged.map(finding).collect()
}

/// A problem, and the owners affected.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    kind: VerifyKind,
    subject: String,
    message: String,
    owners: Vec<Owner>,
}

/// Names of snaps, and the stores that serve them.
struct Names<'a> {
    snaps: BTreeMap<&'a str, (&'a str, BTreeSet<&'a StoreId>)>,
}

impl<'a> Names<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let mut snaps: BTreeMap<&str, (&str, BTreeSet<&StoreId>)> = BTreeMap::new();
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
        let stores = stores.into_iter().map(ToString::to_string).collect();
        Affected { snap: name.to_owned(), snap_id, revision, component, stores }
    }
}
