//! Fleets on virtual time: thousands of devices that come, fail, fall silent and return, under a rollout that decides with the
//! code of the program, while its server crashes. What happens follows from a seed.

mod devices;
mod everywhere;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use schema::api::admin::{RolloutAction, RolloutState};
use schema::rollout::{Share, place};
use schema::store::DeviceId;
use time::{Duration, OffsetDateTime};

use self::devices::{DAY, Device, HOUR, MINUTE, NEW, Nature, OLD, Random};
use super::snapshot;
use crate::catalog::{Ask, Catalog, Layer, Rollout, Scope, Target, Who, unheard};
use crate::fleet::progress::tests::{record, with};
use crate::fleet::progress::{Moving, progress};
use crate::fleet::{Moment, Outcome, Progress};
use crate::imports::tests::world::JQ;
use crate::plans::By;
use crate::plans::rollouts::{plan_by_itself, plan_step};
use crate::storage::devices::{DeviceRecord, Running, Sighting};
use crate::storage::records::{Change, Snapshot};
use crate::storage::rollouts::{Contact, Course, RolloutRecord, Taken};

/// The waves of all these rollouts.
const WAVES: [&str; 3] = ["2%", "10%", "100%"];
/// The rollout's name.
const NAME: &str = "spring";
/// When it starts.
const START: i64 = 20_000 * DAY;
/// What has not come to its end by then never will.
const LONGEST: i64 = 90 * DAY;
/// Visits are written down that often.
const WRITTEN: i64 = 10 * MINUTE;

/// What is wrong with the new revision, and with the world.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    /// The share of devices that fail.
    fails: f64,
    /// The share of devices that fall silent.
    dies: f64,
    /// Only those of this wave.
    wave: Option<usize>,
    /// The share that may fail, and that may fall silent.
    limits: (&'static str, &'static str),
}

/// How a rollout ended.
#[derive(Debug)]
struct End {
    seed: u64,
    state: RolloutState,
    why: String,
    opened: usize,
    /// Offers of the new revision outside open waves, or to somebody new while it was paused.
    outside: usize,
    /// How many devices of each wave were offered it.
    touched: [usize; 3],
    visits: usize,
    crashes: usize,
    micros: i64,
    /// The largest shares of an open wave that had failed, and that were silent.
    worst: Worst,
}

/// Shares of devices: failed and silent.
type Worst = [f64; 2];

/// A rollout whose waves are known.
struct Known<'a> {
    rollout: Rollout,
    waves: &'a [Option<usize>],
}

impl Moving for Known<'_> {
    fn course(&self) -> &Course {
        self.rollout.course()
    }

    fn log(&self) -> String {
        self.rollout.log()
    }

    fn takes(&self, who: &Who<'_>) -> Option<usize> {
        self.waves[who.device?.serial.parse::<usize>().expect("a number")]
    }

    fn means(&self, _: &DeviceRecord, _: &Catalog) -> bool {
        true // All of them run the snap and follow the channel.
    }

    fn is_at(&self, record: &DeviceRecord) -> bool {
        self.rollout.is_at(record)
    }
}

/// A server and its database.
struct Store {
    snapshot: Snapshot,
    catalog: Catalog,
    seen: Vec<DeviceRecord>,
    taken: HashMap<DeviceId, Taken>,
    /// The wave that takes each device: it follows from the names, and no look has to work it out again.
    waves: Vec<Option<usize>>,
    since_micros: i64,
}

impl Store {
    fn new(base: &Snapshot, rollout: &RolloutRecord, fleet: &[Device]) -> Self {
        let mut snapshot = base.clone();
        snapshot.meta.extend([rollout.fact(NAME)]);
        let (seen, catalog) = (fleet.iter().map(|device| seen(&device.id)).collect(), compile(&snapshot));
        let rollout = catalog.rollout(NAME).expect("a rollout");
        let waves = fleet
            .iter()
            .map(|device| rollout.wave_of(&Who { device: Some(&device.id), store: None, tags: None }));
        let waves = waves.collect();
        Self { catalog, snapshot, seen, taken: HashMap::new(), waves, since_micros: START - DAY }
    }

    /// Answers a refresh: the revision, whether a rollout decided, and what is to be written down.
    fn answer(&self, device: &Device, now: i64) -> (i64, bool, Option<Contact>) {
        let view = self.catalog.view(Scope::anonymous());
        let installed = [device.installed()];
        let (id, architecture) = (Some(&device.id), Some("amd64"));
        let target = Target { device: id, architecture, installed: &installed, ..Target::anyone(now) };
        let ask = Ask { snap_id: Some(JQ), own: Some(&installed[0]), ..Ask::default() };
        let offer = view.resolve(&target, &ask, &mut unheard).expect("an offer");
        let lifted = offer.layer == Layer::Rollout;
        let offered = if lifted { vec![offer.snap.id.clone()] } else { Vec::new() };
        (offer.revision.number.into(), lifted, view.contacts(&target, &offered).pop())
    }

    /// Writes a visit down, as the statements of the database do.
    fn write(&mut self, at: usize, now: i64, runs: i64, contact: Option<Contact>) {
        let record = &mut self.seen[at];
        let between = now - record.last.seen_at_micros;
        record.pace_micros = match record.pace_micros {
            pace if between < WRITTEN => pace,
            0 => between,
            pace => (3 * pace + between) / 4,
        };
        record.last.seen_at_micros = now;
        if let Some(running) = record.last.snaps.iter_mut().flatten().next() {
            running.revision = runs;
        }
        let Some(contact) = contact else { return };
        let taken = self.taken.entry(record.last.device.clone()).or_default();
        // Within ten minutes everything is one visit.
        taken.offers += i64::from(contact.offered && between >= WRITTEN);
        if contact.has && taken.with_micros == 0 {
            taken.with_micros = now;
        }
        if !contact.has {
            taken.without_micros = now;
        }
        taken.held = contact.held;
    }

    fn progress(&self, now: i64) -> Vec<Progress<'_>> {
        let rollout = self.catalog.rollout(NAME).expect("a rollout");
        let moment = Moment { now_micros: now, since_micros: self.since_micros };
        let known = Known { rollout, waves: &self.waves };
        progress(&known, &self.catalog, &self.seen, &self.taken, moment)
    }

    fn commit(&mut self, change: Change) {
        self.snapshot.meta.extend(change.meta);
        self.catalog = compile(&self.snapshot);
    }

    /// Everything but the database is gone until then.
    fn crash(&mut self, until: i64) {
        self.catalog = compile(&self.snapshot);
        self.since_micros = until;
    }

    fn rollout(&self) -> RolloutRecord {
        self.catalog.rollout(NAME).expect("a rollout").record
    }

    /// One round of the job; answers how the open waves were doing.
    fn look(&mut self, now: i64) -> Worst {
        let rollout = self.catalog.rollout(NAME).expect("a rollout");
        let waves = self.progress(now);
        let share = |wave: &Progress<'_>, of: Outcome| {
            let whole = wave.devices.len() - wave.count(Outcome::Absent);
            if whole == 0 { 0.0 } else { wave.count(of) as f64 / whole as f64 }
        };
        let open = &waves[..rollout.record.course.opened.len()];
        let worst = [Outcome::Failed, Outcome::Silent]
            .map(|of| open.iter().map(|wave| share(wave, of)).fold(0.0, f64::max));
        let planned = plan_by_itself(&self.catalog, &rollout, &waves, &by(now)).expect("a plan");
        if let Some(change) = planned {
            self.commit(change);
        }
        worst
    }
}

fn by(now: i64) -> By {
    let now = OffsetDateTime::UNIX_EPOCH + Duration::microseconds(now);
    By { who: "proxyd".into(), now }
}

fn compile(snapshot: &Snapshot) -> Catalog {
    Catalog::compile(snapshot.clone(), "http://store.test", None).expect("a catalog")
}

/// A device that has come for a while.
fn seen(device: &DeviceId) -> DeviceRecord {
    let running = Running {
        snap_id: JQ.into(),
        revision: OLD,
        channel: "latest/stable".into(),
        epoch: None,
        sets: Vec::new(),
        cohort: None,
    };
    let last = Sighting {
        device: device.clone(),
        seen_at_micros: START - DAY,
        address: String::new(),
        client: String::new(),
        snaps: Some(vec![running]),
        missed: None,
        store: None,
        agent: String::new(),
        architecture: Some("amd64".parse().expect("an architecture")),
        verified: true,
        follows: None,
    };
    DeviceRecord { first_seen_micros: START - DAY, pace_micros: 0, last }
}

/// The wave of a device, worked out apart from the program's own way.
fn wave_of(device: &DeviceId, salt: &str) -> usize {
    let part = place(NAME, salt, device) as f64 / u64::MAX as f64;
    [0.02, 0.1, 1.0].iter().position(|share| part < *share).unwrap_or(2)
}

fn nature(random: &mut Random, trouble: &Trouble, wave: usize) -> Nature {
    let counts = trouble.wave.is_none_or(|only| only == wave);
    match () {
        () if counts && random.chance(trouble.fails) => match random.below(3) {
            0 => Nature::Refuses,
            visits => Nature::Reverts(visits as u8 - 1),
        },
        () if counts && random.chance(trouble.dies) => Nature::Dies(random.below(3) as u8),
        () if random.chance(0.01) => Nature::Holds,
        () if random.chance(0.1) => Nature::Later,
        () => Nature::Takes,
    }
}

/// One rollout to its end.
fn run(base: &Snapshot, seed: u64, devices: usize, trouble: &Trouble) -> End {
    let mut random = Random(seed);
    let salt = format!("salt {seed}");
    let limit = |text: &str| text.parse::<Share>().expect("a share");
    let rollout = with(record(JQ, NEW as u32, &WAVES), |course| {
        (course.state, course.opened, course.soak) = (RolloutState::Planned, Vec::new(), 24 * 3600);
        course.salt.clone_from(&salt);
        (course.max_failed, course.max_silent) = (limit(trouble.limits.0), limit(trouble.limits.1));
    });
    let mut waves = Vec::new();
    let mut fleet = Vec::new();
    for number in 0..devices {
        let id: DeviceId = format!("acme/gateway/{number}").parse().expect("a device");
        let wave = wave_of(&id, &salt);
        let nature = nature(&mut random, trouble, wave);
        waves.push(wave);
        // They have come for two days before it starts.
        fleet.push(Device::new(number, &mut random, nature, START - DAY));
    }
    let mut store = Store::new(base, &rollout, &fleet);
    let (mut outside, mut visits, mut crashes) = (0, 0, 0);
    let mut now = START - DAY;
    let mut started = false;
    let mut worst = [0.0; 2];
    while now < START + LONGEST {
        let rollout = store.rollout();
        if started && rollout.course.state != RolloutState::Running {
            break;
        }
        // The job looks each minute; here every look counts, and there are fewer of them.
        let look = now + MINUTE + random.below(5 * HOUR);
        let crash = if random.chance(0.05) { now + random.below(look - now) } else { i64::MAX };
        let back = crash.saturating_add(MINUTE + random.below(6 * HOUR));
        let mut lost = 0;
        for at in 0..fleet.len() {
            while fleet[at].next < look.min(crash) {
                let visit = fleet[at].next;
                visits += 1;
                let (offered, lifted, contact) = store.answer(&fleet[at], visit);
                let is_open = waves[at] < rollout.course.opened.len();
                let has = fleet[at].runs == NEW;
                let may = is_open && (has || rollout.course.state == RolloutState::Running);
                outside += usize::from((offered == NEW || lifted) && !may);
                let runs = fleet[at].runs;
                fleet[at].comes_again(visit, &mut random);
                fleet[at].acts(offered, visit);
                // What was not written down when the server died is lost.
                if visit.saturating_add(WRITTEN) > crash {
                    lost += 1;
                } else {
                    store.write(at, visit, runs, contact);
                }
            }
            while fleet[at].next < look && fleet[at].next < back {
                fleet[at].unanswered(back, &mut random);
            }
        }
        now = look;
        if crash < i64::MAX {
            (crashes, now) = (crashes + 1, look.max(back));
            store.crash(now);
            assert!(lost <= fleet.len());
        }
        if started {
            let shares = store.look(now);
            worst = [0, 1].map(|of| shares[of].max(worst[of]));
        } else if now >= START {
            let waves = store.progress(now);
            let change = plan_step(&store.catalog, NAME, RolloutAction::Start, &waves, &by(now));
            store.commit(change.expect("it starts"));
            started = true;
        }
    }
    let record = store.rollout();
    let mut touched = [0; 3];
    fleet.iter().zip(&waves).for_each(|(device, wave)| touched[*wave] += usize::from(device.touched));
    End {
        seed,
        state: record.course.state,
        why: record.course.why.unwrap_or_default(),
        opened: record.course.opened.len(),
        outside,
        touched,
        visits,
        crashes,
        micros: now - START,
        worst,
    }
}

#[expect(clippy::disallowed_methods, reason = "longer runs of these tests")]
fn size(variable: &str, ordinary: u64) -> u64 {
    std::env::var(variable).map_or(ordinary, |text| text.parse().expect("a number"))
}

/// All seeds of a run, on all processors.
fn ends(trouble: &Trouble) -> Vec<End> {
    let devices = size("AIRLOCK_FLEET_DEVICES", 1000) as usize;
    let (first, seeds) = (size("AIRLOCK_FLEET_FIRST", 0), size("AIRLOCK_FLEET_SEEDS", 3));
    let (next, ends) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let base = snapshot(&[("amd64", OLD as u32)]);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let seed = next.fetch_add(1, Ordering::Relaxed)
                    && seed < first + seeds
                {
                    let end = run(&base, seed, devices, trouble);
                    ends.lock().expect("no thread panicked").push(end);
                }
            });
        }
    });
    let mut ends = ends.into_inner().expect("no thread panicked");
    ends.sort_by_key(|end| end.seed);
    assert_eq!(ends.len() as u64, seeds);
    let sum = |of: fn(&End) -> usize| ends.iter().map(of).sum::<usize>();
    let outside: Vec<_> = ends.iter().filter(|end| end.outside > 0).collect();
    println!(
        "{trouble:?}: {seeds} seeds from {first} on, {devices} devices each, {} visits, {} crashes of the server, {} offers outside \
         open waves",
        sum(|end| end.visits),
        sum(|end| end.crashes),
        sum(|end| end.outside),
    );
    assert!(outside.is_empty(), "{outside:?}");
    ends
}

/// The planted fault stops it in the second wave in every seed.
fn stops_in_the_second_wave(trouble: &Trouble, why: &str) {
    let ends = ends(trouble);
    for end in &ends {
        assert_eq!((end.state, end.opened), (RolloutState::Paused, 2), "{end:?}");
        assert!(end.why.contains("wave 2") && end.why.contains(why), "{end:?}");
        assert_eq!(end.touched[2], 0, "{end:?}");
    }
    let of = |part: fn(&End) -> f64| {
        let mut all: Vec<f64> = ends.iter().map(part).collect();
        all.sort_by(f64::total_cmp);
        format!("{:.1} (least {:.1}, most {:.1})", all[all.len() / 2], all[0], all[all.len() - 1])
    };
    println!(
        "stopped in wave 2 in {} of {} seeds; days from the start {}; devices touched of wave 1 {}, of wave 2 {}, of wave 3 {}",
        ends.len(),
        ends.len(),
        of(|end| end.micros as f64 / DAY as f64),
        of(|end| end.touched[0] as f64),
        of(|end| end.touched[1] as f64),
        of(|end| end.touched[2] as f64),
    );
}

#[test]
fn failures_stop_it_in_their_wave_in_every_seed() {
    let trouble = Trouble { fails: 0.06, wave: Some(1), limits: ("2%", "5%"), ..Trouble::default() };
    stops_in_the_second_wave(&trouble, "failed");
}

#[test]
fn silence_alone_stops_it_in_its_wave_in_every_seed() {
    let trouble = Trouble { dies: 0.06, wave: Some(1), limits: ("2%", "2%"), ..Trouble::default() };
    stops_in_the_second_wave(&trouble, "fell silent");
}

#[test]
fn what_is_usual_seldom_stops_it() {
    // Nothing stops it, and what would have is read from the worst moment of its waves.
    let trouble = Trouble { fails: 0.01, dies: 0.01, limits: ("100%", "100%"), ..Trouble::default() };
    let ends = ends(&trouble);
    assert!(ends.iter().all(|end| end.state == RolloutState::Finished && end.opened == 3), "{ends:?}");
    let stopped = |failed: f64, silent: f64| {
        ends.iter().filter(|end| end.worst[0] > failed || end.worst[1] > silent).count()
    };
    for (failed, silent) in
        [(2, 100), (3, 100), (4, 100), (5, 100), (100, 2), (100, 3), (100, 5), (2, 5), (3, 5)]
    {
        let would = stopped(f64::from(failed) / 100.0, f64::from(silent) / 100.0);
        println!("at most {failed}% failed and {silent}% silent: stopped in {would} of {} seeds", ends.len());
    }
    let mut failed: Vec<f64> = ends.iter().map(|end| end.worst[0]).collect();
    failed.sort_by(f64::total_cmp);
    println!(
        "largest share of a wave that had failed: {:.3} in the middle, {:.3} at most",
        failed[failed.len() / 2],
        failed[failed.len() - 1]
    );
    // Small fleets have small waves, in which few devices are many.
    assert!(stopped(0.1, 0.1) * 2 <= ends.len(), "{ends:?}");
}

#[test]
fn a_seed_says_everything() {
    let base = snapshot(&[("amd64", OLD as u32)]);
    let trouble = Trouble { fails: 0.06, wave: Some(1), limits: ("2%", "5%"), ..Trouble::default() };
    let ends =
        [7, 7, 8].map(|seed| format!("{:?}", run(&base, seed, 200, &trouble)).replace("seed: 8", "seed: 7"));
    assert_eq!(ends[0], ends[1]);
    assert_ne!(ends[0], ends[2]);
}
