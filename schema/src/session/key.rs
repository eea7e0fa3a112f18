//! The keys derived from one 32-byte secret.

use std::fmt;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{SigningKey, VerifyingKey};

/// The keys derived from `proxy.device-auth.secret`: one for tokens, one for nonces, one for cohorts.
///
/// Each use has its own derived key, so a value made for one never passes for the other.
#[derive(Clone)]
pub struct SessionKey {
    id: String,
    pub(super) signing: SigningKey,
    pub(super) nonce: hmac::Key,
    pub(super) cohort: hmac::Key,
}

impl SessionKey {
    /// Derives the keys.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(&derive(secret, b"airlock device session v1"));
        let nonce = hmac::Key::new(hmac::HMAC_SHA256, &derive(secret, b"airlock session nonce v1"));
        let cohort = hmac::Key::new(hmac::HMAC_SHA256, &derive(secret, b"airlock cohort v1"));
        let print = digest::digest(&digest::SHA256, signing.verifying_key().as_bytes());
        let id = URL_SAFE_NO_PAD.encode(&print.as_ref()[..12]);
        Self { id, signing, nonce, cohort }
    }

    /// Identifies the secret without revealing it: 16 characters, derived from the public key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn verifying(&self) -> VerifyingKey {
        self.signing.verifying_key()
    }
}

fn derive(secret: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose);
    let mut key = [0; 32];
    key.copy_from_slice(tag.as_ref());
    key
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({})", self.id)
    }
}
