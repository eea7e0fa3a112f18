//! Writes down what was counted, and looks at what has no counter: free space, and what devices run.

use std::path::Path;
use std::time::Duration;

use rustix::fs::statvfs;
use schema::api::admin::MeasureStep;

use super::Job;
use crate::clock;
use crate::fleet::Fleet;
use crate::site::Site;
use crate::storage::error::StorageError;
use crate::storage::measures::{Measure, Meeting, REVISIONS};

/// From one round to the next; a server that dies loses no more than this.
const ROUND: Duration = Duration::from_secs(60);
/// Most revisions of one step: those that run on the most devices.
const MOST: usize = 200;

/// Writes down what each round adds, and once an hour what devices run.
pub(super) async fn keep_writing(job: &Job, site: &Site) {
    let mut hour = 0;
    loop {
        job.rest(ROUND).await;
        let now = clock::micros();
        let this_hour = MeasureStep::Hour.begin(now);
        let done = write(site, now, hour != this_hour).await;
        job.tell(done.as_ref().map(drop), "Cannot write down what was counted");
        if done.is_ok() {
            hour = this_hour;
        }
    }
}

async fn write(site: &Site, now: i64, new_hour: bool) -> Result<(), StorageError> {
    let database = site.database();
    site.observed().write_down(database, now).await?;
    let folders = [("data", Some(site.data_dir())), ("blobs", site.blobs().folder())];
    let free = folders.into_iter().filter_map(|(label, folder)| {
        let value = free(folder?)?;
        Some(Measure { metric: "airlock_data_free_bytes".into(), label: label.into(), value })
    });
    let free: Vec<Measure> = free.collect();
    database.record_measures(&free, Meeting::Least, now).await?;
    if new_hour {
        let catalog = site.catalog();
        let fleet = Fleet { database, sightings: site.sightings(), catalog: &catalog, answers: true };
        let mut running: Vec<_> = fleet.revisions_in_use().await?.into_iter().collect();
        running.sort_by(|(one, few), (other, many)| (many, one).cmp(&(few, other)));
        let measure = |((snap, revision), devices): ((String, u32), usize)| Measure {
            metric: format!("{REVISIONS}{snap}"),
            label: revision.to_string(),
            value: devices as u64,
        };
        let running: Vec<Measure> = running.into_iter().take(MOST).map(measure).collect();
        database.record_revisions(&running, now).await?;
    }
    Ok(())
}

/// Free bytes of a folder's file system, if it answers.
fn free(folder: &Path) -> Option<u64> {
    let about = statvfs(folder).ok()?;
    Some(about.f_bavail * about.f_frsize)
}
