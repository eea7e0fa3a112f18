//! The only place that reads the wall clock.
//!
//! Durations are never measured with it: it may jump by years in either direction (no time server on site).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

use crate::failpoint;

/// Time since 1970; earlier times count as 1970.
fn since_1970() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match failpoint::asked("AIRLOCK_CLOCK_STEP") {
        Some(step) => stepped(now, &step),
        None => now,
    }
}

/// Tests shift the clock with `AIRLOCK_CLOCK_STEP`, in seconds; `@FILE` names a file with the value, which may change
/// at any time.
fn stepped(now: Duration, step: &str) -> Duration {
    let text = match step.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).unwrap_or_default(),
        None => step.to_owned(),
    };
    let step: i64 = text.trim().parse().unwrap_or_default();
    let by = Duration::from_secs(step.unsigned_abs());
    if step < 0 { now.saturating_sub(by) } else { now + by }
}

/// Whole seconds since 1970.
pub(crate) fn seconds() -> u64 {
    since_1970().as_secs()
}

/// Microseconds since 1970, the database's unit of time.
pub(crate) fn micros() -> i64 {
    i64::try_from(since_1970().as_micros()).unwrap_or(i64::MAX)
}

/// The current time, for assertions.
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + since_1970()
}
