//! The servers and their database, what is done to them, and when that excuses a failure.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::growth::{Held, Life};
use super::{Engine, Plan};
use crate::attack::Chance;
use crate::postgres::Cluster;
use crate::server::{Server, Setup};
use crate::world::World;

/// After a database is back, servers have so long to find it again.
const RECOVERY: Duration = Duration::from_secs(3);

/// So many lines of each log are shown when something is wrong.
const LAST_WORDS: usize = 40;

/// Where a server is, and how it has been.
#[derive(Debug, Clone)]
struct Place {
    address: SocketAddr,
    url: String,
    data_dir: PathBuf,
    troubled: Trouble,
}

/// When something was last taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Now,
    Until(Instant),
}

impl Trouble {
    fn excuses(self, begun: Instant) -> bool {
        match self {
            Self::Now => true,
            Self::Until(over) => begun <= over,
        }
    }
}

struct State {
    places: Vec<Place>,
    database: Trouble,
    failure: Option<String>,
    over: bool,
}

/// The servers as everybody sees them.
pub(super) struct Site {
    state: Mutex<State>,
    ended: Condvar,
    _blobs: TempDir,
}

/// The servers as who starts and ends them holds them.
pub(super) struct Machines {
    running: Vec<Running>,
    cluster: Option<Cluster>,
    lives: Vec<Life>,
    warm_up: Duration,
}

struct Running {
    server: Option<Server>,
    since: Instant,
    warm: Held,
    warmed: bool,
    last: Held,
}

impl Running {
    fn new(server: Server) -> Self {
        Self {
            server: Some(server),
            since: Instant::now(),
            warm: Held::default(),
            warmed: false,
            last: Held::default(),
        }
    }
}

/// Ends the run, also when a check panics.
pub(super) struct Over<'a>(pub(super) &'a Site);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Site {
    /// Starts the servers of a plan, which trust a world.
    ///
    /// # Panics
    /// When they do not come up.
    #[must_use]
    pub(super) fn start(plan: &Plan, world: &World) -> (Self, Machines) {
        let blobs = TempDir::new().expect("there is room for temporary files");
        let (servers, cluster): (Vec<Server>, _) = match plan.engine {
            Engine::Sqlite => (vec![Server::start()], None),
            Engine::Postgres => {
                let cluster = Cluster::start().unwrap_or_else(|error| panic!("{error:#}"));
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let database = runtime.expect("a runtime").block_on(cluster.database()).expect("a database");
                let path = blobs.path().to_str().expect("a path of text");
                let setup = Setup::default()
                    .config("proxy.db.connection", &database)
                    .config("proxy.storage.path", path);
                (vec![setup.clone().start(), setup.start()], Some(cluster))
            }
        };
        for server in &servers {
            server.trust(world);
        }
        let now = Instant::now();
        let place = |server: &Server| Place {
            address: server.address,
            url: server.url.clone(),
            data_dir: server.data_dir.clone(),
            troubled: Trouble::Until(now),
        };
        let places = servers.iter().map(place).collect();
        let state = State { places, database: Trouble::Until(now), failure: None, over: false };
        let running = servers.into_iter().map(Running::new).collect();
        let warm_up = (plan.length / 6).min(Duration::from_secs(20));
        let site = Self { state: Mutex::new(state), ended: Condvar::new(), _blobs: blobs };
        (site, Machines { running, cluster, lives: Vec::new(), warm_up })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many servers there are.
    #[must_use]
    pub(super) fn servers(&self) -> usize {
        self.state().places.len()
    }

    /// Where a server is: its address, and the base of its links.
    #[must_use]
    pub(super) fn place(&self, server: usize) -> (SocketAddr, String) {
        let place = &self.state().places[server];
        (place.address, place.url.clone())
    }

    /// The data directory of a server.
    #[must_use]
    pub(super) fn data_dir(&self, server: usize) -> PathBuf {
        self.state().places[server].data_dir.clone()
    }

    /// May what was begun then at a server have failed by now, for the server or its database was away?
    #[must_use]
    pub(super) fn excuses(&self, server: usize, begun: Instant) -> bool {
        self.state().places[server].troubled.excuses(begun) || !self.calm(begun)
    }

    /// Was the database there from then on, and some time before?
    #[must_use]
    pub(super) fn calm(&self, begun: Instant) -> bool {
        !self.state().database.excuses(begun)
    }

    /// Is the run over?
    #[must_use]
    pub(super) fn is_over(&self) -> bool {
        self.state().over
    }

    /// Ends the run.
    pub(super) fn end(&self) {
        self.state().over = true;
        self.ended.notify_all();
    }

    /// Ends the run with what went wrong; only the first counts.
    pub(super) fn fail(&self, why: String) {
        let mut state = self.state();
        state.over = true;
        let _ = state.failure.get_or_insert(why);
        self.ended.notify_all();
    }

    /// What went wrong.
    #[must_use]
    pub(super) fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    /// Waits for a time, or until the run is over.
    pub(super) fn pause(&self, time: Duration) {
        let _ = self.ended.wait_timeout_while(self.state(), time, |state| !state.over);
    }
}

impl Machines {
    /// Looks what every server holds.
    pub(super) fn sample(&mut self) {
        for running in &mut self.running {
            let held = running.server.as_ref().and_then(|server| Held::by(server.pid()));
            running.last = held.unwrap_or(running.last);
            if running.since.elapsed() < self.warm_up {
                running.warm = running.warm.or_more(running.last);
            } else {
                running.warmed = true;
            }
        }
    }

    fn bury(&mut self, server: usize, ended_by: &'static str) {
        self.sample();
        let running = &self.running[server];
        self.lives.push(Life {
            server,
            seconds: running.since.elapsed().as_secs(),
            warm: running.warmed.then_some(running.warm),
            end: running.last,
            ended_by,
        });
    }

    /// Ends a server, with or without a warning, and starts it again.
    ///
    /// # Panics
    /// When it does not come up again.
    pub(super) fn restart(&mut self, site: &Site, server: usize, gently: bool) {
        self.bury(server, if gently { "SIGTERM" } else { "kill -9" });
        site.state().places[server].troubled = Trouble::Now;
        let Some(running) = self.running[server].server.take() else { return };
        let stopped = if gently { running.stop() } else { running.kill() };
        let again = stopped.start();
        let mut state = site.state();
        let place = &mut state.places[server];
        place.address = again.address;
        place.url.clone_from(&again.url);
        place.troubled = Trouble::Until(Instant::now());
        drop(state);
        self.running[server] = Running::new(again);
    }

    /// Crashes PostgreSQL and starts it again; nothing on the embedded database.
    ///
    /// # Panics
    /// When it does not come up again.
    pub(super) fn restart_database(&mut self, site: &Site) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        site.state().database = Trouble::Now;
        cluster.stop().unwrap_or_else(|error| panic!("{error:#}"));
        cluster.resume().unwrap_or_else(|error| panic!("{error:#}"));
        site.state().database = Trouble::Until(Instant::now() + RECOVERY);
        true
    }

    /// Which server is next to be restarted: mostly the first, so that the last one grows old.
    pub(super) fn next(&self, chance: &mut Chance) -> usize {
        if chance.below(8) == 0 { self.running.len() - 1 } else { 0 }
    }

    /// Ends the run: what every process held, and what it logged that it must not.
    ///
    /// # Errors
    /// Growth beyond the bounds, or a panic in a log.
    pub(super) fn finish(mut self) -> Result<Vec<Life>, String> {
        for server in 0..self.running.len() {
            self.bury(server, "the end");
        }
        for server in self.running.iter().filter_map(|running| running.server.as_ref()) {
            no_panic(&server.data_dir, &server.log())?;
        }
        match self.lives.iter().find_map(Life::complaint) {
            Some(complaint) => Err(format!("{complaint}\n{}", super::growth::table(&self.lives))),
            None => Ok(self.lives),
        }
    }

    /// The end of what each server logged.
    pub(super) fn last_words(&self) -> String {
        let mut words = String::new();
        for (number, running) in self.running.iter().enumerate() {
            let log = running.server.as_ref().map(Server::log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("session begins")).collect();
            let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
            words.push_str(&format!("--- server {number}:\n{last}\n"));
        }
        words
    }

    /// Looks for a panic in what the servers logged so far.
    ///
    /// # Errors
    /// The line of the panic.
    pub(super) fn no_panic(&self) -> Result<(), String> {
        let mut servers = self.running.iter().filter_map(|running| running.server.as_ref());
        servers.try_for_each(|server| no_panic(&server.data_dir, &server.log()))
    }
}

fn no_panic(data_dir: &Path, log: &str) -> Result<(), String> {
    match log.lines().find(|line| line.contains("panicked")) {
        Some(line) => Err(format!("a panic in the log of {}: {line}", data_dir.display())),
        None => Ok(()),
    }
}
