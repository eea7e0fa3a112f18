//! What was counted over time.

use axum::Json;
use axum::extract::State;
use schema::api::admin::{MeasureSeries, MeasureStep, Measures};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Admin;
use super::error::AdminError;
use super::given::Query;
use crate::clock;
use crate::fleet::written;
use crate::storage::error::StorageError;
use crate::storage::measures::REVISIONS;

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
enum MeasuresError {
    #[error("snap {0} is not here: `proxy list-pushed-snaps` shows those that are")]
    UnknownSnap(String),
    #[error("cannot read the counts from the database")]
    Storage(#[from] StorageError),
}

impl From<MeasuresError> for AdminError {
    fn from(error: MeasuresError) -> Self {
        match &error {
            MeasuresError::UnknownSnap(_) => Self::refused("unknown-snap", &error),
            MeasuresError::Storage(_) => Self::failed("measures-not-read", &error),
        }
    }
}

/// What to show.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct MeasuresQuery {
    /// The metric.
    #[serde(default)]
    metric: String,
    /// How long a step is.
    #[serde(default)]
    step: MeasureStep,
    /// How many steps; 24 if nothing is said.
    #[serde(default)]
    last: Option<u32>,
    /// Of this snap how many devices run each revision, in place of a metric.
    #[serde(default)]
    snap: Option<String>,
}

/// Answers `ShowMeasures`.
pub(super) async fn show(
    State(admin): State<Admin>,
    Query(query): Query<MeasuresQuery>,
) -> Result<Json<Measures>, AdminError> {
    let (step, now) = (query.step, clock::micros());
    let (metric, shown) = match query.snap {
        None => (query.metric.clone(), query.metric),
        Some(name) => {
            let snap = admin
                .store
                .catalog()
                .snaps()
                .find(|snap| snap.name.as_str() == name)
                .map(|snap| snap.id.clone());
            let snap = snap.ok_or(MeasuresError::UnknownSnap(name))?;
            (format!("{REVISIONS}{snap}"), REVISIONS.trim_end_matches(':').to_owned())
        }
    };
    let database = admin.store.database();
    // What this server has counted and not yet written is shown as well; without the database nothing is.
    admin.store.observed().write_down(database, now).await.map_err(MeasuresError::from)?;
    let steps = i64::from(query.last.unwrap_or(24).clamp(1, step.kept()));
    let last = step.begin(now);
    let first = last - (steps - 1) * step.micros();
    let counts = database.measures(&metric, step, first, last).await.map_err(MeasuresError::from)?;
    let begins: Vec<i64> = (0..steps).map(|at| first + at * step.micros()).collect();
    let series = counts.into_iter().map(|(label, counts)| MeasureSeries {
        label,
        values: begins.iter().map(|at| counts.get(at).copied()).collect(),
    });
    Ok(Json(Measures {
        metric: shown,
        step,
        series: series.collect(),
        at: begins.iter().map(|at| written(*at)).collect(),
    }))
}
