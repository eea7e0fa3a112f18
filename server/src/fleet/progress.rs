//! How devices take to what waves bring: done, held, failed or silent, read from what they say when they come and from their own
//! rhythm of coming.

use std::collections::HashMap;
use std::sync::Arc;

use schema::api::admin::{RolloutReason, RolloutState, RolloutWave};
use schema::store::{Architecture, DeviceId};

use super::written;
use crate::catalog::{Catalog, Departed, Rollout, Snap, Who};
use crate::storage::devices::DeviceRecord;
use crate::storage::rollouts::{Course, RolloutRecord, Taken};

/// A device that stays away for so many of its own intervals is silent.
const SILENT_AFTER: i64 = 3;
/// The interval of a device that came only once: the one at which snapd asks by itself.
const USUAL: i64 = 6 * HOUR;
/// The shortest interval: a device that is worked on comes more often than it does by itself.
const SHORTEST: i64 = HOUR;
const HOUR: i64 = 3_600_000_000;
/// A device that was offered the revision at so many visits and did not take it has failed: between its first and its
/// third attempt snapd waits at least for a visit.
const ATTEMPTS: i64 = 3;

/// The moment of a look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Now, in microseconds since 1970.
    pub(crate) now_micros: i64,
    /// Since when this server has been there to be asked.
    pub(crate) since_micros: i64,
}

/// What waves bring to devices: the revision of a rollout, or the sequence of a train. Both are counted and judged alike.
pub(crate) trait Moving {
    /// Its waves.
    fn course(&self) -> &Course;

    /// What contacts with it are recorded under.
    fn log(&self) -> String;

    /// The first wave that takes a device.
    fn takes(&self, who: &Who<'_>) -> Option<usize>;

    /// Whether a device that was seen is meant: it runs the snap and follows the channel, or it follows the set.
    fn means(&self, record: &DeviceRecord, catalog: &Catalog) -> bool;

    /// Whether a device that was seen has it.
    fn is_at(&self, record: &DeviceRecord) -> bool;
}

impl Moving for Rollout {
    fn course(&self) -> &Course {
        &self.record.course
    }

    fn log(&self) -> String {
        self.name.clone()
    }

    fn takes(&self, who: &Who<'_>) -> Option<usize> {
        self.wave_of(who)
    }

    fn means(&self, record: &DeviceRecord, catalog: &Catalog) -> bool {
        is_concerned(self, record, catalog)
    }

    fn is_at(&self, record: &DeviceRecord) -> bool {
        let (snap_id, revision) = (self.record.snap_id.as_str(), i64::from(self.record.revision));
        let mut running = record.last.snaps.iter().flatten();
        running.any(|of| of.snap_id == snap_id && of.revision == revision)
    }
}

impl Moving for Departed<'_> {
    fn course(&self) -> &Course {
        &self.departure.course
    }

    fn log(&self) -> String {
        Departed::log(self)
    }

    fn takes(&self, who: &Who<'_>) -> Option<usize> {
        self.wave_of(who)
    }

    fn means(&self, record: &DeviceRecord, _catalog: &Catalog) -> bool {
        on(record, self.set).is_some()
    }

    fn is_at(&self, record: &DeviceRecord) -> bool {
        let running = record.last.snaps.iter().flatten();
        // snapd takes the set first, and then refreshes to what it names.
        on(record, self.set).is_some_and(|on| on >= self.departure.sequence)
            && self.is_run(running.map(|of| (&*of.snap_id, of.revision)))
    }
}

/// The sequence of a set, `ACCOUNT/NAME`, that a device is on: that beyond which it asks for newer ones, or that by which it
/// asks for a revision.
pub(crate) fn on(record: &DeviceRecord, set: &str) -> Option<u32> {
    let under = record.last.snaps.iter().flatten().flat_map(|own| &own.sets);
    let follows = record.last.follows.iter().flatten();
    let points =
        follows.chain(under).filter_map(|own| own.strip_prefix(set)?.strip_prefix('=')?.parse().ok());
    points.max()
}

/// How a device is doing in a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// It has the revision.
    Done,
    /// It holds its updates.
    Held,
    /// It had the revision and went back, or was offered it again and again.
    Failed,
    /// It stays away.
    Silent,
    /// It has not settled yet.
    Waiting,
    /// It stayed away before its wave opened.
    Absent,
}

impl Outcome {
    /// A word for operators.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Silent => "silent",
            Self::Waiting => "waiting",
            Self::Absent => "absent",
        }
    }
}

/// How the devices of a wave are doing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress<'a> {
    /// All of them.
    pub(crate) devices: Vec<(&'a DeviceId, Outcome)>,
    /// When the last device that is done was first seen with the revision, in microseconds since 1970; 0 if none is.
    pub(crate) last_done_micros: i64,
}

impl Progress<'_> {
    /// How many are doing so.
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.devices.iter().filter(|(_, one)| *one == outcome).count()
    }
}

/// How the devices that were seen are doing in each wave. A device counts in the first wave that takes it.
pub(crate) fn progress<'s>(
    moving: &impl Moving,
    catalog: &Catalog,
    seen: &'s [DeviceRecord],
    taken: &HashMap<DeviceId, Taken>,
    moment: Moment,
) -> Vec<Progress<'s>> {
    let mut waves = vec![Progress::default(); moving.course().waves.len()];
    for record in seen {
        let device = &record.last.device;
        let who = who(record, catalog);
        if catalog.blocked().contains(device) || !moving.means(record, catalog) {
            continue;
        }
        let Some(wave) = moving.takes(&who) else { continue };
        let known = taken.get(device).copied().unwrap_or_default();
        let opened = moving.course().opened.get(wave).copied();
        let outcome = outcome_of(moving.is_at(record), record, known, opened, moment);
        if outcome == Outcome::Done {
            waves[wave].last_done_micros = waves[wave].last_done_micros.max(known.with_micros);
        }
        waves[wave].devices.push((device, outcome));
    }
    waves
}

/// A device that was seen, as rollouts tell it from others.
pub(crate) fn who<'a>(record: &'a DeviceRecord, catalog: &'a Catalog) -> Who<'a> {
    let device = &record.last.device;
    Who { device: Some(device), store: record.last.store.as_deref(), tags: catalog.tags_of(device) }
}

/// Whether the rollout is for the device: it runs the snap and follows the channel, and nothing comes before a rollout.
pub(crate) fn is_concerned(rollout: &Rollout, record: &DeviceRecord, catalog: &Catalog) -> bool {
    let Some(snap) = catalog.snap_by_id(&rollout.record.snap_id) else { return false };
    let architecture = record.last.architecture.as_ref().map(Architecture::as_str);
    let mut running = record.last.snaps.iter().flatten();
    running.any(|of| rollout.concerns(snap, of, architecture))
        && comes_before(rollout, record, catalog).is_none()
}

/// What decides about the snap on the device before any rollout does: its cohort, or a validation set that pins it.
fn comes_before(rollout: &Rollout, record: &DeviceRecord, catalog: &Catalog) -> Option<String> {
    let snap_id = rollout.record.snap_id.as_str();
    let pins = |point: &&String| {
        let (set, sequence) = point.split_once('=')?;
        let set = catalog.validation_set(set, sequence.parse().ok()?)?;
        set.snaps.iter().find(|of| of.id == snap_id)?.revision
    };
    let mut running = record.last.snaps.iter().flatten().filter(|of| of.snap_id == snap_id);
    running.find_map(|of| {
        let set = of.sets.iter().find(|point| pins(point).is_some()).map(|point| format!("set {point}"));
        set.or(of.cohort.is_some().then(|| "its cohort".to_owned()))
    })
}

/// How long a device usually stays away, in microseconds.
pub(crate) fn rhythm(record: &DeviceRecord) -> i64 {
    match record.pace_micros {
        0 => USUAL,
        pace => pace.max(SHORTEST),
    }
}

/// How a device is doing whose wave was `opened` then, and which has what it brings or not.
fn outcome_of(
    has: bool,
    record: &DeviceRecord,
    taken: Taken,
    opened: Option<i64>,
    moment: Moment,
) -> Outcome {
    let patience = rhythm(record).saturating_mul(SILENT_AFTER);
    let last = record.last.seen_at_micros;
    // While nobody listened, nobody was silent.
    let is_silent = moment.now_micros.saturating_sub(last.max(moment.since_micros)) > patience;
    let went_back = taken.with_micros > 0 && taken.without_micros > taken.with_micros;
    match opened {
        None if is_silent => Outcome::Absent,
        None if has => Outcome::Done,
        None => Outcome::Waiting,
        Some(opened) if opened.saturating_sub(last) > patience => Outcome::Absent,
        Some(_) if is_silent => Outcome::Silent,
        Some(_) if has => Outcome::Done,
        Some(_) if went_back => Outcome::Failed,
        Some(_) if taken.held => Outcome::Held,
        Some(_) if taken.offers >= ATTEMPTS => Outcome::Failed,
        Some(_) => Outcome::Waiting,
    }
}

/// The waves for operators.
pub(crate) fn shown(course: &Course, waves: &[Progress<'_>]) -> Vec<RolloutWave> {
    let wave = |(at, progress): (usize, &Progress<'_>)| {
        let counted = progress.devices.iter().filter(|(device, _)| !course.excused.contains(*device)).count();
        RolloutWave {
            wave: course.waves[at].clone(),
            opened: course.opened.get(at).map(|micros| written(*micros)),
            devices: progress.devices.len(),
            done: progress.count(Outcome::Done),
            held: progress.count(Outcome::Held),
            failed: progress.count(Outcome::Failed),
            silent: progress.count(Outcome::Silent),
            waiting: progress.count(Outcome::Waiting),
            absent: progress.count(Outcome::Absent),
            excused: progress.devices.len() - counted,
        }
    };
    waves.iter().enumerate().map(wave).collect()
}

/// What a rollout decides about a device, which was seen if there is a record of it.
pub(crate) fn reason(
    rollout: &Rollout,
    catalog: &Catalog,
    device: &DeviceId,
    record: Option<&DeviceRecord>,
    taken: Taken,
    moment: Moment,
) -> RolloutReason {
    let (RolloutRecord { revision, channel, course, .. }, name) = (&rollout.record, &rollout.name);
    let unseen = Who { device: Some(device), store: None, tags: catalog.tags_of(device) };
    let wave = rollout.wave_of(&record.map_or(unseen, |record| who(record, catalog)));
    let opened = wave.and_then(|wave| course.opened.get(wave).copied());
    let outcome = record.filter(|record| wave.is_some() && is_concerned(rollout, record, catalog));
    let outcome = outcome.map(|record| outcome_of(rollout.is_at(record), record, taken, opened, moment));
    let snap = catalog.snap_by_id(&rollout.record.snap_id);
    let later = course.next_window(moment.now_micros);
    let before = record.and_then(|record| comes_before(rollout, record, catalog));
    let is_overridden = |snap: &&Arc<Snap>| snap.overrides.iter().any(|over| over.channel == *channel);
    let says = match (wave, opened, course.state) {
        _ if catalog.blocked().contains(device) => {
            "The device is blocked, and gets nothing: `proxy unblock-device` lets it in.".to_owned()
        }
        _ if before.is_some() => format!(
            "The device does not count: what it gets of the snap is decided by {}, which comes before a rollout.",
            before.unwrap_or_default()
        ),
        _ if snap.as_ref().is_some_and(is_overridden) => {
            format!("An override of {channel} decides what the device gets, and comes before a rollout.")
        }
        (_, _, RolloutState::Planned) => {
            format!("Rollout {name} has not begun: {channel} has its own revision.")
        }
        (None, ..) => format!("No wave takes the device: it gets what is released in {channel}."),
        (Some(wave), None, _) => {
            format!(
                "The device is in wave {}, which is not open: it gets what is released in {channel}.",
                wave + 1
            )
        }
        (Some(wave), Some(_), RolloutState::Running) if later.is_some() => format!(
            "The device is in wave {}, which is open, and the rollout offers revision {revision} {}, next at {}: until then it \
             keeps it if it has it, and otherwise gets what is released in {channel}.",
            wave + 1,
            course.windows.as_ref().map(ToString::to_string).unwrap_or_default(),
            later.map(written).unwrap_or_default(),
        ),
        (Some(wave), Some(_), RolloutState::Running) => {
            format!(
                "The device is in wave {}, which is open: from {channel} it gets revision {revision}.",
                wave + 1
            )
        }
        (Some(wave), Some(_), _) => format!(
            "The device is in wave {}, which is open, and the rollout is paused: it keeps revision {revision} if it has it, \
             and otherwise gets what is released in {channel}.",
            wave + 1
        ),
    };
    let says = match record {
        Some(_) => says,
        None => format!("The device was never seen here, so this goes by its name alone. {says}"),
    };
    let percent = rollout.place(device) as f64 / u64::MAX as f64 * 100.0;
    RolloutReason {
        rollout: name.clone(),
        snap: snap.map_or_else(|| rollout.record.snap_id.to_string(), |snap| snap.name.to_string()),
        wave: wave.map(|wave| wave + 1),
        open: opened.is_some(),
        place: format!("{percent:.2}%"),
        outcome: outcome.map(|outcome| outcome.word().to_owned()),
        says,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use schema::rollout::Share;

    use super::*;
    use crate::storage::devices::{Running, Sighting};

    const SNAP: &str = "buPKUD3TKqCOgLEjjHx5kSiCpIs5cMuQ";

    /// A running rollout of a snap's revision into `latest/stable`, with these waves.
    pub(crate) fn record(snap: &str, revision: u32, waves: &[&str]) -> RolloutRecord {
        RolloutRecord {
            snap_id: snap.parse().unwrap(),
            channel: "stable".parse().unwrap(),
            revision,
            released_at: "2026-08-01T00:00:00Z".into(),
            course: course(waves),
        }
    }

    /// A running course with these waves, of which the first is open.
    pub(crate) fn course(waves: &[&str]) -> Course {
        Course {
            waves: waves.iter().map(|wave| wave.parse().unwrap()).collect(),
            opened: vec![0],
            salt: "salt".into(),
            soak: 3600,
            max_failed: "2%".parse().unwrap(),
            max_silent: "5%".parse::<Share>().unwrap(),
            windows: None,
            approvals: 0,
            state: RolloutState::Running,
            why: None,
            stopped_by: BTreeSet::new(),
            excused: BTreeSet::new(),
            who: "operator".into(),
            ended: Vec::new(),
        }
    }

    /// A record whose course is otherwise.
    pub(crate) fn with(mut record: RolloutRecord, change: impl FnOnce(&mut Course)) -> RolloutRecord {
        change(&mut record.course);
        record
    }

    fn seen(revision: i64, hour: i64, pace: i64) -> DeviceRecord {
        let running = Running {
            snap_id: SNAP.into(),
            revision,
            channel: "latest/stable".into(),
            epoch: None,
            sets: Vec::new(),
            cohort: None,
        };
        let last = Sighting {
            device: "acme/gateway/1".parse().unwrap(),
            seen_at_micros: hour * HOUR,
            address: String::new(),
            client: String::new(),
            snaps: Some(vec![running]),
            missed: None,
            store: None,
            agent: String::new(),
            architecture: None,
            verified: true,
            follows: None,
        };
        DeviceRecord { first_seen_micros: 0, pace_micros: pace * HOUR, last }
    }

    #[test]
    fn each_device_is_judged_by_what_it_said_and_by_its_own_rhythm() {
        let taken = |offers, with, without, held| Taken {
            offers,
            with_micros: with * HOUR,
            without_micros: without * HOUR,
            held,
        };
        let never = taken(0, 0, 0, false);
        // The revision that it runs, when it was seen last, its interval; what it said; when its wave opened; now; since when.
        for (device, said, opened, now, since, expected) in [
            ((1, 100, 6), never, None, 101, 0, Outcome::Waiting),
            ((2, 100, 6), never, None, 101, 0, Outcome::Done),
            ((1, 100, 6), never, None, 119, 0, Outcome::Absent),
            ((1, 100, 6), taken(1, 0, 100, false), Some(99), 101, 0, Outcome::Waiting),
            ((2, 100, 6), taken(1, 100, 99, false), Some(99), 101, 0, Outcome::Done),
            ((1, 100, 6), taken(2, 90, 100, false), Some(80), 101, 0, Outcome::Failed),
            // It came back to the revision.
            ((2, 100, 6), taken(2, 90, 95, false), Some(80), 101, 0, Outcome::Done),
            ((1, 100, 6), taken(2, 0, 100, false), Some(80), 101, 0, Outcome::Waiting),
            ((1, 100, 6), taken(3, 0, 100, false), Some(80), 101, 0, Outcome::Failed),
            ((1, 100, 6), taken(3, 0, 100, true), Some(80), 101, 0, Outcome::Held),
            ((1, 100, 6), taken(3, 90, 100, true), Some(80), 101, 0, Outcome::Failed),
            // Three of its own intervals.
            ((1, 100, 6), never, Some(99), 118, 0, Outcome::Waiting),
            ((1, 100, 6), never, Some(99), 119, 0, Outcome::Silent),
            ((2, 100, 6), never, Some(99), 119, 0, Outcome::Silent),
            ((1, 100, 24), never, Some(99), 119, 0, Outcome::Waiting),
            ((1, 100, 24), never, Some(99), 173, 0, Outcome::Silent),
            ((1, 100, 0), never, Some(99), 118, 0, Outcome::Waiting),
            ((1, 100, 0), never, Some(99), 119, 0, Outcome::Silent),
            // Not while nobody listened.
            ((1, 100, 6), never, Some(99), 119, 110, Outcome::Waiting),
            ((1, 100, 6), never, Some(99), 129, 110, Outcome::Silent),
            // It was away before.
            ((1, 100, 6), never, Some(118), 200, 0, Outcome::Silent),
            ((1, 100, 6), never, Some(119), 200, 0, Outcome::Absent),
            // A clock that was set back makes nobody silent.
            ((1, 100, 6), never, Some(99), 10, 0, Outcome::Waiting),
        ] {
            let (revision, hour, pace) = device;
            let moment = Moment { now_micros: now * HOUR, since_micros: since * HOUR };
            let opened = opened.map(|hour: i64| hour * HOUR);
            let found = outcome_of(revision == 2, &seen(revision, hour, pace), said, opened, moment);
            assert_eq!(found, expected, "{device:?} {said:?} {opened:?} {now} {since}");
        }
    }
}
