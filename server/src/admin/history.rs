//! History: changes, differences, and names for generations.

use axum::Json;
use axum::extract::{Path, State};
use schema::api::admin::{History, HistoryDiff, Tag, TagRequest, Tags};
use schema::store::SnapId;
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::AdminError;
use super::given::{Given, Query};
use super::{Admin, Operator};
use crate::catalog::Catalog;
use crate::clock;
use crate::plans::By;
use crate::plans::history::{self, HistoryError};
use crate::plans::overrides::ChannelMapError;
use crate::storage::Database;
use crate::upkeep::generation_of;

/// The most generations in one answer.
const MOST: u32 = 100_000;

impl From<HistoryError> for AdminError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::UnknownPoint(_) => Self::refused("unknown-generation", &error),
            HistoryError::TooEarly { .. } => Self::refused("before-history", &error),
            HistoryError::TooLate(..) | HistoryError::Future(..) => {
                Self::refused("unknown-generation", &error)
            }
            HistoryError::Name(_) => Self::refused("invalid-tag", &error),
            HistoryError::Taken { .. } => Self::refused("tag-taken", &error),
            HistoryError::UnknownTag(_) => Self::refused("unknown-tag", &error),
            HistoryError::ChannelMap(error) => error.into(),
            HistoryError::Storage(_) => Self::failed("history-not-read", &error),
            HistoryError::Commit(_) => Self::failed("tag-not-stored", &error),
        }
    }
}

/// Which changes to list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct LogQuery {
    /// Only those of this snap.
    #[serde(default)]
    snap: Option<String>,
    /// Only so many, the last ones.
    #[serde(default)]
    last: Option<u32>,
}

/// Answers `ShowHistory`.
pub(super) async fn log(
    State(admin): State<Admin>,
    Query(query): Query<LogQuery>,
) -> Result<Json<History>, AdminError> {
    Ok(Json(read(&admin, query).await?))
}

async fn read(admin: &Admin, query: LogQuery) -> Result<History, HistoryError> {
    let (catalog, database) = (admin.store.catalog(), admin.store.database());
    let snap = asked_snap(&catalog, database, query.snap.as_deref()).await?;
    let last = query.last.unwrap_or(MOST).min(MOST);
    let generation = catalog.position.generation;
    let start = database.history_start().await?;
    // One more tells whether there are more.
    let mut steps = database.steps(generation + 1, last + 1, snap.as_ref()).await?;
    let more = steps.len() > last as usize;
    steps.truncate(last as usize);
    // No step, no span.
    let first = steps.last().map_or(generation, |step| step.generation - 1);
    let latest = steps.first().map_or(generation, |step| step.generation);
    let spans = database.spans(first, latest, snap.as_ref()).await?;
    let entries = history::log(&catalog, steps, &spans);
    let (started, grants_since) = (history::time_of(&start), spans.since);
    Ok(History { start: start.generation, started, grants_since, generation, entries, more })
}

/// The snap of which the history is asked for: one that is held, was held, or was granted and never pushed.
async fn asked_snap(
    catalog: &Catalog,
    database: &Database,
    name: Option<&str>,
) -> Result<Option<SnapId>, HistoryError> {
    let Some(name) = name else { return Ok(None) };
    let unknown = match history::id_of(catalog, name) {
        Err(HistoryError::ChannelMap(unknown @ ChannelMapError::UnknownSnap(_))) => unknown,
        known => return known.map(Some),
    };
    let mut granted = database.ever_granted(name).await?;
    match granted.len() {
        0 => Err(unknown.into()),
        1 => Ok(granted.pop()),
        _ => Err(ChannelMapError::several(name, &granted).into()),
    }
}

/// What to compare.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct DiffQuery {
    /// A generation, a tag or a time.
    from: String,
    /// Another one; the current generation by default.
    #[serde(default)]
    to: Option<String>,
    /// Only this snap.
    #[serde(default)]
    snap: Option<String>,
}

/// Answers `CompareHistory`.
pub(super) async fn diff(
    State(admin): State<Admin>,
    Query(query): Query<DiffQuery>,
) -> Result<Json<HistoryDiff>, AdminError> {
    Ok(Json(compare(&admin, query).await?))
}

async fn compare(admin: &Admin, query: DiffQuery) -> Result<HistoryDiff, HistoryError> {
    let (catalog, database) = (admin.store.catalog(), admin.store.database());
    let snap = asked_snap(&catalog, database, query.snap.as_deref()).await?;
    let from = generation_of(database, &catalog, &query.from).await?;
    let to = match &query.to {
        Some(to) => generation_of(database, &catalog, to).await?,
        None => catalog.position.generation,
    };
    let spans = database.spans(from.min(to), from.max(to), snap.as_ref()).await?;
    Ok(history::diff(&catalog, (from, to), &spans))
}

/// Answers `ListTags`.
pub(super) async fn tags(State(admin): State<Admin>) -> Json<Tags> {
    let catalog = admin.store.catalog();
    let mut tags: Vec<Tag> = history::tags(&catalog).map(|(name, tag)| history::shown(name, tag)).collect();
    tags.sort_by(|one, other| (one.generation, &one.name).cmp(&(other.generation, &other.name)));
    Json(Tags { tags })
}

/// Answers `SetTag`.
pub(super) async fn tag(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<TagRequest>,
) -> Result<Json<Tag>, AdminError> {
    let by = By { who, now: clock::now() };
    let done = admin.store.change_after(async |catalog| {
        let generation = match &wanted.at {
            Some(at) => generation_of(admin.store.database(), &catalog, at).await?,
            None => catalog.position.generation,
        };
        history::plan_tag(&catalog, &wanted.name, generation, &by)
    });
    done.await
        .map(Json)
        .map_err(|error: HistoryError| AdminError::from(error).of(true, "tag", wanted.name.clone()))
}

/// Answers `RemoveTag`.
pub(super) async fn untag(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Path(name): Path<String>,
) -> Result<Json<Tag>, AdminError> {
    let by = By { who, now: clock::now() };
    let done = admin.store.change(|catalog| history::plan_untag(catalog, &name, &by));
    Ok(Json(done.await?))
}
