//! Guesses of API keys: after some wrong ones nothing more is compared until a minute is over.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many wrong keys are told apart from right ones within [`SPAN`].
const MOST: u32 = 100;
/// As long as a device waits before it asks again after a 503.
const SPAN: Duration = Duration::from_secs(60);

/// Wrong keys since some moment.
#[derive(Default)]
pub(super) struct Guesses(Mutex<Option<(Instant, u32)>>);

impl Guesses {
    /// Whether a key may be compared at this moment.
    pub(super) fn are_few(&self, now: Instant) -> bool {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.is_none_or(|(since, count)| count < MOST || now.duration_since(since) >= SPAN)
    }

    /// Counts a wrong key.
    pub(super) fn count(&self, now: Instant) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *counted {
            Some((since, count)) if now.duration_since(*since) < SPAN => *count = count.saturating_add(1),
            other => *other = Some((now, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_wrong_keys_a_minute_are_compared() {
        let (guesses, begun) = (Guesses::default(), Instant::now());
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        for guess in 0..100 {
            assert!(guesses.are_few(at(guess / 2)), "{guess}");
            guesses.count(at(guess / 2));
        }
        assert!(!guesses.are_few(at(50)) && !guesses.are_few(at(59)));
        assert!(guesses.are_few(at(60)), "a minute later");
        guesses.count(at(60));
        assert!(guesses.are_few(at(60)), "counted anew");
    }
}
