//! Trains: validation sets that reach devices in waves.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schema::api::admin::{
    Failure, RolloutState, StreamKind, Train, TrainAction, TrainBackRequest, TrainCount, TrainDiff,
    TrainDraft, TrainDraftRequest, TrainExport, TrainJourney, TrainPlan, TrainSignRequest, TrainSigned,
    TrainStep, Trains,
};
use schema::digest::hex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::approvals::granted;
use super::devices::fleet;
use super::error::AdminError;
use super::given::{Given, Query};
use super::rollouts::audit_of;
use super::{Admin, Operator};
use crate::approvals::{self, Ask, Kind};
use crate::catalog::{Catalog, Departed};
use crate::clock;
use crate::fleet::progress::on;
use crate::fleet::{Progress, shown, written};
use crate::imports::{Stream, Views, plan_assertions};
use crate::plans::By;
use crate::plans::gates::{expected, wished};
use crate::plans::standing::{standing, still};
use crate::plans::trains::{
    Back, Known, TrainError, changes, draft as plan_draft, judge, meant, plan_of, plan_train, problems,
    says_more, sequence_of, train, way_back,
};
use crate::signing::{SetError, set_key};
use crate::storage::devices::DeviceRecord;
use crate::storage::records::{AuditEvent, Change};
use crate::storage::trains::TrainRecord;
use crate::store::off_thread;

impl From<TrainError> for AdminError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Group(error) => error.into(),
            TrainError::ChannelMap(error) => error.into(),
            TrainError::Set(_) => Self::refused("invalid-set", &error),
            TrainError::NoTrain(_) => Self::refused("unknown-train", &error),
            TrainError::Taken(_) => Self::refused("train-taken", &error),
            TrainError::NotHeld { .. } => Self::refused("unknown-sequence", &error),
            TrainError::Lower { .. } => Self::refused("lower-sequence", &error),
            TrainError::Problems { .. } => Self::refused("sequence-not-taken", &error),
            TrainError::Gate(error) => error.into(),
            TrainError::Moved(_) => Self::refused(Failure::MOVED, &error),
            TrainError::SameWaves { .. } => Self::refused("invalid-waves", &error),
            TrainError::State { .. } => Self::refused("train-state", &error),
            TrainError::NoWayBack { .. } | TrainError::NotEarlier { .. } => {
                Self::refused("no-way-back", &error)
            }
            TrainError::Said { .. } => Self::refused("sequence-held", &error),
            TrainError::Twice(_) => Self::refused("snap-twice", &error),
            TrainError::NoPlan(_) => Self::refused("no-plan", &error),
            TrainError::Stands(_) => Self::refused("train-stands", &error),
            TrainError::NoSnaps(_) => Self::refused("no-snaps", &error),
            TrainError::NothingThere { .. } => Self::refused("channel-not-open", &error),
            TrainError::Several { .. } => Self::refused("several-revisions", &error),
            TrainError::Storage(_) => Self::failed("devices-not-read", &error),
            TrainError::Commit(_) => Self::failed("train-not-stored", &error),
        }
    }
}

impl From<SetError> for AdminError {
    fn from(error: SetError) -> Self {
        match &error {
            SetError::NoKey(_) | SetError::UnknownKey(..) | SetError::WhichKey(_) => {
                Self::refused("unknown-key", &error)
            }
            SetError::NotReady(_) => Self::refused("key-not-ready", &error),
            SetError::Refused(_) => Self::refused("key-not-accepted", &error),
            SetError::Signer(_) => Self::failed("signer-unavailable", &error),
        }
    }
}

/// Which set is meant.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct SetQuery {
    /// The validation set, `ACCOUNT/NAME`.
    set: String,
}

/// Which sequences are compared.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct DiffQuery {
    /// The validation set, `ACCOUNT/NAME`.
    set: String,
    /// The earlier sequence.
    #[serde(default)]
    from: Option<u32>,
    /// The later sequence.
    to: u32,
}

/// How the devices that follow a set take to the sequence on its way.
async fn progress<'s>(
    admin: &Admin,
    catalog: &Catalog,
    set: &str,
    seen: &'s [DeviceRecord],
) -> Result<Vec<Progress<'s>>, TrainError> {
    match catalog.departed(set) {
        Some(departed) => Ok(fleet(admin, catalog).progress(&departed, seen, clock::micros()).await?),
        None => Ok(Vec::new()),
    }
}

async fn described(
    admin: &Admin,
    catalog: &Catalog,
    set: &str,
    record: &TrainRecord,
) -> Result<Train, TrainError> {
    let seen = fleet(admin, catalog).following(set).await?;
    let waves = progress(admin, catalog, set, &seen).await?;
    let mut devices: BTreeMap<u32, usize> = BTreeMap::new();
    for sequence in seen.iter().filter_map(|record| on(record, set)) {
        *devices.entry(sequence).or_default() += 1;
    }
    Ok(Train {
        set: set.to_owned(),
        arrived: record.arrived,
        departed: record.departed.as_ref().map(|departed| departed.sequence),
        journey: catalog.departed(set).map(|departed| journey(catalog, &departed, &waves)),
        planned: record.planned.clone().map(|plan| TrainPlan {
            set: set.to_owned(),
            sequence: plan.sequence,
            gates: plan.gates,
        }),
        held: catalog.sequences(set),
        devices: devices.into_iter().map(|(sequence, devices)| TrainCount { sequence, devices }).collect(),
        standing: standing(record),
    })
}

fn journey(catalog: &Catalog, departed: &Departed<'_>, waves: &[Progress<'_>]) -> TrainJourney {
    let (course, now) = (&departed.departure.course, clock::micros());
    let why = match course.state {
        RolloutState::Running => Some(expected(judge(catalog, departed, waves, now), "it arrives")),
        _ => course.why.clone(),
    };
    TrainJourney {
        state: course.state,
        why,
        stopped_by: course.stopped_by.iter().cloned().collect(),
        soak: course.soak,
        max_failed: course.max_failed,
        max_silent: course.max_silent,
        approvals: course.approvals,
        windows: course.windows.as_ref().map(ToString::to_string),
        next_window: course.next_window(now).map(written),
        waves: shown(course, waves),
        who: course.who.clone(),
    }
}

async fn now(admin: &Admin, set: &str) -> Result<Train, TrainError> {
    let catalog = admin.store.catalog();
    described(admin, &catalog, set, train(&catalog, set)?).await
}

/// Answers `ListTrains`.
pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Trains>, AdminError> {
    let catalog = admin.store.catalog();
    let mut trains = Vec::new();
    for (set, record) in catalog.trains() {
        trains.push(described(&admin, &catalog, set, record).await?);
    }
    Ok(Json(Trains { trains }))
}

/// Answers `ShowTrain`.
pub(super) async fn show(
    State(admin): State<Admin>,
    Query(query): Query<SetQuery>,
) -> Result<Json<Train>, AdminError> {
    Ok(Json(now(&admin, &query.set).await?))
}

/// Answers `ExportTrain`.
pub(super) async fn export(
    State(admin): State<Admin>,
    Query(SetQuery { set }): Query<SetQuery>,
) -> Result<Json<TrainExport>, AdminError> {
    let catalog = admin.store.catalog();
    let record = train(&catalog, &set)?;
    let plan = plan_of(&set, record)?;
    let mut outcome = described(&admin, &catalog, &set, record).await?;
    if let (None, Some(last)) = (&record.departed, &record.last) {
        let pins = catalog.pins(&set, last.sequence);
        let arrived = Departed { set: &set, departure: last, pins: &pins };
        let fleet = fleet(&admin, &catalog);
        let seen = fleet.following(&set).await.map_err(TrainError::from)?;
        let waves = fleet.progress(&arrived, &seen, clock::micros()).await.map_err(TrainError::from)?;
        outcome.journey = Some(journey(&catalog, &arrived, &waves));
    }
    let audit = audit_of(&admin, set, "train-").await.map_err(TrainError::from)?;
    Ok(Json(TrainExport { plan, outcome, audit }))
}

/// Answers `MoveTrain`.
pub(super) async fn step(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<TrainStep>,
) -> Result<Json<Train>, AdminError> {
    moved(&admin, who, &wanted, None).await?;
    Ok(Json(now(&admin, &wanted.set).await?))
}

/// Does what an operator wants of a train, once it is approved. A departure may lead back to an earlier sequence.
async fn moved(
    admin: &Admin,
    who: String,
    wanted: &TrainStep,
    back_to: Option<u32>,
) -> Result<(), AdminError> {
    let by = By { who, now: clock::now() };
    let what = match wanted.action {
        TrainAction::Hold => "train-hold",
        TrainAction::Plan => "train-plan",
        TrainAction::Depart => "train-depart",
        TrainAction::Next => "train-wave",
        TrainAction::Pause => "train-pause",
        TrainAction::Resume => "train-resume",
    };
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| AdminError::failed("train-not-stored", &NoRandom))?;
    let salt = hex(&random);
    let refused = |error: TrainError| AdminError::from(error).of(true, what, wanted.set.clone());
    let plan = async |catalog: Arc<Catalog>, wanted: &TrainStep| -> Result<(Change, u32), TrainError> {
        if let Some(seen) = &wanted.standing {
            still(train(&catalog, &wanted.set)?, Some(seen))?;
        }
        let seen = fleet(admin, &catalog).following(&wanted.set).await?;
        let waves = progress(admin, &catalog, &wanted.set, &seen).await?;
        plan_train(&catalog, wanted, &Known { seen: &seen, waves: &waves, salt: &salt }, &by)
    };
    // Whether it can be done at all comes before anybody's approval.
    let catalog = admin.store.catalog();
    let wanted = &meant(&catalog, wanted).map_err(refused)?;
    let (_, needed) = plan(catalog.clone(), wanted).await.map_err(refused)?;
    let approval = granted(admin, ask(&catalog, wanted, needed, &by.who)).await?;
    let approved = async |catalog: Arc<Catalog>| -> Result<_, TrainError> {
        let (mut change, _) = plan(catalog, wanted).await?;
        if let Some(to) = back_to {
            change.audit.what = "train-back".to_owned();
            change.audit.detail["to"] = to.into();
        }
        Ok((Change { approval: approval.clone(), ..change }, ()))
    };
    admin.store.change_after(approved).await.map_err(refused)
}

/// What people approve: this departure, or this wave of the sequence on its way, as it was planned.
fn ask<'a>(catalog: &Catalog, wanted: &TrainStep, needed: u32, who: &'a str) -> Ask<'a> {
    let departed = catalog.departed(&wanted.set).map(|departed| departed.departure);
    let course = departed.map(|departed| &departed.course);
    let sequence = wanted.sequence.or(departed.map(|departed| departed.sequence));
    let opens =
        course.filter(|_| wanted.action == TrainAction::Next).map_or(1, |course| course.opened.len() + 1);
    let gates = wanted.gates.clone().or(course.map(wished));
    let wave = gates.as_ref().and_then(|gates| gates.waves.get(opens - 1));
    let wave = wave.map_or_else(|| "all".to_owned(), ToString::to_string);
    let exactly = json!({
        "step": wanted.action, "set": wanted.set, "sequence": sequence, "opens": opens, "gates": gates,
    });
    Ask {
        kind: Kind::Train,
        subject: format!("{}={}", wanted.set, sequence.unwrap_or_default()),
        digest: approvals::digest(&exactly),
        needed,
        who,
        detail: json!({ "step": wanted.action, "sequence": sequence, "opens": wave, "gates": gates }),
    }
}

/// Answers `BackTrain`. A sequence that waits here with the same contents departs; otherwise one is signed.
pub(super) async fn back(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<TrainBackRequest>,
) -> Result<Json<Train>, AdminError> {
    let set = wanted.set.clone();
    let gone = brought_back(&admin, who, wanted).await;
    gone.map_err(|refusal| refusal.of(true, "train-back", set.clone()))?;
    Ok(Json(now(&admin, &set).await?))
}

async fn brought_back(admin: &Admin, who: String, wanted: TrainBackRequest) -> Result<(), AdminError> {
    let TrainBackRequest { set, to, key, standing: seen } = wanted;
    let catalog = admin.store.catalog();
    let record = train(&catalog, &set)?;
    // Nothing is signed for a train that has moved on.
    still(record, seen.as_deref()).map_err(TrainError::from)?;
    let Back { to, waiting, gates } = way_back(&catalog, &set, record, to)?;
    let sequence = match waiting {
        Some(sequence) => sequence,
        None => {
            let draft =
                TrainDraftRequest { set: set.clone(), channel: None, snaps: Vec::new(), back_to: Some(to) };
            signed(admin, who.clone(), TrainSignRequest { draft, key }).await?.sequence
        }
    };
    let step =
        TrainStep { set, action: TrainAction::Depart, sequence: Some(sequence), gates, standing: seen };
    moved(admin, who, &step, Some(to)).await
}

/// The system has no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
struct NoRandom;

/// Answers `CompareTrain`.
pub(super) async fn diff(
    State(admin): State<Admin>,
    Query(query): Query<DiffQuery>,
) -> Result<Json<TrainDiff>, AdminError> {
    let catalog = admin.store.catalog();
    let to = sequence_of(&catalog, &query.set, query.to)?;
    let from = query.from.map(|from| sequence_of(&catalog, &query.set, from)).transpose()?;
    let seen = fleet(&admin, &catalog).following(&query.set).await.map_err(TrainError::from)?;
    let problems = problems(&catalog, &to, &seen);
    Ok(Json(TrainDiff { changes: changes(from.as_ref(), &to), problems }))
}

/// Answers `DraftTrain`.
pub(super) async fn draft(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<TrainDraftRequest>,
) -> Result<Json<TrainDraft>, AdminError> {
    let by = By { who, now: clock::now() };
    Ok(Json(plan_draft(&admin.store.catalog(), &wanted, &by)?))
}

/// Answers `SignTrain`.
pub(super) async fn sign(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<TrainSignRequest>,
) -> Result<Json<TrainSigned>, AdminError> {
    let set = wanted.draft.set.clone();
    let signed = signed(&admin, who, wanted).await;
    Ok(Json(signed.map_err(|refusal| refusal.of(true, "train-sign", set))?))
}

async fn signed(admin: &Admin, who: String, wanted: TrainSignRequest) -> Result<TrainSigned, AdminError> {
    let TrainSignRequest { draft: wanted, key } = wanted;
    let store = &admin.store;
    let catalog = store.catalog();
    let set = wanted.set.clone();
    // Without a train, devices would get it at once.
    let record = train(&catalog, &set)?;
    let by = By { who: who.clone(), now: clock::now() };
    let draft = plan_draft(&catalog, &wanted, &by)?;
    says_more(&catalog, &set, record, &draft)?;
    let TrainDraft { headers, changes } = draft;
    let key = set_key(&catalog, set.split('/').next().unwrap_or_default(), key.as_deref())?;
    let sequence = headers["sequence"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
    // The time is left out: the same command, run again, is the same request.
    let detail = json!({
        "set": set, "sequence": sequence, "snaps": headers["snaps"], "changes": changes, "key": key.label.name,
    });
    let ask = Ask {
        kind: Kind::ValidationSet,
        subject: format!("{set}={sequence}"),
        digest: approvals::digest(&detail),
        needed: key.approvals,
        who: &who,
        detail,
    };
    let approval = granted(admin, ask).await?;
    let bytes = store.signing().sign_set(store.database(), &catalog, &key, &headers).await?;
    let event = AuditEvent::new(&who, "train-sign", &set).detail(json!({
        "sequence": sequence, "changes": changes, "key": key.label.name, "key-id": key.key_id,
        "approval": approval.as_ref().map(|(id, _)| id),
    }));
    let cx = admin.context(who, None);
    let (known, judged) = (Arc::clone(&catalog), cx.clone());
    let stream = off_thread(move || Stream::check(&*known, &bytes, &judged)).await?;
    let plan = move |catalog: &Catalog| {
        let (mut change, pushed) =
            plan_assertions(catalog, &stream, StreamKind::Assertions, &Views::default(), &cx)?;
        change.approval.clone_from(&approval);
        change.audit.clone_from(&event);
        Ok((change, pushed))
    };
    let _ = admin.import(plan).await?;
    Ok(TrainSigned { set, sequence, key: key.label.name, changes })
}
