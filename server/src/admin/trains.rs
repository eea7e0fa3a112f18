//! Trains: validation sets that reach devices in waves.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use schema::api::admin::{
    StreamKind, Train, TrainAction, TrainCount, TrainDiff, TrainDraft, TrainDraftRequest, TrainSignRequest,
    TrainSigned, TrainStep, TrainWave, Trains,
};
use schema::digest::hex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::approvals::granted;
use super::devices::fleet;
use super::error::AdminError;
use super::{Admin, Operator};
use crate::approvals::{self, Ask, Kind};
use crate::catalog::Catalog;
use crate::clock;
use crate::fleet::progress::who;
use crate::fleet::written;
use crate::imports::{Stream, Views, plan_assertions};
use crate::plans::By;
use crate::plans::trains::{
    TrainError, changes, check_set, draft as plan_draft, on, plan_train, problems, sequence_of,
};
use crate::signing::{SetError, set_key};
use crate::storage::devices::DeviceRecord;
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
            TrainError::Waves | TrainError::SameWaves { .. } => Self::refused("invalid-waves", &error),
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

/// The devices that were seen.
async fn seen(admin: &Admin, catalog: &Catalog) -> Result<Vec<DeviceRecord>, TrainError> {
    Ok(fleet(admin, catalog).seen().await?)
}

fn described(catalog: &Catalog, set: &str, record: &TrainRecord, seen: &[DeviceRecord]) -> Train {
    let mut devices: BTreeMap<u32, usize> = BTreeMap::new();
    let mut waves: Vec<TrainWave> = Vec::new();
    let departed = record.departed.as_ref();
    if let Some(departed) = departed {
        let wave = |(at, wave): (usize, &schema::rollout::Wave)| TrainWave {
            wave: wave.clone(),
            opened: departed.opened.get(at).map(|micros| written(*micros)),
            devices: 0,
            done: 0,
        };
        waves.extend(departed.waves.iter().enumerate().map(wave));
    }
    for (device, sequence) in seen.iter().filter_map(|record| Some((record, on(record, set)?))) {
        *devices.entry(sequence).or_default() += 1;
        let wave = departed.and_then(|departed| departed.wave_of(set, &who(device, catalog)));
        if let (Some(departed), Some(wave)) = (departed, wave.and_then(|wave| waves.get_mut(wave))) {
            wave.devices += 1;
            wave.done += usize::from(sequence >= departed.sequence);
        }
    }
    Train {
        set: set.to_owned(),
        arrived: record.arrived,
        departed: departed.map(|departed| departed.sequence),
        waves,
        held: catalog.sequences(set),
        devices: devices.into_iter().map(|(sequence, devices)| TrainCount { sequence, devices }).collect(),
    }
}

async fn now(admin: &Admin, set: &str) -> Result<Train, TrainError> {
    let catalog = admin.store.catalog();
    check_set(set)?;
    let record = catalog.train(set).ok_or_else(|| TrainError::NoTrain(set.to_owned()))?;
    Ok(described(&catalog, set, record, &seen(admin, &catalog).await?))
}

/// Answers `ListTrains`.
pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Trains>, AdminError> {
    let catalog = admin.store.catalog();
    let seen = seen(&admin, &catalog).await?;
    let trains = catalog.trains().map(|(set, record)| described(&catalog, set, record, &seen));
    Ok(Json(Trains { trains: trains.collect() }))
}

/// Answers `ShowTrain`.
pub(super) async fn show(
    State(admin): State<Admin>,
    Query(query): Query<SetQuery>,
) -> Result<Json<Train>, AdminError> {
    Ok(Json(now(&admin, &query.set).await?))
}

/// Answers `MoveTrain`.
pub(super) async fn step(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Json(wanted): Json<TrainStep>,
) -> Result<Json<Train>, AdminError> {
    let by = By { who, now: clock::now() };
    let what = match wanted.action {
        TrainAction::Hold => "train-hold",
        TrainAction::Depart => "train-depart",
        TrainAction::Next => "train-wave",
    };
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| AdminError::failed("train-not-stored", &NoRandom))?;
    let salt = hex(&random);
    let refused = |error: TrainError| AdminError::from(error).of(true, what, wanted.set.clone());
    let seen = seen(&admin, &admin.store.catalog()).await.map_err(refused)?;
    let done = admin.store.change(|catalog| Ok((plan_train(catalog, &wanted, &seen, &salt, &by)?, ()))).await;
    done.map_err(refused)?;
    Ok(Json(now(&admin, &wanted.set).await?))
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
    let problems = problems(&catalog, &to, &seen(&admin, &catalog).await?);
    Ok(Json(TrainDiff { changes: changes(from.as_ref(), &to), problems }))
}

/// Answers `DraftTrain`.
pub(super) async fn draft(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Json(wanted): Json<TrainDraftRequest>,
) -> Result<Json<TrainDraft>, AdminError> {
    let by = By { who, now: clock::now() };
    Ok(Json(plan_draft(&admin.store.catalog(), &wanted, &by)?))
}

/// Answers `SignTrain`.
pub(super) async fn sign(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Json(TrainSignRequest { draft: wanted, key }): Json<TrainSignRequest>,
) -> Result<Json<TrainSigned>, AdminError> {
    let store = &admin.store;
    let catalog = store.catalog();
    let set = wanted.set.clone();
    check_set(&set)?;
    // Without a train, devices would get it at once.
    catalog.train(&set).ok_or_else(|| TrainError::NoTrain(set.clone()))?;
    let by = By { who: who.clone(), now: clock::now() };
    let TrainDraft { headers, changes } = plan_draft(&catalog, &wanted, &by)?;
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
    let approval = granted(&admin, ask).await?;
    let bytes = store.signing().sign_set(store.database(), &catalog, &key, &headers).await?;
    let cx = admin.context(who, None);
    let (known, judged) = (Arc::clone(&catalog), cx.clone());
    let stream = off_thread(move || Stream::check(&*known, &bytes, &judged)).await?;
    let plan = move |catalog: &Catalog| {
        let (mut change, pushed) =
            plan_assertions(catalog, &stream, StreamKind::Assertions, &Views::default(), &cx)?;
        change.approval.clone_from(&approval);
        Ok((change, pushed))
    };
    let _ = admin.import(plan).await?;
    Ok(Json(TrainSigned { set, sequence, key: key.label.name, changes }))
}
