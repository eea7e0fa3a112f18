//! Metrics for a monitoring system: Prometheus text on a separate port.
//!
//! ```text
//! request ──► Requests ┐
//! session ──► Words    ├─ atomics, made at the start ──► gather ──► GET /metrics
//! import  ──► Imports  │
//! delta   ──► Deltas   ┤      catalog, pools, disk ────────┘
//!                      └─ Steps ──► the database: what each hour and day added
//! ```
//!
//! Recording takes no lock and allocates nothing. Every label has a fixed set of values: routes, methods, status
//! codes and words of this program, never the name of a device, a store or a snap.

mod count;
pub(crate) mod deltas;
mod imports;
mod requests;
mod steps;
pub(crate) mod text;

pub(crate) use imports::count_imports;

use self::count::Words;
use self::deltas::Deltas;
use self::imports::Imports;
use self::requests::Requests;
use self::steps::Steps;
use self::text::Text;
use crate::sessions::Check;

/// A session that was given out.
pub(crate) const BEGUN: &str = "begun";
/// No session, because there is no secret to sign it with.
pub(crate) const NO_SECRET: &str = "no-secret";
/// No session, because the database could not record it.
pub(crate) const UNAVAILABLE: &str = "unavailable";

/// A serial that was given out, or given again.
pub(crate) const GIVEN: &str = "given";
/// No serial yet.
pub(crate) const WAITING: &str = "waiting";

/// All counters, since the server started.
pub(crate) struct Observed {
    /// Requests of the device API.
    pub(crate) requests: Requests,
    /// How requests for a session ended: [`BEGUN`], the check that failed, [`NO_SECRET`] or [`UNAVAILABLE`].
    pub(crate) sessions: Words,
    /// How requests for a serial ended: [`GIVEN`], [`WAITING`], the check that failed, or [`UNAVAILABLE`].
    pub(crate) registrations: Words,
    /// Imports.
    pub(crate) imports: Imports,
    /// Deltas for devices.
    pub(crate) deltas: Deltas,
    steps: Steps,
}

impl Observed {
    /// Nothing counted yet, of a device API with these path patterns, and of registrations with these checks.
    pub(crate) fn new(patterns: Vec<&'static str>, registering: impl Iterator<Item = &'static str>) -> Self {
        let outcomes =
            [BEGUN, NO_SECRET, UNAVAILABLE].into_iter().chain(Check::ALL.iter().map(|check| check.name()));
        Self {
            requests: Requests::new(patterns),
            sessions: Words::new(outcomes),
            registrations: Words::new([GIVEN, WAITING, UNAVAILABLE].into_iter().chain(registering)),
            imports: Imports::new(),
            deltas: Deltas::new(),
            steps: Steps::default(),
        }
    }

    /// Writes all of it.
    pub(crate) fn write(&self, text: &mut Text) {
        self.requests.write(text);
        text.counter(
            "airlock_sessions_total",
            "Requests for a device session, by the check that failed; `begun` where none did.",
        );
        for (outcome, count) in self.sessions.all() {
            text.sample(&[("outcome", outcome)], count);
        }
        text.counter(
            "airlock_registrations_total",
            "Requests for a serial, by the check that failed; `given` where none did, `waiting` for an approval.",
        );
        for (outcome, count) in self.registrations.all() {
            text.sample(&[("outcome", outcome)], count);
        }
        self.imports.write(text);
        self.deltas.write(text);
    }
}
