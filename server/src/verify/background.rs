//! The slow background check: reads every file once per `proxy.verify.interval`, at no more than `proxy.verify.rate`
//! MB/s.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, warn};

use super::{Meter, Reader, blobs, run};
use crate::storage::blobs::Pace;
use crate::storage::records::BlobRecord;
use crate::store::Store;

/// How often to look for work.
const TICK: Duration = Duration::from_secs(2);
/// How long a newly started server is left alone, unless rounds are more frequent.
const REST: Duration = Duration::from_secs(60);

/// Checks forever. An operator's check takes precedence.
pub(crate) async fn keep_checking(store: &Store) {
    let started = Instant::now();
    let mut is_first = true;
    loop {
        let interval = store.settings().seconds("proxy.verify.interval");
        tokio::time::sleep(TICK.min(Duration::from_secs(interval))).await;
        let rate = store.settings().number("proxy.verify.rate");
        settle_suspects(store, rate, is_first).await;
        is_first = false;
        let rested = started.elapsed() >= REST.min(Duration::from_secs(interval));
        if rate == 0 || !rested || !store.rounds().is_due(interval) {
            continue;
        }
        let reader = Reader { rate: Some(rate), at_once: 1, resume: true };
        let meter = Meter::default();
        tokio::select! {
            () = store.rounds().wanted.notified() => {}
            done = run(store, &reader, &meter, None) => match done {
                Ok(report) if report.problems.is_empty() => {}
                Ok(report) => warn!(problems = report.problems.len(), "The store is not sound: run `proxy verify`"),
                Err(failure) => {
                    error!(error = &failure as &dyn std::error::Error, "Cannot check the store");
                    tokio::time::sleep(REST).await;
                }
            },
        }
    }
}

/// Checks the files that a transfer found damaged, so that a restart knows of them as well. The first time it also
/// checks those set aside before: they may have been restored.
async fn settle_suspects(store: &Store, rate: u64, all: bool) {
    let aside = match store.blobs().damaged().await {
        Ok(aside) => aside,
        Err(failure) => {
            error!(error = &failure as &dyn std::error::Error, "Cannot tell which files are damaged");
            return;
        }
    };
    let catalog = store.catalog();
    let suspects = catalog.blobs().filter(|blob| blob.checks.is_damaged());
    let suspects: Vec<BlobRecord> = suspects
        .filter(|blob| all || !aside.contains(&blob.digest))
        .map(|blob| BlobRecord { digest: blob.digest, size: blob.size, blocks: Vec::new() })
        .collect();
    if suspects.is_empty() {
        return;
    }
    let pace = Arc::new(Pace::new(Some(rate * 1_000_000)));
    let _stop = super::StopWhenDropped(Arc::clone(&pace));
    for suspect in suspects {
        if let Err(failure) = blobs::settle(store, &suspect, &pace).await {
            error!(error = &failure as &dyn std::error::Error, "Cannot look at a file that seems damaged");
        }
    }
}
