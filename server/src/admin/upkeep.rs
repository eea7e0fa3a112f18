//! Upkeep of what is held.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures_util::{StreamExt as _, stream};
use schema::api::admin::{Task, UpkeepPlan, UpkeepRequest};

use super::error::AdminError;
use super::history::generation_of;
use super::{Admin, Operator};
use crate::catalog::Catalog;
use crate::clock;
use crate::plans::By;
use crate::plans::back::Then;
use crate::plans::history::{HistoryError, tags};
use crate::plans::upkeep::{Past, UpkeepError, named, plan_upkeep};
use crate::storage::blobs::BlobError;
use crate::storage::records::Change;

/// How many files are looked at at once.
const LOOKS: usize = 16;

impl From<UpkeepError> for AdminError {
    fn from(error: UpkeepError) -> Self {
        match error {
            UpkeepError::ChannelMap(error) => error.into(),
            UpkeepError::Needed { .. } => Self::refused("still-needed", &error),
            UpkeepError::NotOpen { .. } => Self::refused("channel-not-open", &error),
            UpkeepError::Overridden { .. } => Self::refused("channel-overridden", &error),
            UpkeepError::UnknownStore(_) => Self::refused("unknown-store", &error),
            UpkeepError::UnknownKey(_) => Self::refused("unknown-account-key", &error),
            UpkeepError::KeepNothing => Self::refused("keep-nothing", &error),
            UpkeepError::Gone { ref gone, .. } => {
                Self::refused("revision-gone", &error).with_details(gone.clone())
            }
            UpkeepError::History(error) => error.into(),
            UpkeepError::RollingOut { .. } => Self::refused("rolling-out", &error),
            UpkeepError::Commit(_) | UpkeepError::Files(_) => Self::failed("upkeep-not-done", &error),
        }
    }
}

/// Answers `Upkeep`.
pub(super) async fn run(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Json(wanted): Json<UpkeepRequest>,
) -> Result<Json<UpkeepPlan>, AdminError> {
    let by = By { who, now: clock::now() };
    let plan = async |catalog: Arc<Catalog>| planned(&admin, &catalog, &wanted.task, &by).await;
    let refused = |error: UpkeepError| {
        let (what, subject) = named(&wanted.task);
        AdminError::from(error).of(wanted.apply, what, subject)
    };
    let (_, report) = plan(admin.store.catalog()).await.map_err(refused)?;
    if !wanted.apply || report.steps.is_empty() {
        return Ok(Json(report));
    }
    let done = admin.store.change_after(plan).await.map_err(refused)?;
    Ok(Json(UpkeepPlan { applied: true, ..done }))
}

/// The plan of a task, with what it has to know of the past.
async fn planned(
    admin: &Admin,
    catalog: &Catalog,
    task: &Task,
    by: &By,
) -> Result<(Change, UpkeepPlan), UpkeepError> {
    let past = past(admin, catalog, task).await?;
    let (change, report) = plan_upkeep(catalog, task, by, &past)?;
    if let Task::Back { .. } = task {
        look(admin, catalog, &change, past.then.generation).await?;
    }
    Ok((change, report))
}

async fn past(admin: &Admin, catalog: &Catalog, task: &Task) -> Result<Past, UpkeepError> {
    let database = admin.store.database();
    let mut past = Past::default();
    match task {
        Task::Back { to, .. } => {
            let generation = generation_of(database, catalog, to).await?;
            let releases = database.maps_at(&[generation]).await.map_err(HistoryError::Storage)?;
            past.then = Then { generation, releases: releases.into_iter().flatten().collect() };
        }
        Task::RemoveSnap { .. } | Task::Prune { .. } => {
            let (names, generations): (Vec<_>, Vec<_>) =
                tags(catalog).map(|(name, tag)| (name, tag.generation)).unzip();
            let maps = database.maps_at(&generations).await.map_err(HistoryError::Storage)?;
            for (name, map) in names.into_iter().zip(maps) {
                past.tagged.extend(map.into_iter().map(|row| ((row.snap_id, row.revision), name.to_owned())));
            }
        }
        _ => {}
    }
    Ok(past)
}

/// Refuses a change that would release what has no file.
async fn look(admin: &Admin, catalog: &Catalog, change: &Change, generation: i64) -> Result<(), UpkeepError> {
    let looks = change.releases.iter().filter_map(|row| {
        let snap = catalog.snap_by_id(&row.snap_id)?;
        let blob = Arc::clone(&snap.revisions.get(&row.revision)?.blob);
        let (blobs, named) = (admin.store.blobs(), (snap.name.to_string(), row.revision));
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
