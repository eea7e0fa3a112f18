//! Metrics for a monitoring system: Prometheus text on a separate port.
//!
//! ```text
//! request ──► Requests ┐
//! session ──► Words    ├─ atomics, made at the start ──► gather ──► GET /metrics
//! import  ──► Imports  ┘      catalog, pools, disk ────────┘
//! ```
//!
//! Recording takes no lock and allocates nothing. Every label has a fixed set of values: routes, methods, status
//! codes and words of this program, never the name of a device, a store or a snap.

mod count;
mod gather;
mod imports;
mod page;
mod process;
mod requests;
mod text;

pub(crate) use gather::Gatherer;
pub(crate) use imports::count_imports;
pub(crate) use page::router;

use self::count::Words;
use self::imports::Imports;
use self::requests::Requests;
use crate::sessions::CHECKS;

/// Background jobs, whose rounds are counted by result.
const JOBS: [&str; 5] = ["follow", "epochs", "sightings", "tls", "acme"];
/// A session was issued.
pub(crate) const BEGUN: &str = "begun";
/// No session, because there is no secret to sign it with.
pub(crate) const NO_SECRET: &str = "no-secret";
/// No session, because the database could not record it.
pub(crate) const UNAVAILABLE: &str = "unavailable";

/// All counters, since the server started.
pub(crate) struct Observed {
    /// Requests of the device API.
    pub(crate) requests: Requests,
    /// How requests for a session ended: [`BEGUN`], the check that failed, [`NO_SECRET`] or [`UNAVAILABLE`].
    pub(crate) sessions: Words,
    /// Imports.
    pub(crate) imports: Imports,
    jobs_done: Words,
    jobs_failed: Words,
}

impl Observed {
    /// All counters at zero.
    pub(crate) fn new() -> Self {
        let outcomes = [BEGUN, NO_SECRET, UNAVAILABLE].into_iter().chain(CHECKS);
        Self {
            requests: Requests::new(crate::http::routes::patterns()),
            sessions: Words::new(outcomes),
            imports: Imports::new(),
            jobs_done: Words::new(JOBS),
            jobs_failed: Words::new(JOBS),
        }
    }

    /// Counts the end of a background job's round.
    pub(crate) fn round(&self, job: &'static str, done: bool) {
        if done { &self.jobs_done } else { &self.jobs_failed }.count(job);
    }
}
