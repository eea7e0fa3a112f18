//! How long a certificate remains valid.

use time::OffsetDateTime;

use super::Pair;

/// How close the expiry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// More than 90 days.
    Fine,
    /// At most 90 days.
    Days90,
    /// At most 30 days.
    Days30,
    /// At most 7 days.
    Days7,
    /// Over.
    Expired,
}

/// How long a certificate remains valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// Whole days left; negative after expiry.
    pub days: i64,
    /// How close the expiry is.
    pub level: Level,
}

impl Expiry {
    /// The remaining time until `not_after`.
    #[must_use]
    pub fn of(not_after: OffsetDateTime, now: OffsetDateTime) -> Self {
        let days = (not_after - now).whole_seconds().div_euclid(86_400);
        let level = match days {
            ..0 => Level::Expired,
            0..7 => Level::Days7,
            7..30 => Level::Days30,
            30..90 => Level::Days90,
            _ => Level::Fine,
        };
        Self { days, level }
    }
}

/// The remaining validity of a pair; the earliest expiry in its chain counts.
#[must_use]
pub fn expiry(pair: &Pair, now: OffsetDateTime) -> Expiry {
    Expiry::of(pair.not_after(), now)
}
