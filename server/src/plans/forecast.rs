//! How a rollout would go: its own decisions, replayed against the fleet as it was last seen.
//!
//! Devices come in their usual rhythm, take the revision at the first visit at which they are offered it, and say so at the
//! next. One that is late by more than an interval is not expected any more.

use std::collections::HashMap;

use schema::api::admin::{ForecastWave, RolloutForecast, RolloutState};
use schema::store::DeviceId;
use time::{Duration, OffsetDateTime};

use super::By;
use super::gates::{ITSELF, Verdict};
use super::rollouts::{RolloutError, judge, plan_by_itself};
use crate::catalog::{Catalog, Rollout};
use crate::fleet::progress::{is_concerned, who};
use crate::fleet::{Moment, Outcome, Progress, progress, rhythm, written};
use crate::storage::devices::DeviceRecord;
use crate::storage::rollouts::{RolloutRecord, Taken};

const HOUR: i64 = 3_600_000_000;
/// A rollout that has not come to its end by then is told that far.
const LONGEST: i64 = 365 * 24 * HOUR;
/// The most visits at which a device comes outside the windows.
const MOST_VISITS: i64 = 1000;

/// A device of a wave.
struct Member {
    /// Which of those that were seen.
    at: usize,
    wave: usize,
    /// How long it usually stays away.
    rhythm: i64,
    /// When it was seen last.
    last: i64,
    /// Whether it is expected to come again.
    comes: bool,
    /// When it is seen with the revision.
    done: Option<i64>,
}

impl Member {
    /// Its first visit after a moment at which the rollout offers its revision.
    fn visit(&self, after: i64, record: &RolloutRecord) -> Option<i64> {
        let first = self.last + ((after - self.last).max(0) / self.rhythm + 1) * self.rhythm;
        let mut visits = (0..MOST_VISITS).map(|number| first + number * self.rhythm);
        visits.find(|visit| record.course.next_window(*visit).is_none()).filter(|_| self.comes)
    }

    /// When it was seen last at a moment.
    fn seen(&self, now: i64) -> i64 {
        match self.comes {
            true => self.last + (now - self.last).max(0) / self.rhythm * self.rhythm,
            false => self.last,
        }
    }
}

/// Tells how a rollout that is planned or running would go. `seen` are the devices that run its snap, and `taken` is how they
/// took to it so far.
pub(crate) fn forecast(
    catalog: &Catalog,
    rollout: Rollout,
    seen: &[DeviceRecord],
    taken: &HashMap<DeviceId, Taken>,
    moment: Moment,
) -> Result<RolloutForecast, RolloutError> {
    let from = moment.now_micros;
    // Whether people approve, and when, is not foreseen.
    let mut rollout = rollout;
    rollout.record.course.approvals = 0;
    let mut replay = Replay::new(catalog, rollout, seen, taken, moment);
    if replay.rollout.record.course.state == RolloutState::Planned {
        let record = &mut replay.rollout.record;
        record.course.state = RolloutState::Running;
        record.course.opened.push(from);
        replay.expect(from);
    }
    let mut now = from;
    while replay.rollout.record.course.state == RolloutState::Running && now < from + LONGEST {
        if !replay.look(now)? {
            let Some(next) = replay.next(now) else { break };
            now = next;
        }
    }
    Ok(replay.told(from, now))
}

struct Replay<'a> {
    catalog: &'a Catalog,
    rollout: Rollout,
    seen: Vec<DeviceRecord>,
    taken: HashMap<DeviceId, Taken>,
    since_micros: i64,
    members: Vec<Member>,
}

impl<'a> Replay<'a> {
    fn new(
        catalog: &'a Catalog,
        rollout: Rollout,
        seen: &[DeviceRecord],
        taken: &HashMap<DeviceId, Taken>,
        moment: Moment,
    ) -> Self {
        let member = |(at, record): (usize, &DeviceRecord)| {
            let is_meant =
                !catalog.blocked().contains(&record.last.device) && is_concerned(&rollout, record, catalog);
            let wave = rollout.wave_of(&who(record, catalog)).filter(|_| is_meant)?;
            let (rhythm, last) = (rhythm(record), record.last.seen_at_micros);
            let comes = moment.now_micros - last <= 2 * rhythm;
            let mut running = record.last.snaps.iter().flatten();
            let (id, revision) = (rollout.record.snap_id.as_str(), i64::from(rollout.record.revision));
            let has = running.any(|of| of.snap_id == id && of.revision == revision);
            Some(Member { at, wave, rhythm, last, comes, done: has.then_some(last) })
        };
        let members = seen.iter().enumerate().filter_map(member).collect();
        let since_micros = moment.since_micros;
        let mut replay =
            Self { catalog, rollout, seen: seen.to_vec(), taken: taken.clone(), since_micros, members };
        replay.expect(moment.now_micros);
        replay
    }

    /// Expects the devices of open waves from a moment on.
    fn expect(&mut self, now: i64) {
        let record = &self.rollout.record;
        for member in self.members.iter_mut().filter(|member| member.done.is_none()) {
            if let Some(opened) = record.course.opened.get(member.wave) {
                let offered = member.visit(now.max(*opened), record);
                member.done = offered.map(|offered| offered + member.rhythm);
            }
        }
    }

    /// Devices have come until then, and said what they run.
    fn come(&mut self, now: i64) {
        let (id, revision) = (self.rollout.record.snap_id.as_str(), i64::from(self.rollout.record.revision));
        for member in &self.members {
            let record = &mut self.seen[member.at];
            record.last.seen_at_micros = member.seen(now);
            if let Some(done) = member.done.filter(|done| *done <= now) {
                let mut running = record.last.snaps.iter_mut().flatten();
                running.by_ref().filter(|of| of.snap_id == id).for_each(|of| of.revision = revision);
                let taken = self.taken.entry(record.last.device.clone()).or_default();
                taken.with_micros = if taken.with_micros == 0 { done } else { taken.with_micros };
            }
        }
    }

    /// How the fleet would be doing at a moment.
    fn progress(&self, now: i64) -> Vec<Progress<'_>> {
        let moment = Moment { now_micros: now, since_micros: self.since_micros };
        progress(&self.rollout, self.catalog, &self.seen, &self.taken, moment)
    }

    /// A round of the job. Whether anything moved.
    fn look(&mut self, now: i64) -> Result<bool, RolloutError> {
        self.come(now);
        let waves = self.progress(now);
        let at = OffsetDateTime::UNIX_EPOCH + Duration::microseconds(now);
        let by = By { who: ITSELF.to_owned(), now: at };
        let Some(change) = plan_by_itself(self.catalog, &self.rollout, &waves, &by)? else {
            return Ok(false);
        };
        let record = change.meta.first().and_then(|(_, fact)| serde_json::from_str(fact).ok());
        let Some(record) = record else { return Ok(false) };
        self.rollout.record = record;
        self.expect(now);
        Ok(true)
    }

    /// The next moment at which anything may be otherwise, in whole hours.
    fn next(&self, now: i64) -> Option<i64> {
        let record = &self.rollout.record;
        let open = self.members.iter().filter(|member| member.wave < record.course.opened.len());
        let soak = i64::try_from(record.course.soak).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let moments = open.map(|member| match member.done {
            Some(done) if done > now => done,
            Some(done) => done.saturating_add(soak),
            None => member.last.saturating_add(3 * member.rhythm),
        });
        let soaked = record.course.opened.last().map(|opened| opened.saturating_add(soak));
        let hours = moments
            .chain(soaked)
            .map(|moment| moment.div_euclid(HOUR).saturating_add(1).saturating_mul(HOUR));
        hours.filter(|moment| *moment > now).min()
    }

    fn told(mut self, from: i64, now: i64) -> RolloutForecast {
        self.come(now);
        let waves = self.progress(now);
        let state = self.rollout.record.course.state;
        let why = match state {
            RolloutState::Running => match judge(self.catalog, &self.rollout, &waves, now) {
                Verdict::Wait(why) | Verdict::Stop(why, _) => Some(why),
                Verdict::Open | Verdict::Finish => None,
            },
            _ => self.rollout.record.course.why.clone(),
        };
        let wave = |(at, progress): (usize, &Progress<'_>)| {
            let members = self.members.iter().filter(|member| member.wave == at);
            let mut done: Vec<i64> =
                members.filter_map(|member| member.done.filter(|done| *done <= now)).collect();
            done.sort_unstable();
            ForecastWave {
                wave: self.rollout.record.course.waves[at].clone(),
                devices: progress.devices.len(),
                opens: self.rollout.record.course.opened.get(at).map(|micros| written(*micros)),
                half_done: done.get(done.len().saturating_sub(1) / 2).map(|micros| written(*micros)),
                all_done: done.last().map(|micros| written(*micros)),
                done: done.len(),
                silent: progress.count(Outcome::Silent),
                absent: progress.count(Outcome::Absent),
            }
        };
        RolloutForecast {
            name: self.rollout.name.clone(),
            from: written(from),
            waves: waves.iter().enumerate().map(wave).collect(),
            ends: written(now),
            state,
            why,
        }
    }
}
