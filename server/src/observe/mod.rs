//! Metrics for a monitoring system: Prometheus text on a separate port.
//!
//! ```text
//! request ──► Requests ┐
//! session ──► Words    ├─ atomics, made at the start ──► gather ──► GET /metrics
//! import  ──► Imports  │
//! delta   ──► Deltas   ┘      catalog, pools, disk ────────┘
//! ```
//!
//! Recording takes no lock and allocates nothing. Every label has a fixed set of values: routes, methods, status
//! codes and words of this program, never the name of a device, a store or a snap.

mod count;
mod deltas;
mod imports;
mod requests;
pub(crate) mod text;

pub(crate) use imports::count_imports;

use self::count::Words;
use self::deltas::Deltas;
use self::imports::Imports;
use self::requests::Requests;
use self::text::Text;
use crate::sessions::Check;

/// A session that was given out.
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
    /// Deltas for devices.
    pub(crate) deltas: Deltas,
}

impl Observed {
    /// Nothing counted yet, of a device API with these path patterns.
    pub(crate) fn new(patterns: Vec<&'static str>) -> Self {
        let outcomes =
            [BEGUN, NO_SECRET, UNAVAILABLE].into_iter().chain(Check::ALL.iter().map(|check| check.name()));
        Self {
            requests: Requests::new(patterns),
            sessions: Words::new(outcomes),
            imports: Imports::new(),
            deltas: Deltas::new(),
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
        self.imports.write(text);
        self.deltas.write(text);
    }
}
