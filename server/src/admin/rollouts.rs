//! Rollouts: planned, moved on, and shown.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use schema::api::admin::{
    Rollout as Shown, RolloutAction, RolloutReasons, RolloutRequest, RolloutState, RolloutStep, Rollouts,
};
use schema::digest::hex;

use super::devices::{DeviceQuery, fleet};
use super::error::AdminError;
use super::{Admin, Operator};
use crate::catalog::{Catalog, Rollout};
use crate::clock;
use crate::fleet::{Progress, shown};
use crate::plans::By;
use crate::plans::rollouts::{RolloutError, Verdict, judge, plan_rollout, plan_step, rollout};
use crate::storage::devices::DeviceRecord;

impl From<RolloutError> for AdminError {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Group(error) => error.into(),
            RolloutError::ChannelMap(error) => error.into(),
            RolloutError::Taken(_) => Self::refused("rollout-taken", &error),
            RolloutError::Unknown(_) => Self::refused("unknown-rollout", &error),
            RolloutError::Waves => Self::refused("invalid-waves", &error),
            RolloutError::Damaged { .. } => Self::refused("file-damaged", &error),
            RolloutError::NotOpen { .. } => Self::refused("channel-not-open", &error),
            RolloutError::Already { .. } => Self::refused("already-released", &error),
            RolloutError::Overridden { .. } => Self::refused("channel-overridden", &error),
            RolloutError::Busy { .. } => Self::refused("rolling-out", &error),
            RolloutError::Nobody { .. } => Self::refused("empty-wave", &error),
            RolloutError::State { .. } => Self::refused("rollout-state", &error),
            RolloutError::Epoch { .. } => Self::refused("no-way-back", &error),
            RolloutError::Storage(_) => Self::failed("devices-not-read", &error),
            RolloutError::Commit(_) => Self::failed("rollout-not-stored", &error),
        }
    }
}

/// How a rollout is doing, for operators.
async fn described(
    admin: &Admin,
    catalog: &Catalog,
    rollout: &Rollout,
    seen: &[DeviceRecord],
) -> Result<Shown, RolloutError> {
    let now = clock::micros();
    let waves = fleet(admin, catalog).progress(rollout, seen, now).await?;
    let record = &rollout.record;
    let snap = catalog.snap_by_id(&record.snap_id).map_or(record.snap_id.as_str(), |snap| &*snap.name);
    let why = match record.state {
        RolloutState::Running => Some(expected(catalog, rollout, &waves, now)),
        _ => record.why.clone(),
    };
    Ok(Shown {
        name: rollout.name.clone(),
        snap: snap.to_owned(),
        channel: record.channel.to_string(),
        revision: record.revision,
        state: record.state,
        why,
        stopped_by: record.stopped_by.iter().cloned().collect(),
        soak: record.soak,
        max_failed: record.max_failed,
        max_silent: record.max_silent,
        waves: shown(rollout, &waves),
        who: record.who.clone(),
    })
}

fn expected(catalog: &Catalog, rollout: &Rollout, waves: &[Progress], now_micros: i64) -> String {
    match judge(catalog, rollout, waves, now_micros) {
        Verdict::Wait(why) => why,
        Verdict::Open => "the next wave opens within a minute".to_owned(),
        Verdict::Finish => "the revision is released within a minute".to_owned(),
        Verdict::Stop(why, _) => format!("it stops within a minute: {why}"),
    }
}

/// Answers `ListRollouts`.
pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Rollouts>, AdminError> {
    let catalog = admin.store.catalog();
    let seen = fleet(&admin, &catalog).seen().await.map_err(RolloutError::from)?;
    let mut rollouts = Vec::new();
    for rollout in catalog.all_rollouts() {
        rollouts.push(described(&admin, &catalog, &rollout, &seen).await?);
    }
    Ok(Json(Rollouts { rollouts }))
}

/// Answers `ShowRollout`.
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(name): Path<String>,
) -> Result<Json<Shown>, AdminError> {
    Ok(Json(now(&admin, &name).await?))
}

async fn now(admin: &Admin, name: &str) -> Result<Shown, RolloutError> {
    let catalog = admin.store.catalog();
    let seen = fleet(admin, &catalog).seen().await?;
    described(admin, &catalog, &rollout(&catalog, name)?, &seen).await
}

/// Answers `PlanRollout`.
pub(super) async fn plan(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Json(wanted): Json<RolloutRequest>,
) -> Result<Json<Shown>, AdminError> {
    let by = By { who, now: clock::now() };
    let refused = |error: RolloutError| AdminError::from(error).of(true, "rollout-plan", wanted.name.clone());
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| AdminError::failed("rollout-not-stored", &NoRandom))?;
    let salt = hex(&random);
    let done = admin.store.change(|catalog| Ok((plan_rollout(catalog, &wanted, &salt, &by)?, ()))).await;
    done.map_err(refused)?;
    Ok(Json(now(&admin, &wanted.name).await?))
}

/// The system has no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
struct NoRandom;

/// Answers `MoveRollout`.
pub(super) async fn step(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Json(wanted): Json<RolloutStep>,
) -> Result<Json<Shown>, AdminError> {
    let RolloutStep { name, action } = wanted;
    let by = By { who, now: clock::now() };
    let what = match action {
        RolloutAction::Start => "rollout-start",
        RolloutAction::Pause => "rollout-pause",
        RolloutAction::Resume => "rollout-resume",
        RolloutAction::Next => "rollout-next",
        RolloutAction::Back => "rollout-back",
    };
    let plan = async |catalog: Arc<Catalog>| -> Result<_, RolloutError> {
        let fleet = fleet(&admin, &catalog);
        let waves = fleet.progress(&rollout(&catalog, &name)?, &fleet.seen().await?, by.micros()).await?;
        Ok((plan_step(&catalog, &name, action, &waves, &by)?, ()))
    };
    let refused = |error: RolloutError| AdminError::from(error).of(true, what, name.clone());
    admin.store.change_after(plan).await.map_err(refused)?;
    Ok(Json(now(&admin, &name).await?))
}

/// Answers `ExplainRollouts`.
pub(super) async fn why(
    State(admin): State<Admin>,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<RolloutReasons>, AdminError> {
    let catalog = admin.store.catalog();
    let reasons = fleet(&admin, &catalog).reasons(&query.device, clock::micros()).await;
    Ok(Json(reasons.map_err(RolloutError::from)?))
}
