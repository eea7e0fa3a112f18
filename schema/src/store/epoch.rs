//! Epochs: the data formats that a snap revision reads and writes.
//!
//! ```text
//! "0"    reads and writes 0          "2*"   reads 1 and 2, writes 2
//! {"read": [1, 2], "write": [2]}     said in full
//! ```
//!
//! A device can move to a revision only if that revision reads what the installed one writes.

use std::fmt;
use std::ops::Deref;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The epochs that a revision reads and writes: two strictly ascending lists that share a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Epoch {
    read: Numbers,
    write: Numbers,
}

/// A list, kept in place: a device sends one for each of its snaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Numbers {
    numbers: [u32; LONGEST],
    count: usize,
}

/// The text or object is not an epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid epoch: {0}")]
pub struct EpochError(&'static str);

/// Longest list that a device accepts.
const LONGEST: usize = 10;

impl Epoch {
    /// An epoch that reads and writes these.
    pub fn new(read: &[u32], write: &[u32]) -> Result<Self, EpochError> {
        let list = |numbers: &[u32]| {
            let kept = Numbers::of(numbers).filter(|_| !numbers.is_empty());
            kept.ok_or(EpochError("read and write need 1 to 10 numbers each"))
        };
        let (read, write) = (list(read)?, list(write)?);
        for list in [&read, &write] {
            if !list.windows(2).all(|pair| pair[0] < pair[1]) {
                return Err(EpochError("read and write must rise strictly"));
            }
        }
        if !read.iter().any(|number| write.contains(number)) {
            return Err(EpochError("read and write must share a number"));
        }
        Ok(Self { read, write })
    }

    /// Reads the short form: `N`, or `N*` for one that also reads its predecessor.
    pub fn parse(text: &str) -> Result<Self, EpochError> {
        let (digits, star) = match text.strip_suffix('*') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let plain = !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        let number: u32 = match digits.parse() {
            Ok(number) if plain => number,
            _ => return Err(EpochError("write a whole number, with a star to also read the one before")),
        };
        match (star, number.checked_sub(1)) {
            (true, Some(before)) => Self::new(&[before, number], &[number]),
            (true, None) => Err(EpochError("0* has no epoch before it")),
            (false, _) => Self::new(&[number], &[number]),
        }
    }

    /// Whether a device whose data was written in epoch `installed` can move to this one.
    #[must_use]
    pub fn can_follow(&self, installed: &Epoch) -> bool {
        self.read.iter().any(|number| installed.write.contains(number))
    }
}

impl Default for Epoch {
    fn default() -> Self {
        let zero = Numbers { count: 1, ..Numbers::default() };
        Self { read: zero.clone(), write: zero }
    }
}

impl Numbers {
    fn of(list: &[u32]) -> Option<Self> {
        let mut kept = Self { count: list.len(), ..Self::default() };
        kept.numbers.get_mut(..list.len())?.copy_from_slice(list);
        Some(kept)
    }
}

impl Deref for Numbers {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.numbers[..self.count]
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Numbers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of at most 10 numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Numbers, A::Error> {
                let mut kept = Numbers::default();
                while let Some(number) = list.next_element()? {
                    let place = kept.numbers.get_mut(kept.count);
                    *place.ok_or_else(|| A::Error::custom("an epoch lists at most 10 numbers"))? = number;
                    kept.count += 1;
                }
                Ok(kept)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Epoch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an epoch: a number, its short form, or its two lists")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Epoch, E> {
                let number = u32::try_from(number).map_err(E::custom)?;
                Epoch::new(&[number], &[number]).map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Epoch, E> {
                u64::try_from(number).map_err(E::custom).and_then(|number| self.visit_u64(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Epoch, E> {
                Epoch::parse(text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Epoch, A::Error> {
                #[derive(Deserialize)]
                struct Lists {
                    read: Option<Numbers>,
                    write: Option<Numbers>,
                }
                // If one list is missing, it equals the other; a device's zero epoch may come with both empty.
                let lists = Lists::deserialize(MapAccessDeserializer::new(map))?;
                let read = lists.read.filter(|list| !list.is_empty());
                let write = lists.write.filter(|list| !list.is_empty());
                let epoch = match (&read, &write) {
                    (Some(read), Some(write)) => Epoch::new(read, write),
                    (Some(only), None) | (None, Some(only)) => Epoch::new(only, only),
                    (None, None) => Ok(Epoch::default()),
                };
                epoch.map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_any(Form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_forms() {
        let read = |json: &str| serde_json::from_str::<Epoch>(json);
        assert_eq!(read("\"0\"").expect("an epoch"), Epoch::default());
        assert_eq!(read("{}").expect("an epoch"), Epoch::default());
        let stepping = read("\"2*\"").expect("an epoch");
        assert_eq!(serde_json::to_string(&stepping).expect("json"), r#"{"read":[1,2],"write":[2]}"#);
        assert_eq!(read(r#"{"read":[1,2],"write":[2]}"#).expect("an epoch"), stepping);
        for bad in [
            "\"0*\"",
            "\"\"",
            "\"01\"",
            "\"+1\"",
            "\"x\"",
            r#"{"read":[2,1],"write":[1]}"#,
            r#"{"read":[1],"write":[2]}"#,
            r#"{"read":[0,1,2,3,4,5,6,7,8,9,10],"write":[1]}"#,
            "-1",
            "1.5",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_device_can_only_go_where_its_data_is_read() {
        let zero = Epoch::default();
        let one = Epoch::parse("1").expect("an epoch");
        let bridge = Epoch::parse("1*").expect("an epoch");
        assert!(bridge.can_follow(&zero));
        assert!(one.can_follow(&bridge));
        assert!(!one.can_follow(&zero));
    }
}
