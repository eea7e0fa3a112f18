//! The slow background check: reads every file once per `proxy.verify.interval`, at no more than `proxy.verify.rate`
//! MB/s.

use std::sync::Arc;
use std::time::Duration;

use schema::causes::one_line;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Job;
use crate::site::Site;
use crate::storage::blobs::{BlobError, Pace};
use crate::storage::records::BlobRecord;
use crate::verify::{Meter, Reader, StopWhenDropped, VerifyError, blobs, run};

/// How often to look for work.
const TICK: Duration = Duration::from_secs(2);
/// How long a newly started server is left alone, unless rounds are more frequent.
const REST: Duration = Duration::from_secs(60);

/// Checks for ever. An operator who wants to check goes first.
pub(super) async fn keep_checking(job: &Job, store: &Site) {
    let started = Instant::now();
    let (mut is_first, mut blind) = (true, false);
    loop {
        let interval = store.settings().verify.interval;
        let rate = store.settings().verify.rate;
        job.expect(Duration::from_secs(interval), store.rounds().due(interval).filter(|_| rate != 0));
        job.wait(TICK.min(Duration::from_secs(interval))).await;
        let settled = settle_suspects(store, rate, is_first).await;
        match (&settled, blind) {
            (Ok(()), false) => is_first = false,
            (Ok(()), true) => info!("Damaged files are looked at again"),
            (Err(failure), false) => error!(why = one_line(failure), "Cannot look at damaged files"),
            (Err(_), true) => {}
        }
        blind = settled.is_err();
        let rested = started.elapsed() >= REST.min(Duration::from_secs(interval));
        if rate == 0 || !rested || !store.rounds().is_due(interval) {
            continue;
        }
        let reader = Reader { rate: Some(rate), at_once: 1, resume: true };
        let meter = Meter::default();
        let done = tokio::select! {
            () = store.rounds().wanted.notified() => continue,
            done = job.unless_paused(run(store, &reader, &meter, None)) => done,
        };
        let Some(done) = done else { continue };
        job.note::<VerifyError>(done.as_ref().map(drop));
        match done {
            Ok(report) if report.problems.is_empty() => {}
            Ok(report) => {
                warn!(problems = report.problems.len(), "The store is not sound: run `proxy verify`")
            }
            Err(failure) => {
                error!(why = one_line(&failure), "Cannot check the store");
                job.wait(REST).await;
            }
        }
    }
}

/// Looks at the files that a transfer found to be damaged, so that a restart knows of it as well. At first also at those that
/// were set aside before: they may have been put back.
async fn settle_suspects(store: &Site, rate: u64, all: bool) -> Result<(), BlobError> {
    let aside = store.blobs().damaged().await?;
    let catalog = store.catalog();
    let suspects = catalog.blobs().filter(|blob| blob.checks.is_damaged());
    let suspects: Vec<BlobRecord> = suspects
        .filter(|blob| all || !aside.contains(&blob.digest))
        .map(|blob| BlobRecord { digest: blob.digest, size: blob.size, blocks: Vec::new() })
        .collect();
    if suspects.is_empty() {
        return Ok(());
    }
    let pace = Arc::new(Pace::new(Some(rate * 1_000_000)));
    let _stop = StopWhenDropped(Arc::clone(&pace));
    let mut done = Ok(());
    for suspect in suspects {
        done = done.and(blobs::settle(store, &suspect, &pace).await.map(drop));
    }
    done
}
