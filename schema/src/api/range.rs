//! The bytes that the value of a `Range` header asks for (RFC 9110 §14.1.2).
//!
//! ```text
//! bytes=8388608-       from there to the end
//! bytes=-500           the last ones
//! bytes=0-1,5-6        several: answered with the whole body, as anything malformed is
//! ```

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The whole body, as if the header were not there.
    Whole,
    /// These bytes: never empty, never beyond the end.
    Part(Range<u64>),
    /// Bytes that all lie beyond the end.
    Beyond,
}

impl Asked {
    /// Reads the value of the header, for a body of `size` bytes.
    #[must_use]
    pub fn of(range: &str, size: u64) -> Self {
        let Some((unit, spec)) = range.split_once('=') else {
            return Self::Whole;
        };
        let Some((first, last)) = spec.trim().split_once('-') else {
            return Self::Whole;
        };
        if !unit.eq_ignore_ascii_case("bytes") {
            return Self::Whole;
        }
        let part = match (position(first), position(last)) {
            (Some(Position::At(first)), Some(Position::At(last))) if last < first => {
                return Self::Whole;
            }
            (Some(Position::At(first)), Some(Position::At(last))) => first..last.saturating_add(1).min(size),
            (Some(Position::At(first)), Some(Position::Unsaid)) => first..size,
            (Some(Position::Unsaid), Some(Position::At(count))) => size.saturating_sub(count)..size,
            _ => return Self::Whole,
        };
        if part.is_empty() { Self::Beyond } else { Self::Part(part) }
    }
}

enum Position {
    At(u64),
    Unsaid,
}

/// A number too large to hold counts as the largest: no body is that long.
fn position(text: &str) -> Option<Position> {
    if text.is_empty() {
        return Some(Position::Unsaid);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Position::At(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::Asked::{self, Beyond, Part, Whole};

    #[test]
    fn one_range_is_exact_and_anything_else_is_the_whole() {
        for (range, expected) in [
            ("bytes=0-0", Part(0..1)),
            ("Bytes= 2-5", Part(2..6)),
            ("bytes=5-5", Part(5..6)),
            ("bytes=0-99", Part(0..10)),
            ("bytes=3-18446744073709551615", Part(3..10)),
            ("bytes=9-", Part(9..10)),
            ("bytes=10-", Beyond),
            ("bytes=10-12", Beyond),
            ("bytes=99999999999999999999999-", Beyond),
            ("bytes=-3", Part(7..10)),
            ("bytes=-99", Part(0..10)),
            ("bytes=-0", Beyond),
            ("bytes=5-4", Whole),
            ("bytes=-", Whole),
            ("bytes=0-1,5-6", Whole),
            ("bytes=a-", Whole),
            ("bytes=+1-2", Whole),
            ("bytes", Whole),
            ("items=0-1", Whole),
        ] {
            assert_eq!(Asked::of(range, 10), expected, "{range}");
        }
        assert_eq!(Asked::of("bytes=0-", 0), Beyond);
    }
}
