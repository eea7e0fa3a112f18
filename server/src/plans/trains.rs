//! Trains: validation sets that reach devices in waves, each device the latest sequence that is meant for it.

use std::collections::BTreeMap;

use schema::api::admin::{TrainAction, TrainDraft, TrainDraftRequest, TrainStep};
use schema::assertion::{ValidationSet, ValidationSetSnap};
use schema::store::SERIES;
use serde_json::json;

use super::By;
use super::groups::GroupError;
use super::overrides::{ChannelMapError, channel_of, snap_of};
use crate::catalog::Catalog;
use crate::imports::rfc3339;
use crate::storage::devices::DeviceRecord;
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::{AuditEvent, Change, Origin};
use crate::storage::trains::{Departure, TrainRecord};

/// The most waves of a train.
const MOST_WAVES: usize = 100;

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
    #[error("sequence {sequence} of {set} is not held: sign it, and bring it with `proxy push-account-keys`")]
    NotHeld { set: String, sequence: u32 },
    #[error(
        "sequence {sequence} of {set} is not higher than {highest}, which devices may have, and no device goes to a lower one: \
         `proxy train draft {set} --back-to {sequence}` drafts a higher one with its revisions"
    )]
    Lower { set: String, sequence: u32, highest: u32 },
    #[error("sequence {sequence} of {set} would not be taken: {}", problems.join("; "))]
    Problems { set: String, sequence: u32, problems: Vec<String> },
    #[error("a train has 1 to {MOST_WAVES} waves: give it --wave, such as --wave 10% --wave 100%")]
    Waves,
    #[error(
        "sequence {sequence} of {set} is on its way, and one that takes its place takes its waves: leave --wave out"
    )]
    SameWaves { set: String, sequence: u32 },
    #[error("no sequence of {0} is on its way: `proxy train depart {0}`")]
    Stands(String),
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

/// Plans what an operator wants of a train; `salt` is random.
pub(crate) fn plan_train(
    catalog: &Catalog,
    step: &TrainStep,
    seen: &[DeviceRecord],
    salt: &str,
    by: &By,
) -> Result<Change, TrainError> {
    let set = &step.set;
    check_set(set)?;
    let held = || catalog.train(set).cloned().ok_or_else(|| TrainError::NoTrain(set.clone()));
    match step.action {
        TrainAction::Hold => {
            if catalog.train(set).is_some() {
                return Err(TrainError::Taken(set.clone()));
            }
            let arrived = catalog.sequences(set).last().copied().unwrap_or_default();
            let record = TrainRecord { arrived, departed: None };
            Ok(change(set, &record, "train-hold", json!({ "arrived": arrived }), by))
        }
        TrainAction::Depart => depart(catalog, step, held()?, seen, salt, by),
        TrainAction::Next => {
            let mut record = held()?;
            let departed = record.departed.as_mut().ok_or_else(|| TrainError::Stands(set.clone()))?;
            let sequence = departed.sequence;
            if departed.opened.len() < departed.waves.len() {
                departed.opened.push(by.micros());
                let wave = departed.opened.len();
                return Ok(change(
                    set,
                    &record,
                    "train-wave",
                    json!({ "sequence": sequence, "wave": wave }),
                    by,
                ));
            }
            let record = TrainRecord { arrived: sequence, departed: None };
            Ok(change(set, &record, "train-arrive", json!({ "sequence": sequence }), by))
        }
    }
}

fn depart(
    catalog: &Catalog,
    step: &TrainStep,
    mut record: TrainRecord,
    seen: &[DeviceRecord],
    salt: &str,
    by: &By,
) -> Result<Change, TrainError> {
    let (set, sequence) = (&step.set, step.sequence.unwrap_or_default());
    let wanted = sequence_of(catalog, set, sequence)?;
    let under_way = record.departed.as_ref().map(|departed| departed.sequence);
    let highest = under_way.unwrap_or(record.arrived);
    if sequence <= highest {
        return Err(TrainError::Lower { set: set.clone(), sequence, highest });
    }
    let problems = problems(catalog, &wanted, seen);
    if !problems.is_empty() {
        return Err(TrainError::Problems { set: set.clone(), sequence, problems });
    }
    match &mut record.departed {
        // Devices of open waves may have the earlier one, so they are the first that get this one.
        Some(departed) if step.waves.is_empty() || step.waves == departed.waves => {
            departed.sequence = sequence
        }
        Some(departed) => {
            return Err(TrainError::SameWaves { set: set.clone(), sequence: departed.sequence });
        }
        None => {
            if !(1..=MOST_WAVES).contains(&step.waves.len()) {
                return Err(TrainError::Waves);
            }
            let rules = step.waves.iter().map(|wave| {
                let group = wave.group.as_ref();
                group
                    .map(|name| catalog.group(name).ok_or_else(|| GroupError::Unknown(name.clone())))
                    .transpose()
            });
            record.departed = Some(Departure {
                sequence,
                waves: step.waves.clone(),
                rules: rules.collect::<Result<_, GroupError>>()?,
                opened: vec![by.micros()],
                salt: salt.to_owned(),
                who: by.who.clone(),
            });
        }
    }
    let waves: Vec<String> =
        record.departed.iter().flat_map(|departed| &departed.waves).map(ToString::to_string).collect();
    Ok(change(set, &record, "train-depart", json!({ "sequence": sequence, "waves": waves }), by))
}

/// Why devices would not take a sequence, or could not.
pub(crate) fn problems(catalog: &Catalog, set: &ValidationSet, seen: &[DeviceRecord]) -> Vec<String> {
    let mut found = Vec::new();
    let named = format!("{}/{}", set.account_id, set.name);
    for snap in &set.snaps {
        let name = &snap.name;
        let held = catalog.snap_by_id(&snap.id);
        match (held, snap.revision) {
            (None, _) if snap.presence == "required" || snap.revision.is_some() => {
                found.push(format!("snap {name} is not held: `proxy push-snap` brings it"));
            }
            (Some(held), Some(revision)) => match held.revisions.get(&revision) {
                None => found
                    .push(format!("revision {revision} of {name} is not held: `proxy push-snap` brings it")),
                Some(held) if held.is_damaged() => {
                    found
                        .push(format!("the file of revision {revision} of {name} is damaged: push it again"));
                }
                Some(held) => {
                    let runs = |of: &&DeviceRecord| {
                        let place = of.last.architecture.as_ref().map(|architecture| architecture.as_str());
                        is_on(of, &named) && !held.runs_on(place)
                    };
                    if let Some(device) = seen.iter().find(runs) {
                        let device = &device.last.device;
                        found.push(format!(
                            "revision {revision} of {name} does not run on {device}, which follows the set"
                        ));
                    }
                }
            },
            _ => {}
        }
        if snap.presence == "required" {
            let lacks = |of: &&DeviceRecord| {
                let mut snaps = of.last.snaps.iter().flatten();
                is_on(of, &named) && !snaps.any(|own| own.snap_id == snap.id)
            };
            let lacking = seen.iter().filter(lacks).count();
            if lacking > 0 {
                found.push(format!(
                    "{lacking} devices that follow the set do not run {name}, and would pass it over"
                ));
            }
        }
    }
    found.extend(conflicts(catalog, set, &named));
    found
}

/// Whether a device follows a set.
pub(crate) fn is_on(record: &DeviceRecord, set: &str) -> bool {
    on(record, set).is_some()
}

/// The sequence of a set that a device is on.
pub(crate) fn on(record: &DeviceRecord, set: &str) -> Option<u32> {
    let sets = record.last.snaps.iter().flatten().flat_map(|own| &own.sets);
    let points = sets.filter_map(|own| own.strip_prefix(set)?.strip_prefix('=')?.parse().ok());
    points.max()
}

/// What other sets of the account say otherwise, as devices are answered them.
fn conflicts(catalog: &Catalog, set: &ValidationSet, named: &str) -> Vec<String> {
    let says = |of: &ValidationSetSnap| (of.presence == "invalid", of.revision);
    let mine: BTreeMap<&str, &ValidationSetSnap> = set.snaps.iter().map(|snap| (&*snap.id, snap)).collect();
    let mut found = Vec::new();
    for (other, train) in catalog.trains().filter(|(other, _)| *other != named) {
        let sequence = train.departed.as_ref().map_or(train.arrived, |departed| departed.sequence);
        let Some(theirs) =
            catalog.validation_set(other, sequence).filter(|of| of.account_id == set.account_id)
        else {
            continue;
        };
        for snap in &theirs.snaps {
            let Some(own) = mine.get(&*snap.id) else { continue };
            let ((no, here), (not, there)) = (says(own), says(snap));
            let differ = here.is_some() && there.is_some() && here != there;
            let refuse = no != not && (own.presence == "required" || snap.presence == "required");
            if differ || refuse {
                found.push(format!("{other}={sequence} says otherwise of {}", snap.name));
            }
        }
    }
    found
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
            wish.snaps.iter().map(required).collect::<Result<_, ChannelMapError>>()?
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
