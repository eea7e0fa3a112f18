//! Trains: validation sets that reach devices in waves, each device the latest sequence that is meant for it.

use std::collections::{BTreeMap, BTreeSet};

use schema::api::admin::{
    Gates, RolloutState, TrainAction, TrainDraft, TrainDraftRequest, TrainPlan, TrainStep,
};
use schema::assertion::{ValidationSet, ValidationSetSnap};
use schema::rollout::{GroupRules, Share, Wave};
use schema::store::SERIES;
use serde_json::json;

use super::By;
use super::gates::{self, GateError, Verdict, named};
use super::groups::GroupError;
pub(crate) use super::lint::problems;
use super::overrides::{ChannelMapError, channel_of, snap_of};
use super::standing::Moved;
use crate::catalog::{Catalog, Departed};
use crate::fleet::Progress;
use crate::imports::rfc3339;
use crate::storage::devices::DeviceRecord;
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::{AuditEvent, Change, Origin};
use crate::storage::rollouts::Course;
use crate::storage::trains::{Departure, Plan, TrainRecord};

/// Why a train does not move, or a sequence is not drafted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrainError {
    #[error("cannot read {0:?} as a validation set: write ACCOUNT/NAME")]
    Set(String),
    #[error(
        "there is no train of {0}: `proxy train hold {0}` keeps new sequences from devices until they depart"
    )]
    NoTrain(String),
    #[error("there is a train of {0} already: `proxy train show {0}`")]
    Taken(String),
    #[error("sequence {sequence} of {set} is not held: sign it, and bring it with `proxy push-assertions`")]
    NotHeld { set: String, sequence: u32 },
    #[error(
        "sequence {sequence} of {set} is not higher than {highest}, which devices may have, and no device goes to a lower one: \
         `proxy train draft {set} --back-to {sequence}` drafts a higher one with its revisions"
    )]
    Lower { set: String, sequence: u32, highest: u32 },
    #[error("sequence {sequence} of {set} would not be taken: {}", problems.join("; "))]
    Problems { set: String, sequence: u32, problems: Vec<String> },
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error(
        "sequence {sequence} of {set} is on its way, and one that takes its place takes its waves: name the sequence, and leave \
         --wave out"
    )]
    SameWaves { set: String, sequence: u32 },
    #[error("no sequence of {0} is on its way: `proxy train depart {0}`")]
    Stands(String),
    #[error("no departure of {0} is planned: `proxy train plan {0} SEQUENCE --wave 10% --wave 100%`")]
    NoPlan(String),
    #[error("sequence {sequence} of {set} is {state}: `proxy train show {set}` shows why")]
    State { set: String, sequence: u32, state: RolloutState },
    #[error("every device gets sequence {arrived} of {set}: name an earlier one with --to")]
    NoWayBack { set: String, arrived: u32 },
    #[error(
        "sequence {sequence} of {set} is not earlier than {highest}, the latest that devices may have: `proxy train depart {set} \
         SEQUENCE` lets a later one depart"
    )]
    NotEarlier { set: String, sequence: u32, highest: u32 },
    #[error("sequence {sequence} of {set}, the newest one that is held, names exactly this: {next}")]
    Said { set: String, sequence: u32, next: String },
    #[error("--snap {0} is given twice: a set names each snap once")]
    Twice(String),
    #[error("name the snaps of {0}: there is no earlier sequence to take them from")]
    NoSnaps(String),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    ChannelMap(#[from] ChannelMapError),
    #[error("nothing is released in {channel} of {name}: `proxy release {name} REVISION {channel}`")]
    NothingThere { name: String, channel: String },
    #[error(
        "architectures of {name} have different revisions in {channel}, and a set names one: `proxy release` one for all"
    )]
    Several { name: String, channel: String },
    #[error(transparent)]
    Moved(#[from] Moved),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Checks the name of a set.
pub(crate) fn check_set(set: &str) -> Result<(), TrainError> {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let fits = set.split_once('/').is_some_and(|(account, name)| is_part(account) && is_part(name));
    fits.then_some(()).ok_or_else(|| TrainError::Set(set.chars().take(80).collect()))
}

/// One sequence of a set.
pub(crate) fn sequence_of(catalog: &Catalog, set: &str, sequence: u32) -> Result<ValidationSet, TrainError> {
    check_set(set)?;
    let found = catalog.validation_set(set, sequence);
    found.ok_or_else(|| TrainError::NotHeld { set: set.to_owned(), sequence })
}

/// What an operator wants of a train is planned from that.
pub(crate) struct Known<'a> {
    /// The devices that follow the set.
    pub(crate) seen: &'a [DeviceRecord],
    /// How those take to the sequence on its way, by wave.
    pub(crate) waves: &'a [Progress<'a>],
    /// Random.
    pub(crate) salt: &'a str,
}

/// Plans what an operator wants of a train. Answers how many people have to approve it, too.
pub(crate) fn plan_train(
    catalog: &Catalog,
    step: &TrainStep,
    known: &Known<'_>,
    by: &By,
) -> Result<(Change, u32), TrainError> {
    let set = &step.set;
    check_set(set)?;
    if step.action == TrainAction::Hold {
        if catalog.train(set).is_some() {
            return Err(TrainError::Taken(set.clone()));
        }
        let arrived = catalog.sequences(set).last().copied().unwrap_or_default();
        let record = TrainRecord { arrived, ..TrainRecord::default() };
        return Ok((change(set, &record, "train-hold", json!({ "arrived": arrived }), by), 0));
    }
    let mut record = train(catalog, set)?.clone();
    match step.action {
        TrainAction::Plan => return plan(catalog, step, record, known, by),
        TrainAction::Depart => return depart(catalog, step, record, known, by),
        _ => {}
    }
    let departed = record.departed.as_mut().ok_or_else(|| TrainError::Stands(set.clone()))?;
    let (sequence, course) = (departed.sequence, &mut departed.course);
    match (step.action, course.state) {
        (TrainAction::Next, RolloutState::Running) => {
            let needed = course.approvals;
            Ok((next(set, &record, known.waves, by), needed))
        }
        (TrainAction::Pause, RolloutState::Running) => {
            gates::pause(course, by);
            Ok((change(set, &record, "train-pause", json!({ "sequence": sequence }), by), 0))
        }
        (TrainAction::Resume, RolloutState::Paused) => {
            gates::resume(course, known.waves);
            let detail = json!({ "sequence": sequence, "excused": named(&course.excused) });
            Ok((change(set, &record, "train-resume", detail, by), 0))
        }
        (_, state) => Err(TrainError::State { set: set.clone(), sequence, state }),
    }
}

/// The train of a set.
pub(crate) fn train<'a>(catalog: &'a Catalog, set: &str) -> Result<&'a TrainRecord, TrainError> {
    check_set(set)?;
    catalog.train(set).ok_or_else(|| TrainError::NoTrain(set.to_owned()))
}

/// The step as it is meant: a departure without a sequence or waves follows its plan.
pub(crate) fn meant(catalog: &Catalog, step: &TrainStep) -> Result<TrainStep, TrainError> {
    let mut step = step.clone();
    if step.action != TrainAction::Depart {
        return Ok(step);
    }
    let TrainRecord { departed, planned, .. } = train(catalog, &step.set)?;
    match (step.sequence, planned) {
        (None, None) => return Err(TrainError::NoPlan(step.set)),
        (None, Some(plan)) => step.sequence = Some(plan.sequence),
        // What takes the place of another takes its waves.
        (Some(_), _) if departed.is_some() => return Ok(step),
        (Some(_), _) => {}
    }
    let plan = planned.as_ref().filter(|plan| Some(plan.sequence) == step.sequence);
    step.gates = step.gates.or_else(|| plan.map(|plan| plan.gates.clone()));
    Ok(step)
}

/// The departure that an export tells of: the planned one, the one on its way, or the last one.
pub(crate) fn plan_of(set: &str, record: &TrainRecord) -> Result<TrainPlan, TrainError> {
    let gone = record.departed.as_ref().or(record.last.as_ref());
    let gone = gone.map(|gone| Plan { sequence: gone.sequence, gates: gates::wished(&gone.course) });
    let plan = record.planned.clone().or(gone).ok_or_else(|| TrainError::NoPlan(set.to_owned()))?;
    Ok(TrainPlan { set: set.to_owned(), sequence: plan.sequence, gates: plan.gates })
}

/// Opens the next wave; after the last one the sequence has arrived.
fn next(set: &str, record: &TrainRecord, waves: &[Progress<'_>], by: &By) -> Change {
    let mut record = record.clone();
    let Some(departed) = record.departed.as_mut() else {
        return change(set, &record, "train-arrive", json!({}), by);
    };
    let (sequence, course) = (departed.sequence, &mut departed.course);
    if course.opened.len() < course.waves.len() {
        gates::open(course, waves, by);
        let detail = json!({ "sequence": sequence, "wave": course.opened.len() });
        return change(set, &record, "train-wave", detail, by);
    }
    course.state = RolloutState::Finished;
    let record =
        TrainRecord { arrived: sequence, last: record.departed, departed: None, planned: record.planned };
    change(set, &record, "train-arrive", json!({ "sequence": sequence }), by)
}

/// A sequence that is held, and higher than any that devices may have.
fn higher(catalog: &Catalog, step: &TrainStep, record: &TrainRecord) -> Result<ValidationSet, TrainError> {
    let (set, sequence) = (&step.set, step.sequence.unwrap_or_default());
    let wanted = sequence_of(catalog, set, sequence)?;
    let highest = highest(record);
    if sequence <= highest {
        return Err(TrainError::Lower { set: set.clone(), sequence, highest });
    }
    Ok(wanted)
}

/// The highest sequence that devices may have.
fn highest(record: &TrainRecord) -> u32 {
    record.departed.as_ref().map_or(record.arrived, |departed| departed.sequence)
}

/// The way back.
pub(crate) struct Back {
    /// The sequence that devices go back to, earlier than any that they may have.
    pub(crate) to: u32,
    /// A sequence that names the same and waits here.
    pub(crate) waiting: Option<u32>,
    /// Its waves; `None` for those that are open.
    pub(crate) gates: Option<Gates>,
}

/// Plans the way back.
pub(crate) fn way_back(
    catalog: &Catalog,
    set: &str,
    record: &TrainRecord,
    to: Option<u32>,
) -> Result<Back, TrainError> {
    let TrainRecord { arrived, departed, last, .. } = record;
    let (arrived, highest) = (*arrived, highest(record));
    // Before anything departed, everybody has the sequence that arrived.
    let to = match (to, departed) {
        (Some(to), _) if to < highest => to,
        (Some(sequence), _) => {
            return Err(TrainError::NotEarlier { set: set.to_owned(), sequence, highest });
        }
        (None, Some(_)) if arrived > 0 => arrived,
        (None, _) => return Err(TrainError::NoWayBack { set: set.to_owned(), arrived }),
    };
    let waiting = catalog.sequences(set).into_iter().rev().take_while(|sequence| *sequence > highest);
    let same = |sequence: &u32| {
        let waits = catalog.validation_set(set, *sequence);
        waits.is_some_and(|waits| names_the_same(catalog, set, to, &waits))
    };
    // Once it arrived, every device has it: all of them go back, with as many approvals.
    let approvals = last.as_ref().map_or(0, |last| last.course.approvals);
    let everybody = vec![Wave { group: None, share: Share::ALL }];
    let gates = departed.is_none().then(|| Gates { waves: everybody, approvals, ..ungated() });
    Ok(Back { to, waiting: waiting.into_iter().find(same), gates })
}

/// No waves, and nothing that they wait for.
fn ungated() -> Gates {
    Gates {
        waves: Vec::new(),
        soak: 0,
        max_failed: Share::ALL,
        max_silent: Share::ALL,
        windows: Vec::new(),
        zone: None,
        approvals: 0,
        salt: None,
    }
}

/// The rules of each wave's group, as they are now.
fn rules_of(catalog: &Catalog, course: &Course) -> Result<Vec<Option<GroupRules>>, GroupError> {
    let rules = course.waves.iter().map(|wave| {
        let group = wave.group.as_ref();
        group.map(|name| catalog.group(name).ok_or_else(|| GroupError::Unknown(name.clone()))).transpose()
    });
    rules.collect()
}

/// Whether devices would take the sequence is asked when it departs.
fn plan(
    catalog: &Catalog,
    step: &TrainStep,
    mut record: TrainRecord,
    known: &Known<'_>,
    by: &By,
) -> Result<(Change, u32), TrainError> {
    let sequence = higher(catalog, step, &record)?.sequence;
    let course = gates::planned(step.gates.as_ref().ok_or(GateError::Waves)?, known.salt, by)?;
    let _ = rules_of(catalog, &course)?;
    let gates = gates::wished(&course);
    let detail = json!({ "sequence": sequence, "gates": gates });
    record.planned = Some(Plan { sequence, gates });
    Ok((change(&step.set, &record, "train-plan", detail, by), 0))
}

fn depart(
    catalog: &Catalog,
    step: &TrainStep,
    mut record: TrainRecord,
    known: &Known<'_>,
    by: &By,
) -> Result<(Change, u32), TrainError> {
    let wanted = higher(catalog, step, &record)?;
    let (set, sequence) = (&step.set, wanted.sequence);
    let problems = problems(catalog, &wanted, known.seen);
    if !problems.is_empty() {
        return Err(TrainError::Problems { set: set.clone(), sequence, problems });
    }
    let is_back = names_the_same(catalog, set, record.arrived, &wanted);
    match (&mut record.departed, &step.gates) {
        // Devices of open waves may have the earlier one, so they are the first that get this one.
        (Some(departed), None) => {
            departed.sequence = sequence;
            let course = &mut departed.course;
            course.opened.fill(by.micros());
            (course.state, course.why) = (RolloutState::Running, None);
            course.stopped_by.clear();
            course.excused.clear();
            if is_back {
                // Whoever goes back does not wait for a window.
                course.windows = None;
            }
        }
        (Some(departed), Some(_)) => {
            return Err(TrainError::SameWaves { set: set.clone(), sequence: departed.sequence });
        }
        (None, gates) => {
            let mut course = gates::planned(&gates.clone().unwrap_or_else(ungated), known.salt, by)?;
            let rules = rules_of(catalog, &course)?;
            (course.state, course.opened) = (RolloutState::Running, vec![by.micros()]);
            record.departed = Some(Departure { sequence, rules, course });
        }
    }
    record.planned = record.planned.filter(|plan| plan.sequence > sequence);
    let course = record.departed.as_ref().map(|departed| &departed.course);
    // Who goes back waits for nobody: every device outside of open waves has what it names.
    let needed = course.filter(|_| !is_back).map_or(0, |course| course.approvals);
    let waves: Vec<String> =
        course.iter().flat_map(|course| &course.waves).map(ToString::to_string).collect();
    Ok((change(set, &record, "train-depart", json!({ "sequence": sequence, "waves": waves }), by), needed))
}

/// Whether an earlier sequence names exactly what another does.
fn names_the_same(catalog: &Catalog, set: &str, earlier: u32, other: &ValidationSet) -> bool {
    catalog.validation_set(set, earlier).is_some_and(|earlier| changes(Some(&earlier), other).is_empty())
}

/// Judges a sequence on its way by its waves.
pub(crate) fn judge(
    catalog: &Catalog,
    departed: &Departed<'_>,
    waves: &[Progress<'_>],
    now_micros: i64,
) -> Verdict {
    for (snap_id, revision) in departed.pins {
        let snap = catalog.snap_by_id(snap_id);
        let name = snap.map_or(snap_id.as_str(), |snap| &*snap.name);
        match snap.and_then(|snap| snap.revisions.get(revision)) {
            None => {
                let why = format!("revision {revision} of {name} is no longer held");
                return Verdict::Stop(why, BTreeSet::new());
            }
            Some(held) if held.is_damaged() => {
                let why = format!(
                    "the file of revision {revision} of {name} is damaged: push it again, then resume"
                );
                return Verdict::Stop(why, BTreeSet::new());
            }
            Some(_) => {}
        }
    }
    let next = format!("proxy train next {}", departed.set);
    gates::judge(&departed.departure.course, waves, None, &next, now_micros)
}

/// Plans what a sequence on its way does by itself; `None` if that is nothing.
pub(crate) fn plan_by_itself(
    catalog: &Catalog,
    departed: &Departed<'_>,
    waves: &[Progress<'_>],
    by: &By,
) -> Option<Change> {
    let set = departed.set;
    let mut record = catalog.train(set).cloned()?;
    if departed.departure.course.state != RolloutState::Running {
        return None;
    }
    match judge(catalog, departed, waves, by.micros()) {
        Verdict::Wait(_) => None,
        Verdict::Open | Verdict::Finish => Some(next(set, &record, waves, by)),
        Verdict::Stop(why, devices) => {
            let sequence = departed.departure.sequence;
            let detail = json!({
                "sequence": sequence, "why": why, "devices": named(&devices), "count": devices.len(),
            });
            gates::stop(&mut record.departed.as_mut()?.course, why, devices);
            Some(change(set, &record, "train-stop", detail, by))
        }
    }
}

/// How a sequence differs from an earlier one.
pub(crate) fn changes(from: Option<&ValidationSet>, to: &ValidationSet) -> Vec<String> {
    let says = |of: &ValidationSetSnap| match of.revision {
        Some(revision) => format!("{} {revision}", of.presence),
        None => of.presence.clone(),
    };
    let by_name = |set: &ValidationSet| -> BTreeMap<String, String> {
        set.snaps.iter().map(|snap| (snap.name.clone(), says(snap))).collect()
    };
    let (before, after) = (from.map(by_name).unwrap_or_default(), by_name(to));
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    let mut lines: Vec<String> = gone.map(|(name, was)| format!("{name} {was} → none")).collect();
    for (name, is) in &after {
        match before.get(name) {
            Some(was) if was == is => {}
            was => lines.push(format!("{name} {} → {is}", was.map_or("none", |was| was))),
        }
    }
    lines
}

/// Whether a draft says anything that the newest sequence does not.
pub(crate) fn says_more(
    catalog: &Catalog,
    set: &str,
    record: &TrainRecord,
    draft: &TrainDraft,
) -> Result<(), TrainError> {
    let newest = catalog.sequences(set).last().copied();
    let Some(sequence) = newest.filter(|_| draft.changes.is_empty()) else { return Ok(()) };
    let next = match sequence > highest(record) {
        true => format!("`proxy train depart {set} {sequence} --wave …`"),
        false => format!("`proxy train show {set}` shows how far it is"),
    };
    Err(TrainError::Said { set: set.to_owned(), sequence, next })
}

/// Drafts the next sequence of a set, for somebody to sign.
pub(crate) fn draft(catalog: &Catalog, wish: &TrainDraftRequest, by: &By) -> Result<TrainDraft, TrainError> {
    let set = &wish.set;
    check_set(set)?;
    let newest = catalog.sequences(set).last().copied();
    let before = newest.and_then(|sequence| catalog.validation_set(set, sequence));
    let mut snaps = match (wish.back_to, &before) {
        (Some(sequence), _) => sequence_of(catalog, set, sequence)?.snaps,
        (None, Some(before)) if wish.snaps.is_empty() => before.snaps.clone(),
        (None, None) if wish.snaps.is_empty() => return Err(TrainError::NoSnaps(set.clone())),
        (None, _) => {
            let required = |name: &String| {
                let snap = snap_of(catalog, name)?;
                let (name, id, presence) =
                    (snap.name.to_string(), snap.id.to_string(), "required".to_owned());
                Ok(ValidationSetSnap { name, id, presence, revision: Some(0) })
            };
            let named = wish.snaps.iter().map(required).collect::<Result<Vec<_>, ChannelMapError>>()?;
            let mut ids = BTreeSet::new();
            if let Some(again) = named.iter().find(|snap| !ids.insert(&snap.id)) {
                return Err(TrainError::Twice(again.name.clone()));
            }
            named
        }
    };
    if wish.back_to.is_none() {
        let text = wish.channel.as_deref().unwrap_or("stable");
        for of in snaps.iter_mut().filter(|of| of.revision.is_some()) {
            let snap = snap_of(catalog, &of.id)?;
            let channel = channel_of(snap, text)?;
            let here = snap.releases.iter().filter(|release| release.channel == channel);
            let over = here.clone().filter(|release| release.origin == Origin::Override);
            let mut found: Vec<u32> = over.map(|release| release.revision).collect();
            if found.is_empty() {
                found = here.map(|release| release.revision).collect();
            }
            found.dedup();
            let (name, channel) = (of.name.clone(), channel.to_string());
            of.revision = match found[..] {
                [] => return Err(TrainError::NothingThere { name, channel }),
                [revision] => Some(revision),
                _ => return Err(TrainError::Several { name, channel }),
            };
        }
    }
    let (account, name) = set.split_once('/').unwrap_or_default();
    let sequence = newest.unwrap_or_default() + 1;
    let entries = snaps.iter().map(|snap| {
        let mut entry = json!({ "name": snap.name, "id": snap.id, "presence": snap.presence });
        if let Some(revision) = snap.revision {
            entry["revision"] = json!(revision.to_string());
        }
        entry
    });
    let headers = json!({
        "type": "validation-set",
        "authority-id": account,
        "series": SERIES,
        "account-id": account,
        "name": name,
        "sequence": sequence.to_string(),
        "snaps": entries.collect::<Vec<_>>(),
        "timestamp": rfc3339(by.now),
    });
    let drafted = ValidationSet {
        series: SERIES.into(),
        account_id: account.to_owned(),
        name: name.to_owned(),
        sequence,
        snaps,
        timestamp: by.now,
    };
    Ok(TrainDraft { headers, changes: changes(before.as_ref(), &drafted) })
}

fn change(set: &str, record: &TrainRecord, what: &str, detail: serde_json::Value, by: &By) -> Change {
    let event = AuditEvent::new(&by.who, what, set).detail(detail);
    let mut change = Change::new(event, by.micros());
    change.meta.push(record.fact(set));
    change
}
