//! Private keys at rest: sealed with a key derived from `proxy.signing.secret`, and bound to what they are for.
//!
//! ```text
//! sealed = base64( nonce:12 | AES-256-GCM( PKCS#8 in PEM form ) | tag:16 )      with the label as associated data
//! ```
//!
//! A sealed key opens only under its own label. So whoever can change the database cannot turn a key for serials into one
//! for something else, or let it sign for another account.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Serial assertions.
    Serial,
    /// Users of single devices.
    SystemUser,
    /// Validation sets of its account.
    ValidationSet,
    /// Models, and whatever else a tool outside hashes.
    Model,
}

impl Purpose {
    /// The purpose as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::SystemUser => "system-user",
            Self::ValidationSet => "validation-set",
            Self::Model => "model",
        }
    }

    /// What such keys sign, for people.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Serial => "serials",
            Self::SystemUser => "users",
            Self::ValidationSet => "validation sets",
            Self::Model => "models",
        }
    }
}

/// What a sealed key is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// The account that it signs for.
    pub account: String,
    /// What it may sign.
    pub purpose: Purpose,
}

impl Label {
    fn bytes(&self) -> Vec<u8> {
        // None of the parts holds a NUL.
        let parts = ["airlock signing key v1", &self.name, &self.account, self.purpose.as_str()];
        parts.join("\0").into_bytes()
    }
}

/// The secret for what is sealed of keys on tokens: whoever knows it, like the process that a vendor's library runs in, opens
/// no sealed key.
#[must_use]
pub fn secret_for_tokens(secret: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"airlock signing tokens v1");
    let mut own = Zeroizing::new([0; 32]);
    own.copy_from_slice(derived.as_ref());
    own
}

/// Seals and opens private keys.
pub struct SealingKey {
    id: String,
    aead: RandomizedNonceKey,
}

/// Why a sealed key does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was sealed with another proxy.signing.secret, under another label, or was altered")]
pub struct OpenError;

impl SealingKey {
    /// Derives the key; `None` if the crypto library refuses, which it does for no secret of this length.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Option<Self> {
        let derive = |purpose: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose);
        let print = digest::digest(&digest::SHA256, derive(b"airlock signing id v1").as_ref());
        let aead = RandomizedNonceKey::new(&AES_256_GCM, derive(b"airlock signing seal v1").as_ref()).ok()?;
        Some(Self { id: URL_SAFE_NO_PAD.encode(&print.as_ref()[..12]), aead })
    }

    /// Identifies the secret without revealing it: 16 characters.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals a text; `None` if the system has no randomness.
    #[must_use]
    pub fn seal(&self, label: &Label, text: &str) -> Option<String> {
        let mut sealed = text.as_bytes().to_vec();
        let nonce = self.aead.seal_in_place_append_tag(Aad::from(label.bytes()), &mut sealed).ok()?;
        Some(STANDARD.encode([&nonce.as_ref()[..], &sealed].concat()))
    }

    /// Opens what was sealed under this label.
    ///
    /// # Errors
    /// [`OpenError`] for anything else.
    pub fn open(&self, label: &Label, sealed: &str) -> Result<Zeroizing<String>, OpenError> {
        let bytes = STANDARD.decode(sealed).map_err(|_| OpenError)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or(OpenError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError)?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let open = self.aead.open_in_place(nonce, Aad::from(label.bytes()), &mut text);
        let open = open.map_err(|_| OpenError)?;
        std::str::from_utf8(open).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| OpenError)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str, account: &str) -> Label {
        Label { name: name.to_owned(), account: account.to_owned(), purpose: Purpose::Serial }
    }

    #[test]
    fn only_the_secret_and_the_label_open_it() {
        let key = SealingKey::new(&[1; 32]).expect("a key");
        let other = SealingKey::new(&[2; 32]).expect("a key");
        assert_ne!(key.id(), other.id());
        assert_eq!(key.id().len(), 16);
        let of = label("factory", "acme");
        let sealed = key.seal(&of, "a private key").expect("randomness");
        assert_ne!(key.seal(&of, "a private key").expect("randomness"), sealed, "a nonce of its own");
        assert!(!sealed.contains(&STANDARD.encode("a private")));
        assert_eq!(key.open(&of, &sealed).expect("opens").as_str(), "a private key");
        assert_eq!(other.open(&of, &sealed), Err(OpenError));
        let tokens = SealingKey::new(&secret_for_tokens(&[1; 32])).expect("a key");
        assert_eq!(tokens.open(&of, &sealed), Err(OpenError), "the process of a token");
        for label in [label("factory2", "acme"), label("factory", "bolt"), label("factory\0acme", "")] {
            assert_eq!(key.open(&label, &sealed), Err(OpenError), "{label:?}");
        }
        let raw = STANDARD.decode(&sealed).expect("base64");
        for at in 0..raw.len() {
            let mut altered = raw.clone();
            altered[at] ^= 1;
            assert_eq!(key.open(&of, &STANDARD.encode(altered)), Err(OpenError), "byte {at}");
        }
        for bad in ["", "AAAA", "%"] {
            assert_eq!(key.open(&of, bad), Err(OpenError), "{bad}");
        }
    }
}
