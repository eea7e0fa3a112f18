//! Shared by all attacks: repeatable randomness, waiting with a reason, and sizes.
//!
//! `AIRLOCK_ATTACK=long tests/run attack` runs each at the hazard's full size; otherwise they fit into an ordinary
//! test run.

use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Numbers by chance, the same for the same seed (splitmix64).
pub struct Chance(u64);

impl Chance {
    /// Begins a series.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % (bound.max(1) as u64)).unwrap_or_default()
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// Whether attacks run at full size.
#[must_use]
pub fn long() -> bool {
    std::env::var("AIRLOCK_ATTACK").is_ok_and(|size| size == "long")
}

/// How often: in an ordinary run, or at full size.
#[must_use]
pub fn size(ordinary: usize, full: usize) -> usize {
    if long() { full } else { ordinary }
}

/// Waits until a condition holds.
///
/// # Panics
/// If it does not hold in time.
pub fn until(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < within, "waited {within:?} until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    begun.elapsed()
}

/// The value that so many in a hundred of the measured ones stay below.
///
/// # Panics
/// When nothing was measured.
#[must_use]
pub fn percentile(times: &mut [Duration], hundredths: usize) -> Duration {
    times.sort_unstable();
    let place = (times.len() * hundredths / 100).min(times.len().saturating_sub(1));
    *times.get(place).expect("something was measured")
}

/// Lets this process open as many descriptors as the system allows.
///
/// # Panics
/// When that is too few for `wanted` connections.
pub fn open_many(wanted: usize) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("what is allowed");
    assert!(most > wanted as u64 + 200, "{wanted} connections need more than the {most} descriptors allowed");
}
