//! Moves rollouts on, and stops those that break a gate.

use std::time::Duration;

use tracing::{error, info};

use super::Job;
use crate::catalog::Catalog;
use crate::clock;
use crate::fleet::Fleet;
use crate::plans::By;
use crate::plans::rollouts::{ITSELF, RolloutError, plan_by_itself, rollout};
use crate::site::Site;
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::Change;

/// From one round to the next.
const ROUND: Duration = Duration::from_secs(60);
/// How often it is looked whether a round is due: the clock may have been set.
const LOOK: Duration = Duration::from_secs(1);

/// Why a rollout was not moved.
#[derive(Debug, thiserror::Error)]
enum Unmoved {
    /// There is nothing to do.
    #[error("there is nothing to do")]
    Nothing,
    #[error(transparent)]
    Rollout(#[from] RolloutError),
}

impl From<CommitError> for Unmoved {
    fn from(error: CommitError) -> Self {
        Self::Rollout(error.into())
    }
}

impl From<StorageError> for Unmoved {
    fn from(error: StorageError) -> Self {
        Self::Rollout(error.into())
    }
}

/// Looks at all running rollouts each minute.
pub(super) async fn keep_going(job: &Job, site: &Site) {
    loop {
        let begun = clock::now();
        let done = go_on(site).await;
        if let Err(failure) = &done {
            error!(error = failure as &dyn std::error::Error, "Cannot look after a rollout");
        }
        job.note(done.as_ref().map(drop));
        job.expect(ROUND, Some(clock::now() + ROUND));
        // Backwards counts too.
        while (clock::now() - begun).unsigned_abs() < ROUND {
            job.wait(LOOK).await;
        }
    }
}

/// Moves each running rollout by what it does by itself. One that cannot be moved is in no other's way.
async fn go_on(site: &Site) -> Result<(), RolloutError> {
    let catalog = site.catalog();
    let mut done = Ok(());
    for live in catalog.live_rollouts() {
        match site.change_after(async |catalog| planned(site, &catalog, &live.name).await).await {
            Ok(what) => info!(rollout = live.name, what, "A rollout moved by itself"),
            Err(Unmoved::Nothing) => {}
            Err(Unmoved::Rollout(failure)) => done = Err(failure),
        }
    }
    done
}

async fn planned(site: &Site, catalog: &Catalog, name: &str) -> Result<(Change, String), Unmoved> {
    let (rollout, now) = (rollout(catalog, name)?, clock::now());
    let (database, sightings) = (site.database(), site.sightings());
    let fleet = Fleet { database, sightings, catalog, answers: true };
    let by = By { who: ITSELF.to_owned(), now };
    let seen = fleet.running(&rollout.record.snap_id).await?;
    let waves = fleet.progress(&rollout, &seen, by.micros()).await?;
    let change = plan_by_itself(catalog, &rollout, &waves, &by)?.ok_or(Unmoved::Nothing)?;
    let what = change.audit.what.clone();
    Ok((change, what))
}
