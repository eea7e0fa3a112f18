//! Serialised macaroons: reading them, and binding a discharge to a request's root.
//!
//! Two binary forms are in use, in base64 of either alphabet:
//!
//! ```text
//! version 1   packets of four hexadecimal digits (length of all), KEY, a space, VALUE, a line feed:
//!             location, identifier, then cid, vid and cl of each caveat, at last signature
//! version 2   2, then fields of TYPE LENGTH VALUE; 0 ends a section: the macaroon's own (1 location,
//!             2 identifier), one of each caveat (1, 2, 4 verification id), an empty one, then 6 signature
//! ```
//!
//! A discharge is stored unbound. For each request its signature `D` is replaced by one that only fits the root's
//! signature `R`: `H(H(R) ‖ H(D))`, where `H` is HMAC-SHA256 under a key of zeros. All earlier bytes stay unchanged.
//!
//! Source: libmacaroons, `prepare_for_request`.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use zeroize::Zeroizing;

use crate::macaroon;

/// Bytes of a signature.
const SIGNATURE: usize = 32;
/// Largest macaroon in bytes; real ones have one or two thousand.
const LARGEST: usize = 32 << 10;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// A macaroon in serialised form. It is a secret and is never printed.
pub struct Macaroon {
    bytes: Zeroizing<Vec<u8>>,
    /// The offset of the signature.
    signature: usize,
    caveats: Vec<Vec<u8>>,
}

/// The text is not a serialised macaroon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a serialised macaroon")]
pub struct NotAMacaroon;

impl Macaroon {
    /// Reads a macaroon in base64 of its binary form.
    ///
    /// # Errors
    /// [`NotAMacaroon`], which does not quote the text.
    pub fn parse(text: &str) -> Result<Self, NotAMacaroon> {
        if text.len() > 2 * LARGEST {
            return Err(NotAMacaroon);
        }
        let alphabet = if text.contains(['+', '/']) { &STANDARD } else { &URL_SAFE };
        let bytes = GeneralPurpose::new(alphabet, LENIENT).decode(text).map_err(|_| NotAMacaroon)?;
        let bytes = Zeroizing::new(bytes);
        let (signature, caveats) = match bytes.first() {
            Some(2) => version_2(&bytes),
            _ => version_1(&bytes),
        }
        .ok_or(NotAMacaroon)?;
        Ok(Self { bytes, signature, caveats })
    }

    /// The text of each first-party caveat that is text.
    pub fn caveats(&self) -> impl Iterator<Item = &str> {
        self.caveats.iter().filter_map(|caveat| std::str::from_utf8(caveat).ok())
    }

    /// This discharge, bound to its root and serialised.
    #[must_use]
    pub fn bound_to(&self, root: &Macaroon) -> Zeroizing<String> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[0; SIGNATURE]);
        let mut both = Zeroizing::new([0; 2 * SIGNATURE]);
        both[..SIGNATURE].copy_from_slice(hmac::sign(&key, root.signature()).as_ref());
        both[SIGNATURE..].copy_from_slice(hmac::sign(&key, self.signature()).as_ref());
        let mut bytes = self.bytes.clone();
        bytes[self.signature..self.signature + SIGNATURE]
            .copy_from_slice(hmac::sign(&key, &both[..]).as_ref());
        Zeroizing::new(general_purpose::URL_SAFE_NO_PAD.encode(&bytes[..]))
    }

    fn signature(&self) -> &[u8] {
        &self.bytes[self.signature..self.signature + SIGNATURE]
    }
}

impl fmt::Debug for Macaroon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Macaroon").finish_non_exhaustive()
    }
}

/// The offset of the signature, and the first-party caveats.
type Parts = (usize, Vec<Vec<u8>>);

fn version_1(bytes: &[u8]) -> Option<Parts> {
    let mut caveats: Vec<Vec<u8>> = Vec::new();
    let mut rest = bytes;
    // What may come next: 0 location or identifier, 1 identifier, 2 caveats or signature.
    let mut stage = 0;
    loop {
        let (key, value) = macaroon::next(&mut rest)?;
        match (key, stage) {
            (b"location", 0) => stage = 1,
            (b"identifier", 0 | 1) => stage = 2,
            (b"cid", 2) => caveats.push(value.to_vec()),
            (b"vid", 2) => drop(caveats.pop()?),
            (b"cl", 2) => {}
            (b"signature", 2) if value.len() == SIGNATURE && rest.is_empty() => {
                return Some((bytes.len() - 1 - SIGNATURE, caveats));
            }
            _ => return None,
        }
    }
}

fn version_2(bytes: &[u8]) -> Option<Parts> {
    const END: u8 = 0;
    let mut reader = Fields { rest: bytes.get(1..)? };
    let mut caveats = Vec::new();
    let mut first = true;
    loop {
        let (mut kind, mut value) = reader.next()?;
        if kind == END && !first {
            break;
        }
        if kind == 1 {
            (kind, value) = reader.next()?;
        }
        if kind != 2 {
            return None;
        }
        let identifier = value;
        (kind, _) = reader.next()?;
        let third_party = kind == 4 && !first;
        if third_party {
            (kind, _) = reader.next()?;
        }
        if kind != END {
            return None;
        }
        if !std::mem::take(&mut first) && !third_party {
            caveats.push(identifier.to_vec());
        }
    }
    match reader.next()? {
        (6, signature) if signature.len() == SIGNATURE && reader.rest.is_empty() => {
            Some((bytes.len() - SIGNATURE, caveats))
        }
        _ => None,
    }
}

/// Fields of version 2, one after the other.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let kind = self.byte()?;
        if kind == 0 {
            return Some((0, &[]));
        }
        let mut length = 0_usize;
        for shift in [0, 7, 14] {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let (value, rest) = self.rest.split_at_checked(length)?;
                self.rest = rest;
                return Some((kind, value));
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Root, discharge and bound discharge of the example in the libmacaroons README (location `http://mybank/`,
    /// discharge of `http://auth.mybank/`), serialised by pymacaroons 0.13; version 1, then 2.
    pub(in crate::login) const VECTORS: [[&str; 3]; 2] = [
        [
            "MDAxY2xvY2F0aW9uIGh0dHA6Ly9teWJhbmsvCjAwMmNpZGVudGlmaWVyIHdlIHVzZWQgb3VyIG90aGVyIHNlY3JldCBrZXkKMDAxZGNpZCBhY2NvdW50ID0gMzczNTkyODU1OQowMDMwY2lkIHRoaXMgd2FzIGhvdyB3ZSByZW1pbmQgYXV0aCBvZiBrZXkvcHJlZAowMDUxdmlkIKCiX0uuFh9nNkpiU-KCg52-BZ3om_7OKJnh_yEG-3zkaGGV8GVBlqILo6P8NXWSodzt8sC6PQIoW5Ez8kWHtDqHFzDg4jJLGAowMDFiY2wgaHR0cDovL2F1dGgubXliYW5rLwowMDJmc2lnbmF0dXJlII-stZ6UrJxWDiNG8UoDNx7aUnO3ado6wk-yQbpFW9MdCg",
            "MDAyMWxvY2F0aW9uIGh0dHA6Ly9hdXRoLm15YmFuay8KMDAzN2lkZW50aWZpZXIgdGhpcyB3YXMgaG93IHdlIHJlbWluZCBhdXRoIG9mIGtleS9wcmVkCjAwMjBjaWQgdGltZSA8IDIwMTUtMDEtMDFUMDA6MDAKMDAyZnNpZ25hdHVyZSCCqAaB-fMtQZrxL2pxeHobrDqxmd-TTtlQ3fIMJayMZQo",
            "MDAyMWxvY2F0aW9uIGh0dHA6Ly9hdXRoLm15YmFuay8KMDAzN2lkZW50aWZpZXIgdGhpcyB3YXMgaG93IHdlIHJlbWluZCBhdXRoIG9mIGtleS9wcmVkCjAwMjBjaWQgdGltZSA8IDIwMTUtMDEtMDFUMDA6MDAKMDAyZnNpZ25hdHVyZSBx596x1_22nMzI1-7WKy26myC28C1we11zL7lZ8To8Nwo",
        ],
        [
            "AgEOaHR0cDovL215YmFuay8CHHdlIHVzZWQgb3VyIG90aGVyIHNlY3JldCBrZXkAAhRhY2NvdW50ID0gMzczNTkyODU1OQABE2h0dHA6Ly9hdXRoLm15YmFuay8CJ3RoaXMgd2FzIGhvdyB3ZSByZW1pbmQgYXV0aCBvZiBrZXkvcHJlZARITiyDjeuZLyrqR0qCkyN1c4qvoxeOaBjbAZjPXI7SQgMZdGoq5xTIVOVoxv7rfzNsKpgLVT5PN_wBHGSN512byhlWNmycwTN_AAAGIFPuZXeM2aQPm2YcSw9e_fO7M3ZBs25gnwMIowTDLKsX",
            "AgETaHR0cDovL2F1dGgubXliYW5rLwIndGhpcyB3YXMgaG93IHdlIHJlbWluZCBhdXRoIG9mIGtleS9wcmVkAAIXdGltZSA8IDIwMTUtMDEtMDFUMDA6MDAAAAYggqgGgfnzLUGa8S9qcXh6G6w6sZnfk07ZUN3yDCWsjGU",
            "AgETaHR0cDovL2F1dGgubXliYW5rLwIndGhpcyB3YXMgaG93IHdlIHJlbWluZCBhdXRoIG9mIGtleS9wcmVkAAIXdGltZSA8IDIwMTUtMDEtMDFUMDA6MDAAAAYgtpElbZIlU-t8dR8ovw5eS_PXNtySXkCJlbyfeQ2KRMw",
        ],
    ];

    #[test]
    fn a_discharge_is_bound_as_the_reference_does() {
        for [root, discharge, bound] in VECTORS {
            let root = Macaroon::parse(root).expect("the root");
            let discharge = Macaroon::parse(discharge).expect("the discharge");
            assert_eq!(discharge.bound_to(&root).as_str(), bound);
            assert_eq!(root.caveats().collect::<Vec<_>>(), ["account = 3735928559"]);
            assert_eq!(discharge.caveats().collect::<Vec<_>>(), ["time < 2015-01-01T00:00"]);
            assert_eq!(format!("{root:?}"), "Macaroon { .. }");
        }
    }

    #[test]
    fn both_alphabets_and_padding_are_read() {
        for [root, ..] in VECTORS {
            let other = root.replace('-', "+").replace('_', "/");
            let padded = format!("{other}{}", "=".repeat((4 - other.len() % 4) % 4));
            for text in [other, padded] {
                let read = Macaroon::parse(&text).expect("another spelling");
                assert_eq!(read.bytes, Macaroon::parse(root).expect("the root").bytes);
            }
        }
    }

    #[test]
    fn damage_anywhere_is_no_macaroon() {
        for vector in VECTORS.concat() {
            let bytes = general_purpose::URL_SAFE_NO_PAD.decode(vector).expect("base64");
            for length in 0..bytes.len() {
                let cut = general_purpose::URL_SAFE_NO_PAD.encode(&bytes[..length]);
                assert!(Macaroon::parse(&cut).is_err(), "{length} bytes");
            }
            let longer = general_purpose::URL_SAFE_NO_PAD.encode([&bytes[..], b"\0"].concat());
            assert!(Macaroon::parse(&longer).is_err());
        }
        let long = "A".repeat(2 * LARGEST + 1);
        for text in ["", "x", "{}", "ä", "type: account", long.as_str()] {
            assert!(Macaroon::parse(text).is_err(), "{text}");
        }
        for bytes in [&b"0000"[..], b"0004", b"000aa b\n", b"ffffidentifier x\n", b"0014identifier abc\n"] {
            assert!(Macaroon::parse(&general_purpose::URL_SAFE_NO_PAD.encode(bytes)).is_err());
        }
    }
}
