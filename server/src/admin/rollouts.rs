//! Rollouts: planned, moved on, and shown.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use schema::api::admin::{
    AuditEntry, Failure, Rollout as Shown, RolloutAction, RolloutExport, RolloutForecast, RolloutReasons,
    RolloutRequest, RolloutState, RolloutStep, Rollouts,
};
use schema::digest::hex;
use serde_json::json;

use super::approvals::granted;
use super::audit::entry;
use super::devices::{DeviceQuery, fleet};
use super::error::AdminError;
use super::given::{Given, Query};
use super::{Admin, Operator};
use crate::approvals::{Ask, Kind, digest, withdraw_all};
use crate::catalog::{Catalog, Rollout};
use crate::clock;
use crate::fleet::{Moment, shown, written};
use crate::plans::By;
use crate::plans::forecast::forecast;
use crate::plans::gates::{GateError, expected};
use crate::plans::rollouts::{RolloutError, as_wished, judge, plan_rollout, plan_step, rollout, wish_of};
use crate::plans::standing::{standing, still};
use crate::storage::EventsWhere;
use crate::storage::error::StorageError;
use crate::storage::records::Change;

/// Maximum number of events in an export.
const MOST_EVENTS: u32 = 10_000;

impl From<RolloutError> for AdminError {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Group(error) => error.into(),
            RolloutError::ChannelMap(error) => error.into(),
            RolloutError::Taken(_) => Self::refused("rollout-taken", &error),
            RolloutError::Unknown(_) => Self::refused("unknown-rollout", &error),
            RolloutError::Gate(error) => error.into(),
            RolloutError::Moved(_) => Self::refused(Failure::MOVED, &error),
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

impl From<GateError> for AdminError {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Waves => Self::refused("invalid-waves", &error),
            GateError::Window(_) | GateError::ZoneAlone => Self::refused("invalid-window", &error),
            GateError::Approvals(_) => Self::refused("invalid-approvals", &error),
            GateError::Soak(_) => Self::refused("invalid-soak", &error),
        }
    }
}

/// How a rollout is doing, for operators.
async fn described(admin: &Admin, catalog: &Catalog, rollout: &Rollout) -> Result<Shown, RolloutError> {
    let (now, record, fleet) = (clock::micros(), &rollout.record, fleet(admin, catalog));
    let course = &record.course;
    let mut waves = course.ended.clone();
    let mut why = course.why.clone();
    if waves.is_empty() {
        let seen = fleet.running(&record.snap_id).await?;
        let progress = fleet.progress(rollout, &seen, now).await?;
        waves = shown(course, &progress);
        if course.state == RolloutState::Running {
            why = Some(expected(judge(catalog, rollout, &progress, now), "the revision is released"));
        }
    }
    Ok(Shown {
        name: rollout.name.clone(),
        snap: snap_of(catalog, rollout).to_owned(),
        channel: record.channel.to_string(),
        revision: record.revision,
        state: course.state,
        why,
        stopped_by: course.stopped_by.iter().cloned().collect(),
        soak: course.soak,
        max_failed: course.max_failed,
        max_silent: course.max_silent,
        approvals: course.approvals,
        windows: course.windows.as_ref().map(ToString::to_string),
        next_window: course.next_window(now).map(written),
        waves,
        who: course.who.clone(),
        standing: standing(record),
    })
}

/// The snap's name, or its id if it is gone.
fn snap_of<'a>(catalog: &'a Catalog, rollout: &'a Rollout) -> &'a str {
    let snap_id = &rollout.record.snap_id;
    catalog.snap_by_id(snap_id).map_or(snap_id.as_str(), |snap| &*snap.name)
}

/// Answers `ListRollouts`.
pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Rollouts>, AdminError> {
    let catalog = admin.store.catalog();
    let mut rollouts = Vec::new();
    for rollout in catalog.all_rollouts() {
        rollouts.push(described(&admin, &catalog, &rollout).await?);
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
    described(admin, &catalog, &rollout(&catalog, name)?).await
}

/// Answers `ExportRollout`.
pub(super) async fn export(
    State(admin): State<Admin>,
    Path(name): Path<String>,
) -> Result<Json<RolloutExport>, AdminError> {
    let catalog = admin.store.catalog();
    let rollout = rollout(&catalog, &name)?;
    let outcome = described(&admin, &catalog, &rollout).await?;
    let plan = wish_of(&rollout.name, snap_of(&catalog, &rollout), &rollout.record);
    let audit = audit_of(&admin, name, "rollout-").await.map_err(RolloutError::from)?;
    Ok(Json(RolloutExport { plan, outcome, audit }))
}

/// What the audit log says of a rollout or a train, oldest first. A group and a tag may be called so, too: only actions count
/// that begin like this.
pub(super) async fn audit_of(
    admin: &Admin,
    subject: String,
    actions: &str,
) -> Result<Vec<AuditEntry>, StorageError> {
    let of = EventsWhere { subject: Some(subject), ..EventsWhere::default() };
    let events = admin.store.database().events_where(of, MOST_EVENTS).await?;
    let own = events.into_iter().rev().filter(|record| record.event.what.starts_with(actions));
    Ok(own.map(entry).collect())
}

/// Answers `ForecastRollout`. A rollout that there is goes on from where it is, whatever the request says of it.
pub(super) async fn simulate(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<RolloutRequest>,
) -> Result<Json<RolloutForecast>, AdminError> {
    let (catalog, now_micros) = (admin.store.catalog(), clock::micros());
    let rollout = match catalog.rollout(&wanted.name) {
        Some(rollout) => rollout,
        None => {
            let by = By { who, now: clock::now() };
            // Which devices come first is as good as any other choice until it is planned.
            let record = as_wished(&catalog, &wanted, "", &by)?;
            catalog.rollout_as(&wanted.name, record)
        }
    };
    let fleet = fleet(&admin, &catalog);
    let read = async || -> Result<_, RolloutError> {
        Ok((fleet.running(&rollout.record.snap_id).await?, fleet.taken(&rollout.name).await?))
    };
    let (seen, taken) = read().await?;
    let moment = Moment { now_micros, since_micros: admin.store.sightings().since_micros };
    let work = move || forecast(&catalog, rollout, &seen, &taken, moment);
    let told = tokio::task::spawn_blocking(work).await;
    Ok(Json(told.unwrap_or_else(|failure| std::panic::resume_unwind(failure.into_panic()))?))
}

/// Answers `PlanRollout`.
pub(super) async fn plan(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<RolloutRequest>,
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
    Given(wanted): Given<RolloutStep>,
) -> Result<Json<Shown>, AdminError> {
    let RolloutStep { name, action, standing: seen } = wanted;
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
        let rollout = rollout(&catalog, &name)?;
        still(&rollout.record, seen.as_deref())?;
        let seen = fleet.running(&rollout.record.snap_id).await?;
        let waves = fleet.progress(&rollout, &seen, by.micros()).await?;
        Ok((plan_step(&catalog, &name, action, &waves, &by)?, ()))
    };
    let refused = |error: RolloutError| AdminError::from(error).of(true, what, name.clone());
    let catalog = admin.store.catalog();
    let approval = match action {
        RolloutAction::Start | RolloutAction::Next => {
            // Whether it can be done at all comes before anybody's approval.
            let asked = plan(catalog.clone()).await.map_err(refused)?;
            let rollout = rollout(&catalog, &name).map_err(refused)?;
            granted(&admin, ask(&catalog, &rollout, &asked.0.audit.what, &by.who)).await?
        }
        RolloutAction::Pause | RolloutAction::Resume | RolloutAction::Back => None,
    };
    let approved = async |catalog: Arc<Catalog>| -> Result<_, RolloutError> {
        let (change, ()) = plan(catalog).await?;
        Ok((Change { approval: approval.clone(), ..change }, ()))
    };
    admin.store.change_after(approved).await.map_err(refused)?;
    let now = now(&admin, &name).await?;
    if now.state.is_over() {
        withdraw_all(admin.store.database(), Kind::Rollout, &name).await?;
    }
    Ok(Json(now))
}

/// What people approve: this step of this rollout, as it was planned.
fn ask<'a>(catalog: &Catalog, rollout: &Rollout, step: &str, who: &'a str) -> Ask<'a> {
    let plan = wish_of(&rollout.name, snap_of(catalog, rollout), &rollout.record);
    let opens = rollout.record.course.opened.len() + 1;
    let wave =
        rollout.record.course.waves.get(opens - 1).map_or_else(|| "all".to_owned(), ToString::to_string);
    let detail = json!({ "step": step, "opens": wave, "plan": plan });
    let exactly = json!({ "step": step, "opens": opens, "plan": plan });
    Ask {
        kind: Kind::Rollout,
        subject: rollout.name.clone(),
        digest: digest(&exactly),
        needed: rollout.record.course.approvals,
        who,
        detail,
    }
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
