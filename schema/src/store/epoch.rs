//! Epochs: the data formats that a snap revision reads and writes.
//!
//! ```text
//! "0"    reads and writes 0          "2*"   reads 1 and 2, writes 2
//! {"read": [1, 2], "write": [2]}     said in full
//! ```
//!
//! A device can move to a revision only if that revision reads what the installed one writes.

use serde::{Deserialize, Deserializer, Serialize};

/// The epochs that a revision reads and writes: two strictly ascending lists that share a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Epoch {
    read: Vec<u32>,
    write: Vec<u32>,
}

/// The text or object is not an epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid epoch: {0}")]
pub struct EpochError(&'static str);

/// Longest list that a device accepts.
const LONGEST: usize = 10;

impl Epoch {
    /// An epoch that reads and writes these.
    pub fn new(read: Vec<u32>, write: Vec<u32>) -> Result<Self, EpochError> {
        for list in [&read, &write] {
            if list.is_empty() || list.len() > LONGEST {
                return Err(EpochError("read and write need 1 to 10 numbers each"));
            }
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
            (true, Some(before)) => Self::new(vec![before, number], vec![number]),
            (true, None) => Err(EpochError("0* has no epoch before it")),
            (false, _) => Self::new(vec![number], vec![number]),
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
        Self { read: vec![0], write: vec![0] }
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u32),
            Text(String),
            Lists { read: Option<Vec<u32>>, write: Option<Vec<u32>> },
        }
        let epoch = match Form::deserialize(deserializer)? {
            Form::Number(number) => Self::new(vec![number], vec![number]),
            Form::Text(text) => Self::parse(&text),
            Form::Lists { read, write } => {
                // If one list is missing, it equals the other; a device's zero epoch may come with both empty.
                let read = read.filter(|list| !list.is_empty());
                let write = write.filter(|list| !list.is_empty());
                match (read, write) {
                    (Some(read), Some(write)) => Self::new(read, write),
                    (Some(only), None) | (None, Some(only)) => Self::new(only.clone(), only),
                    (None, None) => Ok(Self::default()),
                }
            }
        };
        epoch.map_err(serde::de::Error::custom)
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
