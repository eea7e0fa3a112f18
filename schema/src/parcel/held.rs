//! The set of what a site holds, in about four bytes for each thing.
//!
//! Files, assertions and entries of channel maps are named by a SHA3-384. Each name is hashed to a number below
//! `count × 2³⁰`; the sorted numbers are written as differences in Rice code: the upper part in unary, then 30 bits. A
//! thing that is not held passes for one that is with a chance of 2⁻³⁰; the hash depends on the receipt, so that the
//! next receipt tells them apart.

use crate::digest::Sha3_384;

/// Bits of a difference that are written as they are.
const BITS: u32 = 30;
/// More things than any site holds.
const MOST: u64 = 1 << 26;

/// A set of names, as numbers that depend on a salt.
#[derive(Clone, PartialEq, Eq)]
pub struct HeldSet {
    salt: Sha3_384,
    numbers: Vec<u64>,
    /// How many names there were, which the numbers depend on.
    count: u64,
}

/// The name of an entry of a channel map.
#[must_use]
pub fn release_id(snap_id: &str, channel: &str, architecture: &str, revision: u32) -> Sha3_384 {
    let revision = revision.to_string();
    let parts = ["release", snap_id, channel, architecture, &revision].map(str::as_bytes);
    Sha3_384::of_parts(parts)
}

impl HeldSet {
    /// The set of these names.
    #[must_use]
    pub fn new(salt: Sha3_384, names: &[Sha3_384]) -> Self {
        let count = names.len() as u64;
        let mut numbers: Vec<u64> = names.iter().map(|name| number(&salt, name, count)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Self { salt, numbers, count }
    }

    /// Whether it has this name; wrong about one in 2³⁰ that it does not have.
    #[must_use]
    pub fn has(&self, name: &Sha3_384) -> bool {
        self.count > 0 && self.numbers.binary_search(&number(&self.salt, name, self.count)).is_ok()
    }

    /// How many names were put in.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The numbers in Rice code.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bits = BitWriter::default();
        let mut before = 0;
        for number in &self.numbers {
            let gap = number - before;
            (0..gap >> BITS).for_each(|_| bits.push(true));
            bits.push(false);
            (0..BITS).rev().for_each(|bit| bits.push(gap >> bit & 1 == 1));
            before = *number;
        }
        bits.bytes
    }

    /// Reads what [`HeldSet::encode`] wrote: `length` numbers of `count` names.
    #[must_use]
    pub fn decode(salt: Sha3_384, count: u64, length: u64, bytes: &[u8]) -> Option<Self> {
        // Each number takes 31 bits at least: a false length asks for no memory.
        if count > MOST || length > count || length * u64::from(BITS + 1) > bytes.len() as u64 * 8 {
            return None;
        }
        let mut bits = BitReader { bytes, at: 0 };
        let mut numbers = Vec::new();
        let mut before = 0_u64;
        for _ in 0..length {
            let mut gap = 0_u64;
            while bits.next()? {
                gap += 1;
            }
            for _ in 0..BITS {
                gap = gap.checked_mul(2)? + u64::from(bits.next()?);
            }
            before = before.checked_add(gap)?;
            numbers.push(before);
        }
        Some(Self { salt, numbers, count })
    }

    /// How many numbers there are.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.numbers.len() as u64
    }
}

impl std::fmt::Debug for HeldSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeldSet({} names)", self.count)
    }
}

/// The number of a name in a set of `count`.
fn number(salt: &Sha3_384, name: &Sha3_384, count: u64) -> u64 {
    let hash = Sha3_384::of_parts([&salt.0, &name.0]);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.0[..8]);
    // The upper half of a product scales a hash to a range. `count` is far below 2³⁴, so the range fits.
    let range = u128::from(count) << BITS;
    u64::try_from((u128::from(u64::from_be_bytes(first)) * range) >> 64).unwrap_or(u64::MAX)
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    used: u8,
}

impl BitWriter {
    fn push(&mut self, bit: bool) {
        if self.used == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.used);
        }
        self.used = (self.used + 1) % 8;
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl BitReader<'_> {
    fn next(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1 == 1;
        self.at += 1;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(of: u32) -> Sha3_384 {
        Sha3_384::of(&of.to_be_bytes())
    }

    #[test]
    fn a_set_knows_its_names_and_no_others() {
        let names: Vec<_> = (0..10_000).map(name).collect();
        let set = HeldSet::new(name(1 << 30), &names);
        let bytes = set.encode();
        assert!(bytes.len() < 41_000, "{}", bytes.len());
        let read = HeldSet::decode(name(1 << 30), set.count(), set.length(), &bytes).expect("a set");
        assert_eq!(read, set);
        assert!(names.iter().all(|name| read.has(name)));
        assert!(!(10_000..60_000).any(|of| read.has(&name(of))));
        assert!(!HeldSet::new(name(0), &[]).has(&name(0)));
    }

    #[test]
    fn what_is_cut_off_or_lies_is_no_set() {
        let names: Vec<_> = (0..100).map(name).collect();
        let set = HeldSet::new(name(0), &names);
        let bytes = set.encode();
        assert!(HeldSet::decode(name(0), 100, 100, &bytes[..bytes.len() - 1]).is_none());
        assert!(HeldSet::decode(name(0), u64::MAX, u64::MAX, &bytes).is_none());
        assert!(HeldSet::decode(name(0), 100, 101, &bytes).is_none());
        assert!(HeldSet::decode(name(0), 1 << 20, 1 << 20, &bytes).is_none());
        assert!(HeldSet::decode(name(0), 2, 1, &[0xff; 4000]).is_none());
    }
}
