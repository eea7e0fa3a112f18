//! Moves rollouts and trains on, and stops those that break a gate.

use std::time::Duration;

use tracing::info;

use super::Job;
use crate::catalog::{Catalog, Departed};
use crate::clock;
use crate::fleet::Fleet;
use crate::plans::By;
use crate::plans::gates::ITSELF;
use crate::plans::rollouts::{RolloutError, plan_by_itself, rollout};
use crate::plans::trains;
use crate::site::Site;
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::Change;

/// From one round to the next.
const ROUND: Duration = Duration::from_secs(60);
/// How often it is looked whether a round is due: the clock may have been set.
const LOOK: Duration = Duration::from_secs(1);

/// Why a rollout or a train was not moved.
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

/// Looks at all running rollouts and trains each minute.
pub(super) async fn keep_going(job: &Job, site: &Site) {
    loop {
        let begun = clock::now();
        let done = go_on(site).await;
        job.tell(done.as_ref().map(drop), "Cannot look after a rollout");
        job.expect(ROUND, Some(clock::now() + ROUND));
        // Backwards counts too.
        while (clock::now() - begun).unsigned_abs() < ROUND {
            job.wait(LOOK).await;
        }
    }
}

/// Moves each running rollout and train by what it does by itself. One that cannot be moved is in no other's way.
async fn go_on(site: &Site) -> Result<(), RolloutError> {
    let catalog = site.catalog();
    let mut done = Ok(());
    let mut note = |name: &str, moved: Result<String, Unmoved>| match moved {
        Ok(what) => info!(name, what, "A rollout or a train moved by itself"),
        Err(Unmoved::Nothing) => {}
        Err(Unmoved::Rollout(failure)) => done = Err(failure),
    };
    for live in catalog.live_rollouts() {
        let moved = site.change_after(async |catalog| planned(site, &catalog, &live.name).await).await;
        note(&live.name, moved);
    }
    for Departed { set, .. } in catalog.all_departed() {
        let moved = site.change_after(async |catalog| train_planned(site, &catalog, set).await).await;
        note(set, moved);
    }
    done
}

/// What a look at the fleet begins with.
fn fleet<'a>(site: &'a Site, catalog: &'a Catalog) -> (Fleet<'a>, By) {
    let (database, sightings) = (site.database(), site.sightings());
    let by = By { who: ITSELF.to_owned(), now: clock::now() };
    (Fleet { database, sightings, catalog, answers: true }, by)
}

async fn planned(site: &Site, catalog: &Catalog, name: &str) -> Result<(Change, String), Unmoved> {
    let (rollout, (fleet, by)) = (rollout(catalog, name)?, fleet(site, catalog));
    let seen = fleet.running(&rollout.record.snap_id).await?;
    let waves = fleet.progress(&rollout, &seen, by.micros()).await?;
    let change = plan_by_itself(catalog, &rollout, &waves, &by)?.ok_or(Unmoved::Nothing)?;
    let what = change.audit.what.clone();
    Ok((change, what))
}

async fn train_planned(site: &Site, catalog: &Catalog, set: &str) -> Result<(Change, String), Unmoved> {
    let departed = catalog.departed(set).ok_or(Unmoved::Nothing)?;
    let (fleet, by) = fleet(site, catalog);
    let seen = fleet.following(set).await?;
    let waves = fleet.progress(&departed, &seen, by.micros()).await?;
    let change = trains::plan_by_itself(catalog, &departed, &waves, &by).ok_or(Unmoved::Nothing)?;
    let what = change.audit.what.clone();
    Ok((change, what))
}
