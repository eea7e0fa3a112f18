//! *Trains*: validation sets on their way, their waves as bars, what a sequence would change, and the steps that an operator may take.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schema::api::admin::calls::{BackTrain, Call as _, CompareTrain, ListTrains, MoveTrain};
use schema::api::admin::{
    Gates, RolloutState, RolloutWave, Train, TrainAction, TrainBackRequest, TrainDiff, TrainStep,
};
use schema::rollout::Wave;

use super::ask;
use super::frame::{self, Frame, show};
use super::rollouts;
use super::shown::query;
use super::texts::ENGLISH;
use super::visit::{Fields, Visit};

/// Most trains whose next sequence is compared.
const COMPARED: usize = 20;
/// Most lines of a comparison.
const LINES: usize = 50;

/// A train, and what its next sequence would bring.
struct Told {
    train: Train,
    /// The sequence, and how it differs from what devices have; why there is no comparison if there is none.
    next: Option<(u32, Result<TrainDiff, String>)>,
}

#[derive(Template)]
#[template(path = "trains.html")]
struct TrainsPage {
    f: Frame,
    trains: Vec<Told>,
}

/// The page.
pub(super) async fn page(visit: Visit) -> Response {
    let trains = match visit.ask::<ListTrains>("").await {
        Ok(found) => found.trains,
        Err(refusal) => return refusal.into_response(),
    };
    let mut told = Vec::new();
    for train in trains {
        let newest =
            train.departed.or(train.held.iter().max().copied()).filter(|newest| *newest > train.arrived);
        let next = match newest.filter(|_| told.len() < COMPARED) {
            Some(newest) => Some((newest, compared(&visit, &train, newest).await)),
            None => None,
        };
        told.push(Told { train, next });
    }
    show(&TrainsPage { f: visit.frame("trains", ENGLISH.trains), trains: told })
}

async fn compared(visit: &Visit, train: &Train, newest: u32) -> Result<TrainDiff, String> {
    let (to, from) = (newest.to_string(), train.arrived.to_string());
    let from = if train.held.contains(&train.arrived) { &*from } else { "" };
    let wanted = query([("set", &*train.set), ("from", from), ("to", &*to)]);
    let target = format!("{}?{wanted}", CompareTrain::PATH);
    let found = ask::ask::<CompareTrain>(&visit.pages.api, &visit.visitor, target).await;
    let mut found = found.map_err(|refusal| refusal.failure.message)?;
    found.changes.truncate(LINES);
    found.problems.truncate(LINES);
    Ok(found)
}

impl TrainsPage {
    /// A wave as a bar.
    fn bar(&self, wave: &RolloutWave) -> String {
        rollouts::bar(wave)
    }

    fn waves<'a>(&self, train: &'a Train) -> &'a [RolloutWave] {
        waves(train)
    }

    /// The step that stops it or lets it go on.
    fn halt(&self, train: &Train) -> Option<(&'static str, &'static str)> {
        match train.journey.as_ref()?.state {
            RolloutState::Running => Some(("pause", ENGLISH.pause)),
            RolloutState::Paused => Some(("resume", ENGLISH.resume)),
            _ => None,
        }
    }

    /// Whether a wave is still to be opened, or the last one to be ended.
    fn is_under_way(&self, train: &Train) -> bool {
        train.departed.is_some()
    }

    /// The sequences that may depart.
    fn later<'a>(&self, train: &'a Train) -> Vec<&'a u32> {
        let least = train.departed.unwrap_or(train.arrived);
        train.held.iter().filter(|sequence| **sequence > least).collect()
    }

    /// The sequences that one can go back to.
    fn earlier<'a>(&self, train: &'a Train) -> Vec<&'a u32> {
        let now = train.departed.unwrap_or(train.arrived);
        train.held.iter().filter(|sequence| **sequence < now).collect()
    }
}

fn waves(train: &Train) -> &[RolloutWave] {
    train.journey.as_ref().map(|journey| &*journey.waves).unwrap_or_default()
}

/// Takes a step.
pub(super) async fn step(visit: Visit, fields: Fields) -> Response {
    let t = &ENGLISH;
    let wrong = |message: &str| frame::trouble(StatusCode::UNPROCESSABLE_ENTITY, message, Vec::new());
    let (set, there) = (fields.get("set").to_owned(), "/pages/trains");
    let sequence = fields.get("sequence").parse::<u32>().ok();
    let (action, well) = match fields.get("action") {
        "next" => (TrainAction::Next, t.train_moved_on),
        "depart" => (TrainAction::Depart, t.train_departed),
        "pause" => (TrainAction::Pause, t.train_paused),
        "resume" => (TrainAction::Resume, t.train_resumed),
        "back" => {
            let Some(back_to) = sequence else { return wrong(t.no_such_sequence) };
            let wanted = TrainBackRequest { set, to: Some(back_to), key: None, standing: fields.basis() };
            return visit.act::<BackTrain>(&wanted, there, t.train_back).await;
        }
        _ => return wrong(t.no_such_step),
    };
    let waves = fields.get("waves").split([',', ' ']).filter(|wave| !wave.is_empty());
    let waves = match waves.map(str::parse).collect::<Result<Vec<Wave>, _>>() {
        Ok(waves) => waves,
        Err(error) => return wrong(&error.to_string()),
    };
    let departs = matches!(action, TrainAction::Depart);
    if departs && sequence.is_none() {
        return wrong(t.no_such_sequence);
    }
    let gates = (departs && !waves.is_empty()).then(|| Gates::usual(waves));
    let wanted =
        TrainStep { set, action, sequence: sequence.filter(|_| departs), gates, standing: fields.basis() };
    visit.act::<MoveTrain>(&wanted, there, well).await
}
