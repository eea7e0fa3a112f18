//! Upkeep of what is held.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schema::api::admin::{Task, UpkeepPlan, UpkeepRequest};

use super::error::AdminError;
use super::given::Given;
use super::{Admin, Operator};
use crate::catalog::Catalog;
use crate::clock;
use crate::plans::By;
use crate::plans::upkeep::{UpkeepError, named};
use crate::upkeep::planned;

impl From<UpkeepError> for AdminError {
    fn from(error: UpkeepError) -> Self {
        match error {
            UpkeepError::ChannelMap(error) => error.into(),
            UpkeepError::Needed { .. } => Self::refused("still-needed", &error),
            UpkeepError::NoRevision { .. } => Self::refused("revision-not-held", &error),
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
    Given(wanted): Given<UpkeepRequest>,
) -> Result<Json<UpkeepPlan>, AdminError> {
    let by = By { who, now: clock::now() };
    let site = &*admin.store;
    let plan = async |catalog: Arc<Catalog>| planned(site, &catalog, &wanted.task, &by).await;
    let refused = |error: UpkeepError| {
        let (what, subject) = named(&wanted.task);
        AdminError::from(error).of(wanted.apply, what, subject)
    };
    let (_, report) = plan(admin.store.catalog()).await.map_err(refused)?;
    if !wanted.apply || report.steps.is_empty() {
        return Ok(Json(report));
    }
    let done = admin.store.change_after(plan).await.map_err(refused)?;
    if let Task::Prune { .. } = &wanted.task {
        site.spare().store(None);
    }
    Ok(Json(UpkeepPlan { applied: true, ..done }))
}
