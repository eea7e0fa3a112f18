//! Mixed load for a long time, while servers and their database are killed: no wrong answer, no lost acknowledgement, no growth.
//!
//! Devices of two brands and devices of none ask; operators push, override, check, clean up and back up; and every so often
//! a server or PostgreSQL is ended and started again. [`History`] knows what was acknowledged when, hence what may be
//! answered. A failure is excused only while the server or the database was away; a wrong answer or a 4xx never is.
//! `tests/soak` runs it as long as one likes.

mod devices;
mod growth;
mod operators;
mod oracle;
mod site;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use self::growth::{DESCRIPTOR_SLACK, Life, MEMORY_GROWTH, MEMORY_SLACK, table};
pub use self::oracle::{History, SOON};
use self::site::{Machines, Over, Site};
use crate::attack::Chance;
use crate::world::{Brand, Snap, World};

/// The longest between two restarts of a server; PostgreSQL is restarted half as often.
const RESTART: Duration = Duration::from_secs(30);

/// On what the servers stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// One server on the embedded database.
    Sqlite,
    /// Two servers on one PostgreSQL and one folder of blobs.
    Postgres,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// On what the servers stand.
    pub engine: Engine,
    /// How long the load lasts.
    pub length: Duration,
    /// What chance begins with.
    pub seed: u64,
}

/// How much was done.
#[derive(Debug, Default)]
pub struct Counts {
    /// Answers that were right.
    pub answers: AtomicUsize,
    /// Failures while a server or the database was away.
    pub excused: AtomicUsize,
    /// Imports and overrides that were acknowledged.
    pub acknowledged: AtomicUsize,
    /// Other commands that succeeded.
    pub commands: AtomicUsize,
}

/// What came of a run in which all was right.
#[derive(Debug)]
pub struct Report {
    /// How much was done.
    pub counts: Counts,
    /// What each process held.
    pub lives: Vec<Life>,
    /// How often PostgreSQL was crashed.
    pub crashes: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} answers right, {} failures while something was away, {} changes acknowledged and kept, {} other \
             commands, {} restarts of a server, {} of PostgreSQL\n{}bounds after the warm-up: {MEMORY_GROWTH} % and \
             {MEMORY_SLACK} KiB more memory, {DESCRIPTOR_SLACK} descriptors more",
            count(&self.counts.answers),
            count(&self.counts.excused),
            count(&self.counts.acknowledged),
            count(&self.counts.commands),
            self.lives.iter().filter(|life| life.ended_by != "the end").count(),
            self.crashes,
            table(&self.lives)
        )
    }
}

/// A snap, who may see it, and what was done to it.
struct Line {
    snap: Snap,
    store: &'static str,
    history: History,
}

/// The signed documents of a run.
struct Cast {
    world: World,
    brands: [Brand; 2],
    /// One of each brand, then one that everybody without a brand sees, then one that is overridden.
    lines: [Line; 4],
}

impl Cast {
    fn new() -> Self {
        let world = World::new();
        let line = |name: &str, publisher: &str, store| Line {
            snap: world.snap(name).publisher(publisher).payload(150_000),
            store,
            history: History::default(),
        };
        let lines = [
            line("acme-soak", "acme", "AcmeStore"),
            line("bolt-soak", "bolt", "BoltStore"),
            line("common-soak", "dev", "ubuntu"),
            line("moved-soak", "dev", "ubuntu"),
        ];
        Self { brands: [world.brand("acme"), world.brand("bolt")], lines, world }
    }
}

/// Runs a plan.
///
/// # Errors
/// The first thing that was wrong, with the seed.
///
/// # Panics
/// When a program does not start.
pub fn run(plan: &Plan) -> Result<Report, String> {
    let told = |why: String| format!("{why}\n(engine {:?}, seed {})", plan.engine, plan.seed);
    let cast = Cast::new();
    let counts = Counts::default();
    let (site, mut machines) = Site::start(plan, &cast.world);
    operators::prepare(&cast, &site)?;
    devices::until_known(&cast, &site);
    let begun = Instant::now();
    let mut crashes = 0;
    std::thread::scope(|scope| {
        let _over = Over(&site);
        let (site, cast, counts) = (&site, &cast, &counts);
        for who in 0..6 {
            let chance = Chance::new(plan.seed ^ (who as u64 + 1));
            scope.spawn(move || {
                let _over = Over(site);
                devices::live(cast, site, counts, who, chance);
            });
        }
        let seed = plan.seed;
        scope.spawn(move || {
            let _over = Over(site);
            operators::push(cast, site, counts, Chance::new(seed ^ 0x100));
        });
        scope.spawn(move || {
            let _over = Over(site);
            operators::tend(cast, site, counts, Chance::new(seed ^ 0x200));
        });
        crashes = disturb(plan, site, &mut machines, begun);
    });
    if let Some(why) = site.failure() {
        return Err(told(format!("{why}\n{}", machines.last_words())));
    }
    if begun.elapsed() < plan.length {
        return Err(told("the run ended before its time".to_owned()));
    }
    devices::last_look(&cast, &site, &counts).map_err(told)?;
    let lives = machines.finish().map_err(told)?;
    Ok(Report { counts, lives, crashes })
}

/// Ends and starts servers and the database until the time is over; how often the database.
fn disturb(plan: &Plan, site: &Site, machines: &mut Machines, begun: Instant) -> usize {
    let mut chance = Chance::new(plan.seed);
    let apart = RESTART.min(plan.length / 6);
    let (mut next, mut crashes, mut turn) = (begun + apart, 0, 0);
    while !site.is_over() && begun.elapsed() < plan.length {
        site.pause(Duration::from_millis(500));
        machines.sample();
        if let Err(why) = machines.no_panic() {
            site.fail(why);
        }
        if Instant::now() < next || site.is_over() {
            continue;
        }
        turn += 1;
        let server = machines.next(&mut chance);
        machines.restart(site, server, chance.below(2) == 0);
        if turn % 2 == 0 && machines.restart_database(site) {
            crashes += 1;
        }
        next = Instant::now() + apart;
    }
    crashes
}
