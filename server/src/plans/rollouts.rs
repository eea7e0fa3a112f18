//! Rollouts: planned, moved on by operators, and moved on or stopped by themselves.
//!
//! The channel keeps its revision until the end, which is one release. So a rollout that stops has changed nothing for
//! devices outside its open waves.

use std::collections::BTreeSet;

use schema::api::admin::{RolloutAction, RolloutRequest, RolloutState};
use schema::store::Channel;
use serde_json::json;

use super::By;
use super::gates::{self, GateError, Verdict, named};
use super::groups::{GroupError, check_name};
use super::overrides::{ChannelMapError, channel_of, is_in, replaced, rows, snap_of};
use super::standing::Moved;
use crate::catalog::{Catalog, Rollout, Snap};
use crate::fleet::{Progress, shown};
use crate::imports::rfc3339;
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::{AuditEvent, Change, Origin, ReleaseRecord};
use crate::storage::rollouts::RolloutRecord;

/// Why a rollout is not planned, or does not move.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RolloutError {
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("there is a rollout {0} already: `proxy rollout show {0}` shows it; take another name")]
    Taken(String),
    #[error("there is no rollout {0}: `proxy rollout list` shows those there are")]
    Unknown(String),
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error(transparent)]
    Moved(#[from] Moved),
    #[error(transparent)]
    ChannelMap(#[from] ChannelMapError),
    #[error("the file of revision {revision} of {name} is damaged: push it again with `proxy push-snap`")]
    Damaged { name: String, revision: u32 },
    #[error(
        "nothing is released in {channel} of {name}, so there is nothing to move on from: `proxy release {name} \
         {revision} {channel}`"
    )]
    NotOpen { name: String, channel: Channel, revision: u32 },
    #[error("revision {revision} is released in {channel} of {name} already: every device gets it")]
    Already { name: String, channel: Channel, revision: u32 },
    #[error(
        "an override of {name} in {channel} decides what devices get: `proxy delete-override {name} {channel}` first"
    )]
    Overridden { name: String, channel: Channel },
    #[error("rollout {other} of {name} is under way: end it first, see `proxy rollout show {other}`")]
    Busy { name: String, other: String },
    #[error(
        "the first wave, {wave}, takes no device that was seen here, runs {name} and follows {channel}: `proxy rollout show \
         {rollout}`"
    )]
    Nobody { rollout: String, wave: String, name: String, channel: String },
    #[error("rollout {name} is {state}: {}", hint(*state, name))]
    State { name: String, state: RolloutState },
    #[error(
        "revision {old} does not read the data that revision {new} of {name} writes, so devices cannot go back: `proxy \
         rollout pause` offers {new} to nobody new"
    )]
    Epoch { name: String, old: u32, new: u32 },
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

fn hint(state: RolloutState, name: &str) -> String {
    match state {
        RolloutState::Planned => format!("`proxy rollout start {name}` begins it"),
        RolloutState::Running => format!("`proxy rollout show {name}` shows what it waits for"),
        RolloutState::Paused => format!("`proxy rollout resume {name}` or `proxy rollout back {name}`"),
        RolloutState::Finished => {
            "its revision is in the channel, and `proxy release` decides from now on".into()
        }
        RolloutState::Back => "it was given up: plan another one".into(),
    }
}

/// Plans a rollout; `salt` is random.
pub(crate) fn plan_rollout(
    catalog: &Catalog,
    wish: &RolloutRequest,
    salt: &str,
    by: &By,
) -> Result<Change, RolloutError> {
    check_name("rollout", &wish.name)?;
    if catalog.rollout(&wish.name).is_some() {
        return Err(RolloutError::Taken(wish.name.clone()));
    }
    let record = as_wished(catalog, wish, salt, by)?;
    let snap = snap_of(catalog, &record.snap_id)?;
    let waves: Vec<String> = record.course.waves.iter().map(ToString::to_string).collect();
    let detail =
        json!({ "snap": snap.name, "revision": record.revision, "channel": record.channel, "waves": waves });
    Ok(change(&wish.name, &record, "rollout-plan", detail, by))
}

/// The rollout that is wished for, if it may begin as things are.
pub(crate) fn as_wished(
    catalog: &Catalog,
    wish: &RolloutRequest,
    salt: &str,
    by: &By,
) -> Result<RolloutRecord, RolloutError> {
    let course = gates::planned(&wish.gates, salt, by)?;
    let snap = snap_of(catalog, &wish.snap)?;
    let channel = channel_of(snap, wish.channel.as_deref().unwrap_or("stable"))?;
    let record = RolloutRecord {
        snap_id: snap.id.clone(),
        channel,
        revision: wish.revision,
        released_at: String::new(),
        course,
    };
    check(catalog, &wish.name, &record, by)?;
    Ok(record)
}

/// What was wished for when a rollout was planned.
pub(crate) fn wish_of(name: &str, snap: &str, record: &RolloutRecord) -> RolloutRequest {
    RolloutRequest {
        name: name.to_owned(),
        snap: snap.to_owned(),
        revision: record.revision,
        channel: Some(record.channel.to_string()),
        gates: gates::wished(&record.course),
    }
}

/// Whether a rollout may begin as things are.
fn check(catalog: &Catalog, name: &str, record: &RolloutRecord, by: &By) -> Result<(), RolloutError> {
    let snap = snap_of(catalog, &record.snap_id)?;
    let (channel, revision) = (record.channel.clone(), record.revision);
    let wanted = rows(snap, revision, &channel, Origin::Imported, by.now)?;
    let snap_name = snap.name.to_string();
    if snap.revisions.get(&revision).is_some_and(|held| held.is_damaged()) {
        return Err(RolloutError::Damaged { name: snap_name, revision });
    }
    for group in record.course.waves.iter().filter_map(|wave| wave.group.as_ref()) {
        catalog.group(group).ok_or_else(|| GroupError::Unknown(group.clone()))?;
    }
    if let Some(other) = catalog.live_rollout(&snap.id).filter(|other| other.name != name) {
        return Err(RolloutError::Busy { name: snap_name, other: other.name.clone() });
    }
    if snap.overrides.iter().any(|over| is_in(over, &channel)) {
        return Err(RolloutError::Overridden { name: snap_name, channel });
    }
    let here: Vec<&ReleaseRecord> = snap.imported.iter().filter(|row| is_in(row, &channel)).collect();
    if here.is_empty() {
        return Err(RolloutError::NotOpen { name: snap_name, channel, revision });
    }
    let is_there = |row: &ReleaseRecord| {
        here.iter().any(|held| {
            held.revision == revision && (held.architecture == row.architecture || held.architecture.is_all())
        })
    };
    if wanted.iter().all(is_there) {
        return Err(RolloutError::Already { name: snap_name, channel, revision });
    }
    Ok(())
}

/// Plans what an operator wants of a rollout, whose waves are doing so.
pub(crate) fn plan_step(
    catalog: &Catalog,
    name: &str,
    action: RolloutAction,
    waves: &[Progress<'_>],
    by: &By,
) -> Result<Change, RolloutError> {
    use {RolloutAction as Act, RolloutState as Is};
    let rollout = rollout(catalog, name)?;
    let mut record = rollout.record.clone();
    let snap = || snap_of(catalog, &record.snap_id);
    match (action, record.course.state) {
        (Act::Start, Is::Planned) => {
            check(catalog, name, &record, by)?;
            if waves.first().is_none_or(|first| first.devices.is_empty()) {
                let (wave, channel) = (record.course.waves[0].to_string(), record.channel.to_string());
                let (rollout, name) = (name.to_owned(), snap()?.name.to_string());
                return Err(RolloutError::Nobody { rollout, wave, name, channel });
            }
            (record.course.state, record.released_at) = (Is::Running, rfc3339(by.now));
            record.course.opened.push(by.micros());
            Ok(change(name, &record, "rollout-start", json!({ "wave": 1 }), by))
        }
        (Act::Pause, Is::Running) => {
            gates::pause(&mut record.course, by);
            Ok(change(name, &record, "rollout-pause", json!({}), by))
        }
        (Act::Resume, Is::Paused) => {
            sound(snap()?, record.revision)?;
            gates::resume(&mut record.course, waves);
            let excused = named(&record.course.excused);
            Ok(change(name, &record, "rollout-resume", json!({ "excused": excused }), by))
        }
        (Act::Next, Is::Running) => {
            sound(snap()?, record.revision)?;
            match record.course.opened.len() < record.course.waves.len() {
                true => Ok(open(name, record, waves, "rollout-next", by)),
                false => finish(catalog, name, record, waves, "rollout-next", by),
            }
        }
        (Act::Back, Is::Planned | Is::Running | Is::Paused) => {
            if record.course.state != Is::Planned {
                let snap = snap()?;
                if let Some(old) = no_way_back(snap, &record) {
                    return Err(RolloutError::Epoch {
                        name: snap.name.to_string(),
                        old,
                        new: record.revision,
                    });
                }
            }
            (record.course.state, record.course.why) = (Is::Back, None);
            record.course.ended = shown(&record.course, waves);
            Ok(change(name, &record, "rollout-back", json!({}), by))
        }
        (_, state) => Err(RolloutError::State { name: name.to_owned(), state }),
    }
}

/// The rollout of this name.
pub(crate) fn rollout(catalog: &Catalog, name: &str) -> Result<Rollout, RolloutError> {
    catalog.rollout(name).ok_or_else(|| RolloutError::Unknown(name.chars().take(80).collect()))
}

/// The revision of the channel that does not read what the rollout's revision writes.
fn no_way_back(snap: &Snap, record: &RolloutRecord) -> Option<u32> {
    let new = snap.revisions.get(&record.revision)?;
    let mut here = snap.imported.iter().filter(|row| is_in(row, &record.channel)).map(|row| row.revision);
    here.find(|old| snap.revisions.get(old).is_some_and(|old| !old.epoch.can_follow(&new.epoch)))
}

fn sound(snap: &Snap, revision: u32) -> Result<(), RolloutError> {
    match snap.revisions.get(&revision).is_some_and(|held| !held.is_damaged()) {
        true => Ok(()),
        false => Err(RolloutError::Damaged { name: snap.name.to_string(), revision }),
    }
}

/// Judges a running rollout by its waves.
pub(crate) fn judge(
    catalog: &Catalog,
    rollout: &Rollout,
    waves: &[Progress<'_>],
    now_micros: i64,
) -> Verdict {
    let (record, name) = (&rollout.record, &rollout.name);
    let revision = record.revision;
    let held = catalog.snap_by_id(&record.snap_id).and_then(|snap| snap.revisions.get(&revision));
    match held {
        None => return Verdict::Stop(format!("revision {revision} is no longer held"), BTreeSet::new()),
        Some(held) if held.is_damaged() => {
            let why = format!("the file of revision {revision} is damaged: push it again, then resume");
            return Verdict::Stop(why, BTreeSet::new());
        }
        Some(_) => {}
    }
    let overridden = catalog
        .snap_by_id(&record.snap_id)
        .is_some_and(|snap| snap.overrides.iter().any(|over| is_in(over, &record.channel)));
    let hindered = overridden.then(|| format!("an override of {} decides what devices get", record.channel));
    gates::judge(&record.course, waves, hindered, &format!("proxy rollout next {name}"), now_micros)
}

/// Plans what a rollout does by itself; `None` if that is nothing.
pub(crate) fn plan_by_itself(
    catalog: &Catalog,
    rollout: &Rollout,
    waves: &[Progress<'_>],
    by: &By,
) -> Result<Option<Change>, RolloutError> {
    let (name, mut record) = (&rollout.name, rollout.record.clone());
    if record.course.state != RolloutState::Running {
        return Ok(None);
    }
    Ok(Some(match judge(catalog, rollout, waves, by.micros()) {
        Verdict::Wait(_) => return Ok(None),
        Verdict::Open => open(name, record, waves, "rollout-wave", by),
        Verdict::Finish => finish(catalog, name, record, waves, "rollout-finish", by)?,
        Verdict::Stop(why, devices) => {
            let detail = json!({ "why": why, "devices": named(&devices), "count": devices.len() });
            gates::stop(&mut record.course, why, devices);
            change(name, &record, "rollout-stop", detail, by)
        }
    }))
}

/// Opens the next wave.
fn open(name: &str, mut record: RolloutRecord, waves: &[Progress<'_>], what: &str, by: &By) -> Change {
    gates::open(&mut record.course, waves, by);
    let wave = record.course.opened.len();
    change(name, &record, what, json!({ "wave": wave }), by)
}

/// Releases the revision, in one change with the end of the rollout.
fn finish(
    catalog: &Catalog,
    name: &str,
    mut record: RolloutRecord,
    waves: &[Progress<'_>],
    what: &str,
    by: &By,
) -> Result<Change, RolloutError> {
    let snap = snap_of(catalog, &record.snap_id)?;
    let rows = rows(snap, record.revision, &record.channel, Origin::Imported, by.now)?;
    record.course.state = RolloutState::Finished;
    record.course.ended = shown(&record.course, waves);
    let detail = json!({ "snap": snap.name, "revision": record.revision, "channel": record.channel });
    let mut change = change(name, &record, what, detail, by);
    change.releases_closed.extend(replaced(&snap.imported, &rows).map(ReleaseRecord::key));
    let shut = snap.closed.iter().filter(|closed| is_in(closed, &record.channel));
    change.releases_closed.extend(shut.map(ReleaseRecord::key));
    change.releases = rows;
    Ok(change)
}

fn change(name: &str, record: &RolloutRecord, what: &str, detail: serde_json::Value, by: &By) -> Change {
    let event = AuditEvent::new(&by.who, what, name).detail(detail);
    let mut change = Change::new(event, by.micros());
    change.meta.push(record.fact(name));
    change
}

/// The live rollout whose channel a change would move. Whatever moves it would be in the rollout's way.
pub(super) fn in_the_way<'a>(catalog: &'a Catalog, change: &Change) -> Option<(&'a Rollout, &'a Snap)> {
    let opened = change.releases.iter().map(|row| (&row.snap_id, &row.channel, row.origin));
    let closed = change.releases_closed.iter().map(|row| (&row.snap_id, &row.channel, row.origin));
    let moved = opened.chain(closed).filter(|(.., origin)| *origin != Origin::Override);
    let mut moved = moved.map(|(id, channel, _)| (id, channel));
    moved.find_map(|(id, channel)| {
        let rollout = catalog.live_rollout(id).filter(|rollout| rollout.record.channel == *channel)?;
        Some((rollout, &**catalog.snap_by_id(id)?))
    })
}
