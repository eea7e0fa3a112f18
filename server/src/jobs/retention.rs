//! Plans each hour which old revisions may go, tells it, and removes them where the settings say so.

use std::sync::Arc;
use std::time::Duration;

use schema::api::admin::{CleanUp, Task};
use schema::config::Retention;
use time::OffsetDateTime;
use tracing::info;

use super::Job;
use crate::catalog::Catalog;
use crate::cleanup::{CleanUpError, clean_up};
use crate::clock;
use crate::plans::By;
use crate::plans::upkeep::{Spare, UpkeepError};
use crate::site::Site;
use crate::upkeep::planned;

/// From one round to the next.
const ROUND: Duration = Duration::from_secs(3600);
/// How often it is looked whether a round is due: settings and clock may have been changed.
const LOOK: Duration = Duration::from_secs(2);
/// Who does it, in the audit log.
const ITSELF: &str = "retention";

/// Why revisions stayed.
#[derive(Debug, thiserror::Error)]
enum Unretained {
    #[error(transparent)]
    Upkeep(#[from] UpkeepError),
    #[error(transparent)]
    CleanUp(#[from] CleanUpError),
}

/// Plans at once when the settings change, and then each hour.
pub(super) async fn keep_to(job: &Job, site: &Site) {
    let mut last: Option<(Retention, OffsetDateTime)> = None;
    let mut unswept = false;
    loop {
        let (wanted, now) = (site.settings().retention, clock::now());
        // A clock that went backwards counts too.
        let is_due = last.is_none_or(|(then, at)| then != wanted || (now - at).unsigned_abs() >= ROUND);
        if is_due {
            let done = round(site, wanted, &mut unswept).await;
            job.tell(done.as_ref().map(drop), "Cannot look after old revisions");
            job.expect(ROUND, Some(clock::now() + ROUND));
            last = Some((wanted, clock::now()));
        }
        job.wait(LOOK).await;
    }
}

/// Files of removed revisions go as well; `unswept` remembers those that could not go yet, as while a backup is made.
async fn round(
    site: &Site,
    Retention { keep, apply }: Retention,
    unswept: &mut bool,
) -> Result<(), Unretained> {
    site.spare().store(None);
    // The other database would still name the files of what is removed here.
    if keep == 0 || site.is_copied_away() {
        return Ok(());
    }
    let task = Task::Prune { keep };
    let by = By { who: ITSELF.to_owned(), now: clock::now() };
    let (change, plan) = planned(site, &site.catalog(), &task, &by).await?;
    let (revisions, bytes) = (change.removed.revisions.len(), plan.unused_bytes);
    if !apply {
        site.spare().store((revisions > 0).then(|| Arc::new(Spare { revisions, bytes, keep })));
        return Ok(());
    }
    if !plan.steps.is_empty() {
        let plan = async |catalog: Arc<Catalog>| planned(site, &catalog, &task, &by).await;
        let done = site.change_after(plan).await?;
        *unswept = true;
        info!(revisions, steps = ?done.steps, "Removed {revisions} old revisions that nothing needs");
    }
    if *unswept {
        clean_up(site, ITSELF, CleanUp { dry_run: false, now: false }).await?;
        *unswept = false;
    }
    Ok(())
}
