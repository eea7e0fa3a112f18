//! What waves do next: one judgement for rollouts and trains, by themselves and by operators.

use std::collections::BTreeSet;

use schema::api::admin::{Gates, RolloutState};
use schema::rollout::{Share, WindowError, Windows};
use schema::store::DeviceId;

use super::By;
use crate::fleet::{Outcome, Progress, written};
use crate::storage::rollouts::Course;

/// The most waves of a course.
const MOST_WAVES: usize = 100;
/// The most other people who can be asked to approve a step.
const MOST_APPROVALS: u32 = 2;
/// The longest soak, in seconds: ten years.
const LONGEST_SOAK: u64 = 3650 * 24 * 3600;
/// The most devices named in a record.
const NAMED: usize = 100;

/// How waves are called in the audit log that move by themselves.
pub(crate) const ITSELF: &str = "proxyd";

/// Why waves are not planned so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GateError {
    #[error("there have to be 1 to {MOST_WAVES} waves: give --wave, such as --wave 10% --wave 100%")]
    Waves,
    #[error(transparent)]
    Window(#[from] WindowError),
    #[error("a time zone counts for windows only: give --window, or leave --zone out")]
    ZoneAlone,
    #[error("--approvals is {0}: at most {MOST_APPROVALS} other people can be asked")]
    Approvals(u32),
    #[error("--soak is {0} seconds: it can be ten years at most")]
    Soak(u64),
}

/// What waves do next by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing, for this reason.
    Wait(String),
    /// The next wave opens.
    Open,
    /// All devices get it.
    Finish,
    /// They stop, for this reason, because of these devices.
    Stop(String, BTreeSet<DeviceId>),
}

/// The course that is wished for, of which no wave is open; `salt` is random.
pub(crate) fn planned(wish: &Gates, salt: &str, by: &By) -> Result<Course, GateError> {
    if !(1..=MOST_WAVES).contains(&wish.waves.len()) {
        return Err(GateError::Waves);
    }
    if wish.approvals > MOST_APPROVALS {
        return Err(GateError::Approvals(wish.approvals));
    }
    if wish.soak > LONGEST_SOAK {
        return Err(GateError::Soak(wish.soak));
    }
    let windows = match (&*wish.windows, &wish.zone) {
        ([], None) => None,
        ([], Some(_)) => return Err(GateError::ZoneAlone),
        (windows, zone) => Some(Windows::new(zone.as_deref().unwrap_or("UTC"), windows.to_vec())?),
    };
    Ok(Course {
        waves: wish.waves.clone(),
        opened: Vec::new(),
        salt: wish.salt.as_deref().unwrap_or(salt).to_owned(),
        soak: wish.soak,
        max_failed: wish.max_failed,
        max_silent: wish.max_silent,
        windows,
        approvals: wish.approvals,
        state: RolloutState::Planned,
        why: None,
        stopped_by: BTreeSet::new(),
        excused: BTreeSet::new(),
        who: by.who.clone(),
        ended: Vec::new(),
    })
}

/// What was wished for when a course was planned.
pub(crate) fn wished(course: &Course) -> Gates {
    let windows = course.windows.as_ref();
    Gates {
        waves: course.waves.clone(),
        soak: course.soak,
        max_failed: course.max_failed,
        max_silent: course.max_silent,
        windows: windows.map(|windows| windows.windows().to_vec()).unwrap_or_default(),
        zone: windows.map(|windows| windows.zone().to_owned()),
        approvals: course.approvals,
        salt: Some(course.salt.clone()),
    }
}

/// Judges a running course by its waves. `hindered` says what else is in its way, and `next` is the command that goes on.
pub(super) fn judge(
    course: &Course,
    waves: &[Progress<'_>],
    hindered: Option<String>,
    next: &str,
    now_micros: i64,
) -> Verdict {
    let open = &waves[..course.opened.len().min(waves.len())];
    let (mut unsettled, mut proven) = (0, false);
    for (at, wave) in open.iter().enumerate() {
        let counted = || {
            let counts = |(device, outcome): &&(&DeviceId, Outcome)| {
                *outcome != Outcome::Absent && !course.excused.contains(*device)
            };
            wave.devices.iter().filter(counts)
        };
        let of = |wanted: Outcome| counted().filter(move |(_, outcome)| *outcome == wanted);
        let whole = counted().count();
        for (bad, limit) in [(Outcome::Failed, course.max_failed), (Outcome::Silent, course.max_silent)] {
            let count = of(bad).count();
            if limit.is_exceeded_by(count, whole) {
                let wave = format!("wave {} ({})", at + 1, course.waves[at]);
                let why = format!("{count} of {whole} devices of {wave} {}: more than {limit}", said(bad));
                return Verdict::Stop(why, of(bad).map(|(device, _)| (*device).clone()).collect());
            }
        }
        unsettled += of(Outcome::Waiting).count();
        // A wave that adds nobody leaves what those before it proved.
        if !wave.devices.is_empty() {
            proven = of(Outcome::Done).count() > 0;
        }
    }
    if let Some(why) = hindered {
        return Verdict::Wait(why);
    }
    if unsettled > 0 {
        return Verdict::Wait(format!("{unsettled} devices of open waves have yet to settle"));
    }
    if !proven {
        return Verdict::Wait(format!("no device of the last open wave has it: `{next}` goes on"));
    }
    let done = open.iter().map(|wave| wave.last_done_micros).max().unwrap_or_default();
    let since = done.max(course.opened.last().copied().unwrap_or_default());
    let soaked =
        since.saturating_add(i64::try_from(course.soak).unwrap_or(i64::MAX).saturating_mul(1_000_000));
    if now_micros < soaked {
        return Verdict::Wait(format!("it soaks until {}", written(soaked)));
    }
    match course.waves.last() {
        _ if course.approvals > 0 => Verdict::Wait(format!(
            "what comes next needs approval: `{next}` asks for it, and does it once it is approved"
        )),
        _ if course.opened.len() < course.waves.len() => Verdict::Open,
        Some(last) if last.takes_all() => Verdict::Finish,
        _ => Verdict::Wait(format!("all waves are open and none is 100%: `{next}` releases it to everybody")),
    }
}

/// What a verdict means for operators who look.
pub(crate) fn expected(verdict: Verdict, end: &str) -> String {
    match verdict {
        Verdict::Wait(why) => why,
        Verdict::Open => "the next wave opens within a minute".to_owned(),
        Verdict::Finish => format!("{end} within a minute"),
        Verdict::Stop(why, _) => format!("it stops within a minute: {why}"),
    }
}

fn said(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Silent => "fell silent",
        _ => "failed",
    }
}

/// Stops a course, for this reason, because of these devices.
pub(super) fn stop(course: &mut Course, why: String, devices: BTreeSet<DeviceId>) {
    (course.state, course.why) = (RolloutState::Paused, Some(why));
    course.stopped_by = devices.into_iter().take(NAMED).collect();
}

/// Offers what it brings to nobody new.
pub(super) fn pause(course: &mut Course, by: &By) {
    (course.state, course.why) = (RolloutState::Paused, Some(format!("paused by {}", by.who)));
}

/// Goes on without the devices that have failed or fallen silent.
pub(super) fn resume(course: &mut Course, waves: &[Progress<'_>]) {
    let open = waves.iter().take(course.opened.len());
    let bad = open.flat_map(|wave| &wave.devices);
    let bad = bad.filter(|(_, outcome)| matches!(outcome, Outcome::Failed | Outcome::Silent));
    course.excused.extend(bad.map(|(device, _)| (*device).clone()));
    (course.state, course.why) = (RolloutState::Running, None);
    course.stopped_by.clear();
}

/// Opens the next wave, and with it those after it that would add nobody as long as they would not take everybody.
pub(super) fn open(course: &mut Course, waves: &[Progress<'_>], by: &By) {
    loop {
        course.opened.push(by.micros());
        let at = course.opened.len();
        let adds = waves.get(at - 1).is_some_and(|wave| !wave.devices.is_empty());
        if adds || course.waves.get(at).is_none_or(|next| next.share == Share::ALL && next.group.is_none()) {
            break;
        }
    }
}

/// Devices as the audit log names them.
pub(super) fn named(devices: &BTreeSet<DeviceId>) -> Vec<String> {
    devices.iter().take(NAMED).map(ToString::to_string).collect()
}
