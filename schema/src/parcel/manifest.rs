//! The manifest of a parcel, `NAME.parcel`: signed by the sender, and small enough to be on every medium.
//!
//! ```text
//! airlock-parcel⏎
//! {"format":1,…}⏎        see [`Parcel`]
//! BASE64⏎                the sender's signature of everything above
//! ```
//!
//! What the parcel holds is a bundle or a store archive (see [`crate::bundle`]) in parts beside it, `NAME.part-001` and so
//! on. The manifest names the digest of every part, so that it covers files, metadata, channel maps and assertions alike.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ParcelError, PublicKey, SecretKey, after_word};
use crate::digest::{Sha3_384, hex};

const WHAT: &str = "the manifest of the parcel";
const PURPOSE: &str = "parcel v1";

/// What a parcel is, and who sends it to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Parcel {
    /// The version of the format; see [`Parcel::FORMAT`].
    pub format: u32,
    /// The name of the parts, without their endings.
    pub name: String,
    /// Who made it.
    pub sender: PublicKey,
    /// The site that it is for.
    pub site: PublicKey,
    /// Its number among those of this sender for this site.
    pub sequence: u64,
    /// The generation of the site's store that it starts from.
    pub basis: i64,
    /// When it was made, RFC 3339.
    pub time: String,
    /// What the parts make up.
    pub kind: ParcelKind,
    /// The snaps and components in it.
    pub files: Vec<ParcelFile>,
    /// The parts, in order.
    pub parts: Vec<ParcelPart>,
}

/// What the parts of a parcel make up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ParcelKind {
    /// A store archive.
    Store,
    /// A bundle of snaps.
    Snaps,
}

/// A snap or component in a parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ParcelFile {
    /// Its name.
    pub name: String,
    /// Its bytes on site.
    pub size: u64,
    /// Its SHA3-384 on site, in hexadecimal.
    #[serde(rename = "sha3-384")]
    pub sha3_384: String,
    /// Its bytes in the parcel.
    pub carried: u64,
    /// The file on site that it is a difference to, by SHA3-384.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

/// A part of a parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ParcelPart {
    /// Bytes.
    pub size: u64,
    /// SHA3-384 of its content, in hexadecimal.
    #[serde(rename = "sha3-384")]
    pub sha3_384: String,
}

impl Parcel {
    /// The format that is written, and the newest that is read.
    pub const FORMAT: u32 = 1;
    /// The first line of the file.
    pub const WORD: &str = "airlock-parcel";
    /// The ending of the file's name.
    pub const SUFFIX: &str = ".parcel";
    /// Bytes of the largest manifest.
    pub const MOST: u64 = 16 << 20;
    /// More parts than any parcel has.
    const PARTS: usize = 100_000;

    /// The manifest as a file.
    #[must_use]
    pub fn write(&self, key: &SecretKey) -> Vec<u8> {
        let head = serde_json::to_vec(self).unwrap_or_default();
        let signed = [Self::WORD.as_bytes(), b"\n", &head, b"\n"].concat();
        let signature = STANDARD.encode(key.sign(PURPOSE, &signed));
        [&signed, signature.as_bytes(), b"\n"].concat()
    }

    /// Reads a manifest and checks that the sender that it names signed it.
    ///
    /// # Errors
    /// [`ParcelError`]: whether the sender is trusted is for the caller to tell.
    pub fn read(file: &[u8]) -> Result<Self, ParcelError> {
        let rest = after_word(file, Self::WORD)
            .ok_or(ParcelError::Kind("the manifest of a parcel, whose name ends in .parcel"))?;
        let damaged = || ParcelError::Damaged(WHAT);
        let line = rest.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
        let head: serde_json::Value = serde_json::from_slice(&rest[..line]).map_err(|_| damaged())?;
        match head["format"].as_u64().and_then(|format| u32::try_from(format).ok()) {
            Some(format) if format > Self::FORMAT => return Err(ParcelError::Newer(WHAT, format)),
            _ => {}
        }
        let parcel: Self = serde_json::from_value(head).map_err(|_| damaged())?;
        let signature = rest[line + 1..].strip_suffix(b"\n").ok_or_else(damaged)?;
        let signature = STANDARD.decode(signature).map_err(|_| damaged())?;
        let signed = &file[..Self::WORD.len() + 1 + line + 1];
        if !parcel.sender.signed(PURPOSE, signed, &signature) {
            return Err(ParcelError::Signature(WHAT));
        }
        match parcel.is_sound() {
            true => Ok(parcel),
            false => Err(damaged()),
        }
    }

    fn is_sound(&self) -> bool {
        let is_digest = |text: &str| Sha3_384::from_hex(text).is_ok();
        let plain = |name: &str| {
            (1..=200).contains(&name.len())
                && !name.starts_with('.')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_+.".contains(&b))
        };
        let total = self.parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.size));
        let mut names = HashSet::new();
        plain(&self.name)
            && self.sequence > 0
            && (1..=Self::PARTS).contains(&self.parts.len())
            && total.is_some()
            && self.parts.iter().all(|part| part.size > 0 && is_digest(&part.sha3_384))
            && self.files.iter().all(|file| {
                plain(&file.name)
                    && is_digest(&file.sha3_384)
                    && file.base.as_deref().is_none_or(is_digest)
                    && names.insert(&file.name)
            })
    }

    /// What a parcel is known by: 32 hexadecimal digits that depend on all of its manifest.
    #[must_use]
    pub fn id(&self) -> String {
        hex(&Sha3_384::of(&serde_json::to_vec(self).unwrap_or_default()).0[..16])
    }

    /// Whether a text can be the id of a parcel.
    #[must_use]
    pub fn is_id(text: &str) -> bool {
        text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// Bytes of all parts.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }

    /// Bytes of its snaps and components on site.
    #[must_use]
    pub fn whole_size(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(key: &SecretKey) -> Parcel {
        let digest = Sha3_384::of(b"x").to_hex();
        Parcel {
            format: 1,
            name: "parcel-acme-20261129T120000".into(),
            sender: key.public(),
            site: SecretKey::of(&[8; 32]).public(),
            sequence: 3,
            basis: 12,
            time: "2026-11-29T12:00:00Z".into(),
            kind: ParcelKind::Store,
            files: vec![ParcelFile {
                name: "jq_7.snap".into(),
                size: 10,
                sha3_384: digest.clone(),
                carried: 2,
                base: Some(digest.clone()),
            }],
            parts: vec![ParcelPart { size: 5, sha3_384: digest }],
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_signed() {
        let key = SecretKey::of(&[7; 32]);
        let (parcel, other) = (parcel(&key), Parcel { sequence: 4, ..parcel(&key) });
        let file = parcel.write(&key);
        assert_eq!(Parcel::read(&file).as_ref(), Ok(&parcel));
        assert!(Parcel::is_id(&parcel.id()) && parcel.id() != other.id());
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert!(Parcel::read(&bad).is_err(), "byte {at}");
            assert!(Parcel::read(&file[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(Parcel::read(&parcel.write(&SecretKey::of(&[9; 32]))), Err(ParcelError::Signature(WHAT)));
    }

    #[test]
    fn a_manifest_that_its_sender_signed_is_sound_too() {
        let key = SecretKey::of(&[7; 32]);
        let good = parcel(&key);
        let bad_part = ParcelPart { size: 0, ..good.parts[0].clone() };
        for bad in [
            Parcel { name: "../x".into(), ..good.clone() },
            Parcel { name: ".x".into(), ..good.clone() },
            Parcel { sequence: 0, ..good.clone() },
            Parcel { parts: Vec::new(), ..good.clone() },
            Parcel { parts: vec![bad_part], ..good.clone() },
            Parcel { parts: vec![ParcelPart { size: u64::MAX, ..good.parts[0].clone() }; 2], ..good.clone() },
            Parcel { files: vec![good.files[0].clone(), good.files[0].clone()], ..good.clone() },
            Parcel {
                files: vec![ParcelFile { base: Some("ab".into()), ..good.files[0].clone() }],
                ..good.clone()
            },
        ] {
            assert_eq!(Parcel::read(&bad.write(&key)), Err(ParcelError::Damaged(WHAT)), "{bad:?}");
        }
    }
}
