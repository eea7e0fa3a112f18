//! What the operator's commands decide: from the catalog of the moment and a wish, one `Change` and the report of it.
//!
//! Nothing here knows of HTTP, waits, or looks at a clock: the time comes in.

pub(crate) mod back;
mod described;
pub(crate) mod devices;
pub(crate) mod forecast;
pub(crate) mod gates;
pub(crate) mod groups;
pub(crate) mod history;
mod lint;
pub(crate) mod moves;
pub(crate) mod overrides;
pub(crate) mod rollouts;
mod sides;
pub(crate) mod standing;
#[cfg(test)]
mod tests;
pub(crate) mod trains;
pub(crate) mod upkeep;

use time::OffsetDateTime;

/// Who wants something, and when.
#[derive(Debug, Clone)]
pub(crate) struct By {
    /// The operator, for the record.
    pub(crate) who: String,
    /// The moment of the wish.
    pub(crate) now: OffsetDateTime,
}

impl By {
    /// The moment as rows have it, in microseconds since 1970.
    pub(crate) fn micros(&self) -> i64 {
        micros(self.now)
    }
}

/// A moment as rows have it, in microseconds since 1970.
fn micros(moment: OffsetDateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}
