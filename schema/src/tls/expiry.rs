//! How long a certificate remains valid, and when that is worth a word.

use std::fmt;

use time::{Duration, OffsetDateTime};

use super::Pair;

/// No warning is given earlier than this, however long the life.
const EARLIEST: Duration = Duration::days(90);
/// A certificate that lives long enough is urgent for its last week.
const LAST: Duration = Duration::days(7);

/// How close the expiry is, by the certificate's own life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// More than a third of its life is left, or more than 90 days.
    Fine,
    /// In the last third.
    Soon,
    /// In the last week, or in the last sixth of a life that is shorter than six weeks.
    Urgent,
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
    left: Duration,
}

impl Expiry {
    /// What is left at `now` of a life from `not_before` to `not_after`.
    #[must_use]
    pub fn of(not_before: OffsetDateTime, not_after: OffsetDateTime, now: OffsetDateTime) -> Self {
        let (life, left) = (not_after - not_before, not_after - now);
        let level = match left {
            left if left < Duration::ZERO => Level::Expired,
            left if left < LAST.min(life / 6) => Level::Urgent,
            left if left < EARLIEST.min(life / 3) => Level::Soon,
            _ => Level::Fine,
        };
        Self { days: left.whole_seconds().div_euclid(86_400), level, left }
    }
}

/// `in 9 days`, `in 1 day`, `in 5 hours`, `within the hour`
impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.days, self.left.whole_hours()) {
            (days, _) if days > 1 => write!(f, "in {days} days"),
            (1, _) => f.write_str("in 1 day"),
            (_, hours) if hours > 1 => write!(f, "in {hours} hours"),
            _ => f.write_str("within two hours"),
        }
    }
}

/// The remaining validity of a pair; the earliest expiry in its chain counts.
#[must_use]
pub fn expiry(pair: &Pair, now: OffsetDateTime) -> Expiry {
    Expiry::of(pair.begun(), pair.not_after(), now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_with_the_last_third_and_is_urgent_in_the_last_week() {
        let start = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        for (life, left, level, text) in [
            (90, 31, Level::Fine, "in 31 days"),
            (90, 29, Level::Soon, "in 29 days"),
            (90, 7, Level::Soon, "in 7 days"),
            (90, 6, Level::Urgent, "in 6 days"),
            (397, 100, Level::Fine, "in 100 days"),
            (397, 89, Level::Soon, "in 89 days"),
            (3650, 91, Level::Fine, "in 91 days"),
            (6, 3, Level::Fine, "in 3 days"),
            (6, 1, Level::Soon, "in 1 day"),
            (6, 0, Level::Urgent, "within two hours"),
        ] {
            let (end, minute) = (start + Duration::days(life), Duration::minutes(1));
            let told = Expiry::of(start, end, end - Duration::days(left) - minute);
            assert_eq!((told.level, &*told.to_string()), (level, text), "{life} {left}");
        }
        let day = start + Duration::days(1);
        assert_eq!(Expiry::of(start, day, start + Duration::hours(17)).to_string(), "in 7 hours");
        assert_eq!(Expiry::of(start, day, start + Duration::hours(17)).level, Level::Soon);
        let over = Expiry::of(start, day, day + Duration::seconds(1));
        assert_eq!((over.days, over.level), (-1, Level::Expired));
    }
}
