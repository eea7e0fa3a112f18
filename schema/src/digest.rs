//! SHA3-384, the digest that names blobs, snaps and keys.
//!
//! The same 48 bytes are written in two ways: base64url without padding (64 characters) in assertions, lower case
//! hexadecimal (96 characters) in the store API. The function is the one of FIPS 202, not the older Keccak.

use std::fmt;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;

/// A SHA3-384 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha3_384(pub [u8; Sha3_384::LEN]);

/// Hashes everything read through it.
pub struct Hashed<R> {
    inner: R,
    hash: aws_lc_rs::digest::Context,
}

impl<R: Read> Hashed<R> {
    /// Starts with an empty hash.
    pub fn new(inner: R) -> Self {
        Self { inner, hash: aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA3_384) }
    }

    /// The digest of everything read.
    #[must_use]
    pub fn finish(self) -> Sha3_384 {
        let mut out = [0; Sha3_384::LEN];
        out.copy_from_slice(self.hash.finish().as_ref());
        Sha3_384(out)
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.hash.update(&buf[..count]);
        Ok(count)
    }
}

/// Why a text is not a SHA3-384 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// Not 96 lower case hexadecimal digits.
    #[error("a SHA3-384 digest must be 96 lower case hexadecimal digits")]
    Hex,
    /// Not 64 characters of base64url.
    #[error("a SHA3-384 digest must be 64 characters of base64url without padding")]
    Base64Url,
}

impl Sha3_384 {
    /// Length of the digest in bytes.
    pub const LEN: usize = 48;

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA3_384, bytes);
        let mut out = [0; Self::LEN];
        out.copy_from_slice(digest.as_ref());
        Self(out)
    }

    /// The digest of several texts, each followed by a zero byte, so that none can pass into the next.
    #[must_use]
    pub fn of_parts<const N: usize>(parts: [&[u8]; N]) -> Self {
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA3_384);
        for part in parts {
            hash.update(part);
            hash.update(&[0]);
        }
        let mut out = [0; Self::LEN];
        out.copy_from_slice(hash.finish().as_ref());
        Self(out)
    }

    /// Reads 96 lower case hexadecimal digits.
    ///
    /// # Errors
    /// [`DigestError::Hex`] for anything else, upper case digits included.
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| DigestError::Hex)?;
        Ok(Self(bytes.try_into().map_err(|_| DigestError::Hex)?))
    }

    /// The digest as 96 lower case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// Reads 64 characters of base64url without padding.
    ///
    /// # Errors
    /// [`DigestError::Base64Url`] for another length or alphabet.
    pub fn from_base64url(text: &str) -> Result<Self, DigestError> {
        let mut out = [0; Self::LEN];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut out) {
            Ok(Self::LEN) => Ok(Self(out)),
            _ => Err(DigestError::Base64Url),
        }
    }

    /// The digest as 64 characters of base64url without padding.
    #[must_use]
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// Bytes as lower case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Prints the form that assertions use.
impl fmt::Display for Sha3_384 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64url())
    }
}

impl fmt::Debug for Sha3_384 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha3_384({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digest of no bytes at all.
    const EMPTY: &str = "DGOnW4ReT30BEH2FLkwkhcUaUKqqlPxhmV5xu-6YOirDcTgxJkrbR_tr0eBY1fAE";

    #[test]
    fn both_spellings_name_the_same_digest() {
        let digest = Sha3_384::of(b"");
        assert_eq!(digest.to_base64url(), EMPTY);
        assert_eq!(Sha3_384::from_base64url(EMPTY), Ok(digest));
        assert_eq!(digest.to_hex().len(), 96);
        assert_eq!(Sha3_384::from_hex(&digest.to_hex()), Ok(digest));
        assert!(digest.to_hex().starts_with("0c63a75b845e4f7d"));
    }

    #[test]
    fn other_spellings_are_refused() {
        let hex = Sha3_384::of(b"").to_hex();
        for text in ["", &hex[1..], &hex.to_uppercase(), &format!("{hex}00"), &hex.replace('c', "g")] {
            assert_eq!(Sha3_384::from_hex(text), Err(DigestError::Hex), "{text}");
        }
        let padded = format!("{EMPTY}=");
        for text in ["", &EMPTY[4..], &padded, &EMPTY.replace('-', "+"), "DGOnW4ReT30B\nEH2F"] {
            assert_eq!(Sha3_384::from_base64url(text), Err(DigestError::Base64Url), "{text}");
        }
    }
}
