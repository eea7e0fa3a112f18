//! Makes the deltas that devices could use, one at a time, in `proxy.deltas.budget`.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::statvfs;
use schema::store::DeltaFormat;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{error, info};

use super::Job;
use crate::catalog::Blob;
use crate::deltas::{Encoder, MakeError, Pair, Wanted, Whole, wanted};
use crate::fleet::updates;
use crate::site::Site;
use crate::storage::blobs::BlobError;
use crate::storage::devices::DevicesWhere;
use crate::storage::error::StorageError;

/// How often to look whether something changed.
const TICK: Duration = Duration::from_secs(5);
/// How often to look what devices run.
const LOOK: Duration = Duration::from_secs(300);
/// How many devices, of those seen last, are looked at.
const DEVICES: u32 = 10_000;
/// What stays free for everything else, in bytes.
const FREE: u64 = 256 << 20;

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("cannot find xdelta3, so no deltas are made: `apt install xdelta3`")]
    NoEncoder,
    #[error("cannot get a file from the object store")]
    Object(#[source] BlobError),
    #[error("cannot tell what devices run")]
    Devices(#[from] StorageError),
    #[error("cannot use the folder of deltas")]
    Folder(#[from] io::Error),
}

/// What decides which deltas are made: the generation, the settings and the operators.
#[derive(PartialEq)]
struct Terms {
    generation: i64,
    budget: u64,
    keep_ratio: u64,
    formats: Vec<DeltaFormat>,
    said: u64,
}

impl Terms {
    fn of(site: &Site) -> Self {
        let settings = site.settings();
        Self {
            generation: site.catalog().position.generation,
            budget: settings.deltas.budget,
            keep_ratio: settings.deltas.keep_ratio,
            formats: settings.deltas.formats.clone(),
            said: site.deltas().said(),
        }
    }
}

/// Makes deltas for ever.
pub(super) async fn keep_making(job: &Job, site: &Arc<Site>) {
    let mut last = None;
    loop {
        job.rest(TICK).await;
        let now = Terms::of(site);
        if last.as_ref().is_some_and(|(of, at): &(_, Instant)| *of == now && at.elapsed() < LOOK) {
            continue;
        }
        let Some(ended) = job.unless_paused(round(site, &now)).await else { continue };
        job.tell(ended.as_ref().map(drop), "Cannot make deltas");
        last = Some((now, Instant::now()));
    }
}

/// The deltas that somebody could use, most wanted first.
pub(crate) async fn wanted_deltas(site: &Arc<Site>) -> Result<Vec<Wanted>, StorageError> {
    // What cannot be written down now is looked at in a later round.
    let _ = site.sightings().write(site.database()).await;
    let devices = site.database().devices(DevicesWhere::default(), DEVICES).await?;
    let (catalog, asked) = (site.catalog(), site.deltas().asked());
    let found = spawn_blocking(move || {
        let updates = updates(&devices, &catalog);
        wanted(&catalog, &asked, updates.iter().map(|one| (&*one.snap_id, one.from, one.to)))
    });
    found.await.map_err(|cut| StorageError::Unavailable(cut.into()))
}

/// Removes what nobody could use any more, and makes what is lacking until something changes.
async fn round(site: &Arc<Site>, begun: &Terms) -> Result<(), RoundError> {
    let settings = site.settings();
    let (budget, percent) = (settings.deltas.bytes(), settings.deltas.keep_ratio);
    let encoder = spawn_blocking(Encoder::find).await.map_err(io::Error::other)?;
    let makes = |format: &DeltaFormat| encoder.as_ref().is_some_and(|encoder| encoder.makes(*format));
    let formats = settings.deltas.formats.clone();
    site.deltas().set_formats(formats.iter().copied().filter(makes).collect());
    let all = if budget == 0 { Vec::new() } else { wanted_deltas(site).await? };
    let pairs: Vec<Pair> = all.iter().map(Wanted::pair).collect();
    let (kept, catalog) = (Arc::clone(site), site.catalog());
    let keep = move || kept.deltas().keep(&pairs, &formats, budget, |digest| catalog.blob(digest).is_some());
    spawn_blocking(keep).await.map_err(io::Error::other)??;
    if budget == 0 {
        return Ok(());
    }
    let encoder = encoder.ok_or(RoundError::NoEncoder)?;
    std::fs::create_dir_all(site.deltas().folder())?;
    let formats = site.deltas().formats();
    let each: Vec<_> = all.iter().flat_map(|one| formats.iter().map(move |format| (one, *format))).collect();
    for (one, format) in each {
        if Terms::of(site) != *begun {
            break;
        }
        let limit = one.target.blob.size.saturating_mul(percent) / 100;
        if limit == 0 || !site.deltas().lacks(one, format, percent) {
            continue;
        }
        let (source, target) = (&one.source.blob, &one.target.blob);
        let copies = if site.blobs().is_remote() { source.size + target.size } else { 0 };
        if let Some(why) = no_room(site, target.size + copies, limit, budget)? {
            site.deltas().note_full(one.pair(), format, why);
            continue;
        }
        make(site, &encoder, one, format, limit).await?;
    }
    Ok(())
}

/// The file of a blob; a copy in `work` if it is an object of a bucket.
async fn whole(site: &Arc<Site>, blob: &Blob, work: &TempDir) -> Result<Whole, RoundError> {
    let (size, digest) = (blob.size, blob.digest);
    if let Some(path) = site.blobs().path_of(&digest) {
        return Ok(Whole { path, size, digest });
    }
    let (store, path) = (Arc::clone(site), work.path().join(digest.to_hex()));
    let copy = move || {
        let mut object = store.blobs().open_blob(&digest, size).map_err(RoundError::Object)?;
        io::copy(&mut object, &mut File::create_new(&path)?)?;
        Ok(Whole { path, size, digest })
    };
    spawn_blocking(copy).await.map_err(io::Error::other)?
}

/// Why one of at most `limit` bytes cannot be made now.
fn no_room(site: &Site, target: u64, limit: u64, budget: u64) -> Result<Option<String>, RoundError> {
    let left = budget.saturating_sub(site.deltas().size().1);
    if limit > left {
        let why = format!("it may take {limit} bytes, and proxy.deltas.budget has {left} left");
        return Ok(Some(why));
    }
    let disk = statvfs(site.deltas().folder()).map_err(io::Error::from)?;
    let (free, needed) = (disk.f_bavail * disk.f_frsize, target + limit + FREE);
    Ok((needed > free).then(|| format!("making it takes {needed} free bytes of disk, and there are {free}")))
}

/// Makes one and offers it.
async fn make(
    site: &Arc<Site>,
    encoder: &Encoder,
    one: &Wanted,
    format: DeltaFormat,
    limit: u64,
) -> Result<(), RoundError> {
    let work = tempfile::tempdir_in(site.deltas().folder())?;
    let source = whole(site, &one.source.blob, &work).await?;
    let target = whole(site, &one.target.blob, &work).await?;
    let (snap, pair) = (&*one.snap.name, one.pair());
    let (from, to) = (one.source.number, one.target.number);
    match encoder.make(format, &work, &source, &target, limit).await {
        Ok(proven) => {
            let publisher = Arc::clone(site);
            let published = spawn_blocking(move || publisher.deltas().publish(pair, format, &proven));
            published.await.map_err(io::Error::other)??;
            site.observed().deltas.made.add(1);
            info!(snap, from, to, format = format.as_str(), "Made a delta");
        }
        Err(failure) => {
            site.deltas().note(pair, format, &failure, site.settings().deltas.keep_ratio);
            let why = &failure as &dyn std::error::Error;
            match failure {
                MakeError::TooLarge | MakeError::Unfit(_) => {
                    info!(snap, from, to, format = format.as_str(), error = why, "No delta");
                }
                _ => {
                    site.observed().deltas.failed.add(1);
                    error!(snap, from, to, format = format.as_str(), error = why, "Cannot make a delta");
                }
            }
        }
    }
    Ok(())
}
