//! The keys that sign receipts and parcels.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ParcelError;

/// Length of a signature in bytes.
pub(super) const SIGNATURE: usize = 64;

/// A public key, written as 43 characters of base64url.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this key signed these bytes for this purpose.
    #[must_use]
    pub fn signed(&self, purpose: &str, bytes: &[u8], signature: &[u8]) -> bool {
        let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(&self.0), Signature::from_slice(signature))
        else {
            return false;
        };
        key.verify_strict(&with_purpose(purpose, bytes), &signature).is_ok()
    }
}

/// What is signed: a signature for one purpose never passes for another.
fn with_purpose(purpose: &str, bytes: &[u8]) -> Vec<u8> {
    [b"airlock ", purpose.as_bytes(), b"\0", bytes].concat()
}

impl FromStr for PublicKey {
    type Err = ParcelError;

    fn from_str(text: &str) -> Result<Self, ParcelError> {
        let mut key = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut key) {
            Ok(32) => Ok(Self(key)),
            _ => Err(ParcelError::Kind("a key of 43 letters, digits, dashes and underscores")),
        }
    }
}

impl TryFrom<String> for PublicKey {
    type Error = ParcelError;

    fn try_from(text: String) -> Result<Self, ParcelError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A key that signs.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of 32 secret bytes.
    #[must_use]
    pub fn of(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs bytes for a purpose.
    #[must_use]
    pub fn sign(&self, purpose: &str, bytes: &[u8]) -> [u8; SIGNATURE] {
        self.0.sign(&with_purpose(purpose, bytes)).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public())
    }
}

/// The file by which a site learns to trust a sender: one line, `airlock-sender KEY NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderFile {
    /// What people call the sender.
    pub name: String,
    /// Its key.
    pub key: PublicKey,
}

impl SenderFile {
    /// The first word of the file.
    pub const WORD: &str = "airlock-sender";

    /// Whether this can be the name of a sender.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        (1..=40).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`ParcelError::Kind`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParcelError> {
        let no = || ParcelError::Kind("the file of a sender, which `proxy sender show` prints");
        let text = std::str::from_utf8(bytes).map_err(|_| no())?;
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [Self::WORD, key, name] if Self::is_name(name) => {
                Ok(Self { name: name.to_owned(), key: key.parse().map_err(|_| no())? })
            }
            _ => Err(no()),
        }
    }
}

impl fmt::Display for SenderFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", Self::WORD, self.key, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_counts_for_its_bytes_its_purpose_and_its_key() {
        let key = SecretKey::of(&[7; 32]);
        let signature = key.sign("receipt", b"text");
        assert!(key.public().signed("receipt", b"text", &signature));
        assert!(!key.public().signed("parcel", b"text", &signature));
        assert!(!key.public().signed("receipt", b"texT", &signature));
        assert!(!key.public().signed("receipt", b"text", &signature[1..]));
        assert!(!SecretKey::of(&[8; 32]).public().signed("receipt", b"text", &signature));
    }

    #[test]
    fn the_file_of_a_sender_is_one_line() {
        let file = SenderFile { name: "harbour-1".into(), key: SecretKey::of(&[7; 32]).public() };
        assert_eq!(SenderFile::parse(format!("{file}\n").as_bytes()).as_ref(), Ok(&file));
        for bad in ["", "airlock-sender", "airlock-sender x harbour", &format!("{file} more"), "\u{fffd}"] {
            assert!(SenderFile::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
