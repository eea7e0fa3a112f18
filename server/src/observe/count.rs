//! Counters and histograms that record without locks or allocations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Replaces every word that is not on a list.
pub(super) const OTHER: &str = "other";

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// So many counters.
pub(super) fn counters(count: usize) -> Box<[Counter]> {
    (0..count).map(|_| Counter::default()).collect()
}

/// One counter per word of a list, and one for all other words.
pub(crate) struct Words {
    words: Box<[&'static str]>,
    counts: Box<[Counter]>,
}

impl Words {
    pub(super) fn new(words: impl IntoIterator<Item = &'static str>) -> Self {
        let words: Box<[&'static str]> = words.into_iter().chain([OTHER]).collect();
        let counts = counters(words.len());
        Self { words, counts }
    }

    /// Counts a word.
    pub(crate) fn count(&self, word: &str) {
        let known = self.words.iter().position(|held| *held == word);
        self.counts[known.unwrap_or(self.words.len() - 1)].add(1);
    }

    /// Every word with its count.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.words.iter().zip(&self.counts).map(|(word, count)| (*word, count.get()))
    }
}

/// A histogram of durations.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [u64],
    /// Counts per bucket: at most its bound and more than the previous one; the last has no bound.
    counts: Box<[Counter]>,
    micros: Counter,
}

impl Histogram {
    /// A histogram with these bounds, in ascending microseconds.
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: counters(bounds.len() + 1), micros: Counter::default() }
    }

    pub(super) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[self.bounds.partition_point(|bound| *bound < micros)].add(1);
        self.micros.add(micros);
    }

    /// Bounds in seconds with cumulative counts; then the total count, and the sum in seconds.
    pub(super) fn read(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let mut below = 0;
        let steps = self.bounds.iter().zip(&self.counts).map(|(bound, count)| {
            below += count.get();
            (seconds(*bound), below)
        });
        let steps: Vec<_> = steps.collect();
        let over = self.counts.last().map_or(0, Counter::get);
        (steps, below + over, seconds(self.micros.get()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_step() {
        let histogram = Histogram::new(&[1000, 5000]);
        for micros in [0, 1000, 1001, 5000, 5001, 9_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let (steps, count, sum) = histogram.read();
        assert_eq!((steps, count), (vec![(0.001, 2), (0.005, 4)], 6));
        assert!((sum - 9.012_002).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn a_word_that_nobody_expects_makes_no_counter() {
        let words = Words::new(["one", "two"]);
        for word in ["two", "three", "\"\n", "two"] {
            words.count(word);
        }
        assert_eq!(words.all().collect::<Vec<_>>(), [("one", 0), ("two", 2), ("other", 2)]);
    }
}
