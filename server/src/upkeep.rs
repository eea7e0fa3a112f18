//! Tasks of upkeep with what they have to know: tags, earlier generations, what devices run, and which files are there.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use schema::api::admin::{Task, UpkeepPlan};

use crate::catalog::Catalog;
use crate::clock;
use crate::fleet::{Fleet, written};
use crate::plans::By;
use crate::plans::back::Then;
use crate::plans::history::{self, HistoryError, Point, tags};
use crate::plans::upkeep::{Past, UpkeepError, plan_upkeep};
use crate::site::Site;
use crate::storage::Database;
use crate::storage::blobs::BlobError;
use crate::storage::error::StorageError;
use crate::storage::records::Change;

/// How many files are looked at at once.
const LOOKS: usize = 16;

/// The plan of a task, with what it has to know of the past.
pub(crate) async fn planned(
    site: &Site,
    catalog: &Catalog,
    task: &Task,
    by: &By,
) -> Result<(Change, UpkeepPlan), UpkeepError> {
    let past = past(site, catalog, task).await?;
    let (change, report) = plan_upkeep(catalog, task, by, &past)?;
    if let Task::Back { .. } = task {
        look(site, catalog, &change, past.then.generation).await?;
    }
    Ok((change, report))
}

async fn past(site: &Site, catalog: &Catalog, task: &Task) -> Result<Past, UpkeepError> {
    let database = site.database();
    let mut past = Past::default();
    match task {
        Task::Back { to, snap } => {
            let generation = generation_of(database, catalog, to).await?;
            let releases = database.maps_at(&[generation]).await.map_err(HistoryError::Storage)?;
            let releases = releases.into_iter().flatten().collect();
            let only = snap.as_deref().map(|name| history::id_of(catalog, name)).transpose()?;
            let grants_differ = database.grants_differ(generation, only.as_ref()).await;
            let grants_differ = grants_differ.map_err(HistoryError::Storage)?;
            past.then = Then { generation, releases, grants_differ };
        }
        Task::RemoveSnap { .. } | Task::Prune { .. } => {
            let (names, generations): (Vec<_>, Vec<_>) =
                tags(catalog).map(|(name, tag)| (name, tag.generation)).unzip();
            let maps = database.maps_at(&generations).await.map_err(HistoryError::Storage)?;
            past.running = running(site, catalog).await.map_err(HistoryError::Storage)?;
            for (name, map) in names.into_iter().zip(maps) {
                past.tagged.extend(map.into_iter().map(|row| ((row.snap_id, row.revision), name.to_owned())));
            }
        }
        _ => {}
    }
    Ok(past)
}

/// Refuses a change that would release what has no file.
async fn look(site: &Site, catalog: &Catalog, change: &Change, generation: i64) -> Result<(), UpkeepError> {
    let looks = change.releases.iter().filter_map(|row| {
        let snap = catalog.snap_by_id(&row.snap_id)?;
        let blob = Arc::clone(&snap.revisions.get(&row.revision)?.blob);
        let (blobs, named) = (site.blobs(), (snap.name.to_string(), row.revision));
        Some(async move {
            match blobs.look(blob.digest, blob.size).await {
                Ok(()) => Ok(None),
                Err(BlobError::Missing { .. } | BlobError::LengthMismatch { .. }) => Ok(Some(named)),
                Err(error) => Err(UpkeepError::Files(error)),
            }
        })
    });
    let looks: Vec<_> = looks.collect();
    let mut found = stream::iter(looks).buffer_unordered(LOOKS);
    let mut gone = Vec::new();
    while let Some(looked) = found.next().await {
        gone.extend(looked?);
    }
    if gone.is_empty() { Ok(()) } else { Err(UpkeepError::gone(generation, gone)) }
}

async fn running(site: &Site, catalog: &Catalog) -> Result<HashMap<(String, u32), usize>, StorageError> {
    let (database, sightings) = (site.database(), site.sightings());
    Fleet { database, sightings, catalog, answers: site.serves_devices() }.revisions_in_use().await
}

/// The generation that a text means.
pub(crate) async fn generation_of(
    database: &Database,
    catalog: &Catalog,
    text: &str,
) -> Result<i64, HistoryError> {
    let start = database.history_start().await?;
    let generation = match history::point(catalog, text)? {
        Point::Generation(generation) => generation,
        Point::Moment(micros) if micros > clock::micros() => {
            return Err(HistoryError::Future(text.to_owned(), written(clock::micros())));
        }
        Point::Moment(micros) => {
            let found = database.generation_at(micros).await?;
            // Another server may be ahead of this catalog.
            found.ok_or_else(|| history::too_early(&start))?.min(catalog.position.generation)
        }
    };
    history::known(generation, &start, catalog)
}
