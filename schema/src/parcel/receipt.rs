//! A receipt: what a site holds, said and signed by the site.
//!
//! ```text
//! airlock-receipt⏎
//! {"format":1,…}⏎        who says it and when, in JSON; see [`Receipt`]
//! …                      the set of what is held; see [`HeldSet`]
//! 64 bytes               the site's signature of everything above
//! ```

use serde::{Deserialize, Serialize};

use super::key::SIGNATURE;
use super::{HeldSet, ParcelError, PublicKey, SecretKey, after_word};
use crate::digest::Sha3_384;

/// What a receipt is called in errors.
const WHAT: &str = "the receipt";
const PURPOSE: &str = "receipt v1";

/// Characters of a site's code.
pub const CODE_LENGTH: usize = 20;

/// What a site says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Receipt {
    /// The version of the format; see [`Receipt::FORMAT`].
    pub format: u32,
    /// The site's key, which is what the site is known by.
    pub site: PublicKey,
    /// The id of the registered store, or where devices reach it.
    pub store: String,
    /// The generation of the store.
    pub generation: i64,
    /// When it was written, RFC 3339.
    pub time: String,
    /// Revisions of snaps that are held.
    pub revisions: u64,
    /// The digest of the channel map, in hexadecimal.
    pub channel_map: String,
    /// Free bytes where files are kept, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    /// The last parcel of each sender, the latest one last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Accepted>,
    /// Snaps that devices asked for and did not get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<String>,
    /// Snaps that a store lists and the site does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<String>,
    /// How many names and numbers the set has.
    held: (u64, u64),
}

/// The last parcel of a sender that a site took in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The sender.
    pub sender: PublicKey,
    /// The number of the parcel.
    pub sequence: u64,
    /// Its id.
    pub parcel: String,
}

impl Receipt {
    /// The format that is written, and the newest that is read.
    pub const FORMAT: u32 = 1;
    /// The first line of the file.
    pub const WORD: &str = "airlock-receipt";

    /// A receipt of a store in this generation, without what is held.
    #[must_use]
    pub fn new(site: PublicKey, store: String, generation: i64, time: String) -> Self {
        Self {
            format: Self::FORMAT,
            site,
            store,
            generation,
            time,
            revisions: 0,
            channel_map: String::new(),
            free: None,
            accepted: Vec::new(),
            missed: Vec::new(),
            wanted: Vec::new(),
            held: (0, 0),
        }
    }

    /// The receipt as a file, for a site that holds these.
    #[must_use]
    pub fn write(mut self, key: &SecretKey, held: &[Sha3_384]) -> Vec<u8> {
        let set = HeldSet::new(self.salt(), held);
        self.held = (set.count(), set.length());
        // Maps with text keys, which JSON can always represent.
        let head = serde_json::to_vec(&self).unwrap_or_default();
        let mut file = [Self::WORD.as_bytes(), b"\n", &head, b"\n", &set.encode()].concat();
        let signature = key.sign(PURPOSE, &file);
        file.extend(signature);
        file
    }

    /// Whether a file that begins so is a receipt, or the texts of one.
    #[must_use]
    pub fn begins(start: &[u8]) -> bool {
        after_word(start, Self::WORD).is_some() || super::pages::begins(start)
    }

    /// Reads a receipt, which may be in the texts of [`super::pages`], and checks that the key that it names signed it.
    ///
    /// # Errors
    /// [`ParcelError`]: whether the key is that of a known site is for the caller to tell.
    pub fn read(file: &[u8]) -> Result<(Self, HeldSet), ParcelError> {
        let texts = super::pages::receipt_of(file)?;
        let file = texts.as_deref().unwrap_or(file);
        let rest = after_word(file, Self::WORD)
            .ok_or(ParcelError::Kind("a receipt, which `proxy receipt` writes on site"))?;
        let damaged = || ParcelError::Damaged(WHAT);
        let line = rest.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
        let head: serde_json::Value = serde_json::from_slice(&rest[..line]).map_err(|_| damaged())?;
        match head["format"].as_u64().and_then(|format| u32::try_from(format).ok()) {
            Some(format) if format > Self::FORMAT => return Err(ParcelError::Newer(WHAT, format)),
            _ => {}
        }
        let receipt: Self = serde_json::from_value(head).map_err(|_| damaged())?;
        let signed = file.len().checked_sub(SIGNATURE).ok_or_else(damaged)?;
        if !receipt.site.signed(PURPOSE, &file[..signed], &file[signed..]) {
            return Err(ParcelError::Signature(WHAT));
        }
        let set = rest.get(line + 1..rest.len() - SIGNATURE).ok_or_else(damaged)?;
        let (count, length) = receipt.held;
        let held = HeldSet::decode(receipt.salt(), count, length, set).ok_or_else(damaged)?;
        Ok((receipt, held))
    }

    /// The number of names that are held: files, assertions and entries of channel maps.
    #[must_use]
    pub fn names(&self) -> u64 {
        self.held.0
    }

    /// What the numbers of the set depend on.
    fn salt(&self) -> Sha3_384 {
        Sha3_384::of_parts([self.site.bytes(), &self.generation.to_be_bytes(), self.time.as_bytes()])
    }
}

/// The code by which a site says that it took in this parcel last: what a person can read out or copy by hand.
#[must_use]
pub fn code_of(site: &PublicKey, parcel: &str) -> String {
    let digest = Sha3_384::of_parts([b"site code", site.bytes(), parcel.as_bytes()]);
    data_encoding::BASE32_NOPAD.encode(&digest.0).chars().take(CODE_LENGTH).collect()
}

/// Reads a code as a person types it: in any case, with dashes or spaces.
#[must_use]
pub fn read_code(text: &str) -> Option<String> {
    let kept: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    let code = kept.to_ascii_uppercase();
    let fits = code.len() == CODE_LENGTH && code.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'));
    fits.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (SecretKey, Vec<u8>, Vec<Sha3_384>) {
        let key = SecretKey::of(&[7; 32]);
        let held: Vec<_> = (0..20_u32).map(|of| Sha3_384::of(&of.to_be_bytes())).collect();
        let receipt = Receipt::new(key.public(), "acme".into(), 12, "2026-11-29T12:00:00Z".into());
        let file = Receipt { revisions: 5, free: Some(1 << 40), ..receipt }.write(&key, &held);
        (key, file, held)
    }

    #[test]
    fn a_receipt_says_what_is_held() {
        let (key, file, held) = written();
        let (receipt, set) = Receipt::read(&file).expect("a receipt");
        assert_eq!((receipt.site, receipt.generation, receipt.revisions), (key.public(), 12, 5));
        assert!(held.iter().all(|name| set.has(name)) && !set.has(&Sha3_384::of(b"else")));
    }

    #[test]
    fn a_receipt_that_was_altered_cut_or_signed_by_another_is_refused() {
        let (_, file, _) = written();
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert!(Receipt::read(&bad).is_err(), "byte {at}");
            assert!(Receipt::read(&file[..at]).is_err(), "cut at {at}");
        }
        assert!(Receipt::read(&[&file[..], &[0]].concat()).is_err());
        let newer = String::from_utf8_lossy(b"airlock-receipt\n{\"format\":2}\n").into_owned();
        assert_eq!(Receipt::read(newer.as_bytes()), Err(ParcelError::Newer(WHAT, 2)));
    }

    #[test]
    fn a_code_is_of_one_site_and_one_parcel() {
        let (site, other) = (SecretKey::of(&[7; 32]).public(), SecretKey::of(&[8; 32]).public());
        let code = code_of(&site, "a");
        assert_eq!(code.len(), CODE_LENGTH);
        assert!(code_of(&site, "b") != code && code_of(&other, "a") != code);
        let typed = format!("{}-{} {}", &code[..5].to_lowercase(), &code[5..10], &code[10..]);
        assert_eq!(read_code(&typed), Some(code));
        assert!(
            ["", "ABCDE", "0BCDEFGHIJKLMNOPQRST", "site.receipt"]
                .into_iter()
                .all(|bad| read_code(bad).is_none())
        );
    }

    #[test]
    fn a_receipt_has_about_four_bytes_for_each_thing() {
        let key = SecretKey::of(&[7; 32]);
        for (revisions, most) in [(1_000_u32, 13_000), (10_000, 125_000)] {
            // A file, its snap-revision and a release for each, and a declaration for every ten.
            let held: Vec<_> = (0..revisions * 31 / 10).map(|of| Sha3_384::of(&of.to_be_bytes())).collect();
            let receipt = Receipt::new(key.public(), "acme".into(), 12, "2026-11-29T12:00:00Z".into());
            let size = receipt.write(&key, &held).len();
            println!("{revisions} revisions: {size} bytes");
            assert!(size < most, "{revisions}: {size}");
        }
    }
}
