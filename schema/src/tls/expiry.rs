//! How long a certificate still lasts (hazards I3).

use time::OffsetDateTime;

use super::Pair;

/// How near the end is.
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

/// How long a certificate still lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// Whole days left; negative once it is over.
    pub days: i64,
    /// How near the end is.
    pub level: Level,
}

impl Expiry {
    /// How long something still lasts that ends at `not_after`.
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

/// How long the pair still lasts: the first end in its chain counts.
#[must_use]
pub fn expiry(pair: &Pair, now: OffsetDateTime) -> Expiry {
    Expiry::of(pair.not_after(), now)
}
