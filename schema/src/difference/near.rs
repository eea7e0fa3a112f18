//! What is new, told by what is near it in the old image: programs that were built again differ in addresses all over, and in
//! little else. Where some bytes are the same, the bytes around them are compared one by one as long as most are, and what travels is how they
//! differ: nearly always by nothing. Names and places of files play no part, so that a file which moved is found as well.

use super::DifferenceError;
use super::parallel::in_parallel;
use super::recipe::{put, take};

/// How many bytes have to be the same to begin with.
const SAME: usize = 24;
/// How many of them are hashed.
const HASHED: usize = 16;
/// Which places of the old bytes are remembered: every eighth, so that a run of [`SAME`] is never missed.
const STEP: usize = 8;
/// How many more bytes may differ than be the same before the comparison ends.
const SLACK: i64 = 32;
/// More runs than any image needs.
const MOST: usize = 1 << 22;
/// What one thread looks at.
const SHARE: usize = 8 << 20;

/// Bytes that are like none, then bytes that are near old ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) plain: usize,
    pub(super) near: usize,
    /// Where the old ones begin.
    pub(super) from: usize,
}

/// Old bytes by what is there.
struct Places<'a> {
    old: &'a [u8],
    table: Vec<u32>,
    bits: u32,
}

impl<'a> Places<'a> {
    fn of(old: &'a [u8]) -> Self {
        let bits = (old.len() / STEP).max(2).next_power_of_two().ilog2();
        let mut table = vec![u32::MAX; 1 << bits];
        for at in (0..(old.len() + 1).saturating_sub(HASHED)).step_by(STEP) {
            let place = &mut table[hash(&old[at..], bits)];
            if *place == u32::MAX {
                *place = u32::try_from(at).unwrap_or(u32::MAX);
            }
        }
        Self { old, table, bits }
    }

    /// Where the old bytes begin as these do.
    fn find(&self, new: &[u8]) -> Option<usize> {
        let place = usize::try_from(self.table[hash(new, self.bits)]).ok();
        place.filter(|at| self.old.get(*at..at + SAME).is_some_and(|old| new.starts_with(old)))
    }
}

fn hash(bytes: &[u8], bits: u32) -> usize {
    let word = |at: usize| bytes[at..at + 8].iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    let mixed = word(0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ word(8).rotate_left(23).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    usize::try_from(mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> (64 - bits)).unwrap_or_default()
}

/// How far two sequences are near each other.
fn near<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    let (mut score, mut best, mut length) = (0_i64, 0_i64, 0);
    for (count, (one, other)) in (1..).zip(pairs) {
        score += if one == other { 1 } else { -1 };
        if score > best {
            (best, length) = (score, count);
        } else if score < best - SLACK {
            break;
        }
    }
    length
}

/// Tells the new bytes by the old ones, on all processors.
pub(super) fn runs(old: &[u8], new: &[u8]) -> Vec<Run> {
    let places = Places::of(old);
    let shares: Vec<&[u8]> = new.chunks(SHARE).collect();
    in_parallel(&shares, |share| runs_of(&places, share)).concat()
}

fn runs_of(places: &Places<'_>, new: &[u8]) -> Vec<Run> {
    let old = places.old;
    let mut runs = Vec::new();
    // What is told, what is looked at, and how the last run was aligned.
    let (mut told, mut at, mut last) = (0, 0, None::<(usize, usize)>);
    while at + SAME <= new.len() {
        let aligned = last.and_then(|(new_at, old_at)| Some(old_at + (at.checked_sub(new_at)?)));
        let goes_on =
            |from: &usize| old.get(*from..from + HASHED).is_some_and(|old| new[at..].starts_with(old));
        let Some(from) = aligned.filter(goes_on).or_else(|| places.find(&new[at..])) else {
            at += 1;
            continue;
        };
        let back = near(new[told..at].iter().rev().zip(old[..from].iter().rev()));
        let length = back + near(new[at..].iter().zip(&old[from..]));
        let (begin, from) = (at - back, from - back);
        runs.push(Run { plain: begin - told, near: length, from });
        last = Some((begin, from));
        told = begin + length;
        at = told;
    }
    if told < new.len() {
        runs.push(Run { plain: new.len() - told, near: 0, from: 0 });
    }
    runs
}

/// The runs as numbers.
pub(super) fn encode(runs: &[Run]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, runs.len() as u64);
    let mut end = 0;
    for run in runs {
        put(&mut out, run.plain as u64);
        put(&mut out, run.near as u64);
        // Most runs go on a little further.
        put(
            &mut out,
            if run.from < end { ((end - run.from) as u64) << 1 | 1 } else { ((run.from - end) as u64) << 1 },
        );
        end = run.from + run.near;
    }
    out
}

/// The runs from their numbers, all of them within so many old bytes.
pub(super) fn decode(mut bytes: &[u8], old: usize) -> Result<Vec<Run>, DifferenceError> {
    let (damaged, most) = (|| DifferenceError::Damaged, bytes.len() / 3);
    let mut next =
        || -> Result<usize, DifferenceError> { usize::try_from(take(&mut bytes)?).map_err(|_| damaged()) };
    // Each takes three bytes at least, and no image needs more.
    let count = next()?;
    if count > MOST.min(most) {
        return Err(damaged());
    }
    let mut runs = Vec::new();
    let mut end = 0_usize;
    for _ in 0..count {
        let (plain, near, moved) = (next()?, next()?, next()?);
        let from = if moved & 1 == 1 { end.checked_sub(moved >> 1) } else { end.checked_add(moved >> 1) };
        let from = from.ok_or_else(damaged)?;
        end = from.checked_add(near).filter(|end| *end <= old).ok_or_else(damaged)?;
        runs.push(Run { plain, near, from });
    }
    if bytes.is_empty() { Ok(runs) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that repeat nothing.
    fn noise(count: usize, mut seed: u64) -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        (0..count).map(|_| next()).collect()
    }

    fn told(old: &[u8], runs: &[Run], new: &[u8]) -> (usize, usize) {
        let (mut at, mut plain, mut differing) = (0, 0, 0);
        for run in runs {
            at += run.plain;
            plain += run.plain;
            let pairs = new[at..at + run.near].iter().zip(&old[run.from..run.from + run.near]);
            differing += pairs.filter(|(one, other)| one != other).count();
            at += run.near;
        }
        assert_eq!(at, new.len());
        (plain, differing)
    }

    #[test]
    fn a_program_that_was_built_again_is_near_the_old_one() {
        let old = noise(200_000, 1);
        // Addresses differ all over, something is in between, and the halves have changed places.
        let mut new = [&old[100_000..], &noise(5_000, 2)[..], &old[..100_000]].concat();
        for at in (0..new.len()).step_by(40) {
            new[at] ^= 0x55;
        }
        let runs = runs(&old, &new);
        let (plain, differing) = told(&old, &runs, &new);
        assert!((4_900..5_200).contains(&plain), "{plain}");
        assert!((4_500..5_500).contains(&differing), "{differing}");
        assert!(runs.len() < 10, "{}", runs.len());
        let bytes = encode(&runs);
        assert_eq!(decode(&bytes, old.len()).expect("runs"), runs);
        assert!(decode(&bytes, old.len() / 2).is_err(), "beyond the old bytes");
        for at in 0..bytes.len() {
            assert!(decode(&bytes[..at], old.len()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn nothing_is_near_what_is_short_or_other() {
        for (old, new) in [(0, 0), (0, 100), (100, 0), (10, 10), (5_000, 5_000)] {
            let (old, new) = (noise(old, 3), noise(new, 4));
            let (plain, _) = told(&old, &runs(&old, &new), &new);
            assert_eq!(plain, new.len());
        }
    }
}
