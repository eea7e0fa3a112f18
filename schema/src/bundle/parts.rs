//! `NAME.parts.json`: lists the parts of a split file, for media that cannot hold large files.
//!
//! ```json
//! {"format": 1, "name": "store-export-X.tar.gz", "size": 7000000000,
//!  "parts": [{"name": "store-export-X.tar.gz.part-001", "size": 4089446400, "sha3-384": "95e6…"}, …]}
//! ```
//!
//! Each part is checked on its own, so a bad copy is named before anything is sent.

use serde::{Deserialize, Serialize};

use super::{BundleError, ManifestError, json};
use crate::digest::Sha3_384;

/// The parts of one file, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartList {
    /// The format version; see [`PartList::FORMAT`].
    pub format: u32,
    /// The name of the whole file.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// The parts.
    pub parts: Vec<Part>,
}

/// One part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA3-384 of its content, 96 hexadecimal digits in lower case.
    #[serde(rename = "sha3-384")]
    pub sha3_384: String,
}

impl PartList {
    /// The format that is written, and the newest that is read.
    pub const FORMAT: u32 = 1;
    /// The suffix of a list's name, after the name of the whole file.
    pub const SUFFIX: &str = ".parts.json";

    /// The name of the part with this number, counted from 1.
    #[must_use]
    pub fn part_name(whole: &str, number: usize) -> String {
        format!("{whole}.part-{number:03}")
    }

    /// The name of the whole file, from the name of one of its parts.
    #[must_use]
    pub fn whole_of(part: &str) -> Option<&str> {
        let (whole, number) = part.rsplit_once(".part-")?;
        let counted = number.len() >= 3 && number.bytes().all(|b| b.is_ascii_digit());
        (counted && !whole.is_empty()).then_some(whole)
    }

    /// Reads a list.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let list: Self = json::parse("the list of parts", bytes)?;
        if list.format > Self::FORMAT {
            return Err(ManifestError::Newer(list.format).into());
        }
        let total = list.parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.size));
        let numbered = (1..).zip(&list.parts).all(|(at, part)| part.name == Self::part_name(&list.name, at));
        let digests = list.parts.iter().all(|part| Sha3_384::from_hex(&part.sha3_384).is_ok());
        match total == Some(list.size) && numbered && digests && !list.parts.is_empty() {
            true => Ok(list),
            false => Err(BundleError::Form("the list of parts contradicts itself")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_whole_and_in_order() {
        let digest = Sha3_384::of(b"x").to_hex();
        let part =
            |at, size| Part { name: PartList::part_name("a.tar.gz", at), size, sha3_384: digest.clone() };
        let list =
            PartList { format: 1, name: "a.tar.gz".into(), size: 5, parts: vec![part(1, 3), part(2, 2)] };
        let read = |list: &PartList| PartList::parse(&serde_json::to_vec(list).expect("JSON"));
        assert_eq!(read(&list).expect("a list"), list);
        for bad in [
            PartList { size: 6, ..list.clone() },
            PartList { name: "b.tar.gz".into(), ..list.clone() },
            PartList { parts: vec![part(2, 2), part(1, 3)], ..list.clone() },
            PartList { parts: vec![], size: 0, ..list.clone() },
            PartList { parts: vec![part(1, u64::MAX), part(2, 6)], ..list.clone() },
            PartList { parts: vec![Part { sha3_384: "ab".into(), ..part(1, 5) }], ..list.clone() },
            PartList { format: 2, ..list.clone() },
        ] {
            assert!(read(&bad).is_err(), "{bad:?}");
        }
        assert_eq!(PartList::whole_of("a.tar.gz.part-002"), Some("a.tar.gz"));
        for other in ["a.tar.gz", ".part-001", "a.part-1", "a.part-0x1"] {
            assert_eq!(PartList::whole_of(other), None, "{other}");
        }
    }
}
