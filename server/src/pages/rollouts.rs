//! *Rollouts*: their waves as bars, why one stands still, and the steps that an operator may take.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schema::api::admin::calls::{ListRollouts, MoveRollout};
use schema::api::admin::{Rollout, RolloutAction, RolloutState, RolloutStep, RolloutWave};
use schema::store::DeviceId;

use super::frame::{self, Frame, show};
use super::shown::{self, Bar};
use super::snaps::snap_page;
use super::texts::ENGLISH;
use super::visit::{Fields, Visit};

#[derive(Template)]
#[template(path = "rollouts.html")]
struct RolloutsPage {
    f: Frame,
    rollouts: Vec<Rollout>,
}

/// The page: those that are under way first.
pub(super) async fn page(visit: Visit) -> Response {
    let mut rollouts = match visit.ask::<ListRollouts>("").await {
        Ok(found) => found.rollouts,
        Err(refusal) => return refusal.into_response(),
    };
    rollouts.sort_by_key(|rollout| match rollout.state {
        RolloutState::Paused => 0,
        RolloutState::Running => 1,
        RolloutState::Planned => 2,
        RolloutState::Finished | RolloutState::Back => 3,
    });
    show(&RolloutsPage { f: visit.frame("rollouts", ENGLISH.rollouts), rollouts })
}

/// A step, as the form names it, as the button reads, and how it looks.
type Step = (&'static str, &'static str, &'static str);

impl RolloutsPage {
    fn page_of(&self, snap: &str) -> String {
        snap_page(snap)
    }

    fn device_page(&self, device: &DeviceId) -> String {
        shown::device_page(device)
    }

    /// The steps that make sense now; the server decides whether one is possible.
    fn actions(&self, rollout: &Rollout) -> Vec<Step> {
        let t = &ENGLISH;
        let back = ("back", t.give_up, "danger");
        match rollout.state {
            RolloutState::Planned => vec![("start", t.start, ""), back],
            RolloutState::Running => vec![("pause", t.pause, ""), ("next", t.next_wave, "quiet"), back],
            RolloutState::Paused => vec![("resume", t.resume, ""), back],
            RolloutState::Finished | RolloutState::Back => Vec::new(),
        }
    }

    fn bar(&self, wave: &RolloutWave) -> String {
        bar(wave)
    }
}

/// A wave as a bar: done, held, failed and silent from the left.
pub(super) fn bar(wave: &RolloutWave) -> String {
    let t = &ENGLISH;
    let parts = [
        ("done", wave.done, t.done),
        ("held", wave.held, t.held),
        ("failed", wave.failed, t.failed),
        ("silent", wave.silent, t.silent_word),
    ];
    shown::bar(wave.devices, &parts.map(|(class, count, text)| Bar { class, count, text }))
}

/// Takes a step.
pub(super) async fn step(visit: Visit, fields: Fields) -> Response {
    let t = &ENGLISH;
    let (action, well) = match fields.get("action") {
        "start" => (RolloutAction::Start, t.was_started),
        "pause" => (RolloutAction::Pause, t.was_paused),
        "resume" => (RolloutAction::Resume, t.was_resumed),
        "next" => (RolloutAction::Next, t.was_moved_on),
        "back" => (RolloutAction::Back, t.was_given_up),
        _ => return frame::trouble(StatusCode::UNPROCESSABLE_ENTITY, t.no_such_step, Vec::new()),
    };
    let (name, standing) = (fields.get("name").to_owned(), fields.basis());
    let step = RolloutStep { name, action, standing };
    visit.act::<MoveRollout>(&step, "/pages/rollouts", well).await
}
