//! Nonces that prove by themselves that this store issued them.
//!
//! ```text
//! base64url( epoch:4 | expiry:8 | random:12 | HMAC-SHA-256 over these, cut to 16 )      54 characters
//! ```
//!
//! The database counts the epoch up. Spent nonces are remembered for the current and the previous epoch, and a nonce
//! of an older epoch is refused for that reason alone: no clock is needed to tell a used nonce from a fresh one.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::SessionKey;

const CLAIM: usize = 4 + 8 + 12;
const MAC: usize = 16;

/// A nonce issued by this store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce {
    /// The database's nonce epoch when it was issued.
    pub epoch: u32,
    /// When it expires, in seconds since 1970.
    pub expires: u64,
    /// Makes it unique.
    pub random: [u8; 12],
}

/// Why a nonce is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NonceError {
    /// The nonce was not issued by this store, or was altered.
    #[error("the nonce was not issued by this store")]
    Foreign,
    /// The nonce has expired.
    #[error("the nonce has expired")]
    Expired,
}

impl Nonce {
    /// The text that a device copies into its request: 48 to 64 characters of `A-Z a-z 0-9 - _`.
    #[must_use]
    pub fn seal(&self, key: &SessionKey) -> String {
        let mut bytes = [0; CLAIM + MAC];
        bytes[..4].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.expires.to_be_bytes());
        bytes[12..CLAIM].copy_from_slice(&self.random);
        let tag = hmac::sign(&key.nonce, &bytes[..CLAIM]);
        bytes[CLAIM..].copy_from_slice(&tag.as_ref()[..MAC]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Opens a nonce that was sealed by one of `keys`, issued in `epoch` or the one before, and is valid at `now`. A
    /// later epoch is accepted too: another server started it, and the database, which is asked last, knows whether
    /// that is true.
    pub fn open(text: &str, keys: &[SessionKey], epoch: u32, now: u64) -> Result<Self, NonceError> {
        let bytes: [u8; CLAIM + MAC] = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(NonceError::Foreign)?;
        let (claim, mac) = bytes.split_at(CLAIM);
        let ours = |key: &SessionKey| {
            verify_slices_are_equal(&hmac::sign(&key.nonce, claim).as_ref()[..MAC], mac).is_ok()
        };
        if !keys.iter().any(ours) {
            return Err(NonceError::Foreign);
        }
        let mut nonce = Self { epoch: 0, expires: 0, random: [0; 12] };
        nonce.epoch = claim[..4].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        nonce.expires = claim[4..12].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        nonce.random.copy_from_slice(&claim[12..]);
        if nonce.expires <= now || nonce.epoch < epoch.saturating_sub(1) {
            return Err(NonceError::Expired);
        }
        Ok(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_and_only_ours() {
        let key = SessionKey::new(&[1; 32]);
        let nonce = Nonce { epoch: 7, expires: 1000, random: [9; 12] };
        let text = nonce.seal(&key);
        assert!((16..=64).contains(&text.len()), "{}", text.len());
        let keys = [key];
        assert_eq!(Nonce::open(&text, &keys, 7, 999), Ok(nonce));
        assert_eq!(Nonce::open(&text, &keys, 8, 999), Ok(nonce));
        assert_eq!(Nonce::open(&text, &keys, 9, 999), Err(NonceError::Expired));
        assert_eq!(Nonce::open(&text, &keys, 6, 999), Ok(nonce), "another server turned the epoch");
        assert_eq!(Nonce::open(&text, &keys, 7, 1000), Err(NonceError::Expired));
        let large = Nonce { epoch: 0x0102_0304, expires: 0x0102_0304_0506_0708, random: [9; 12] };
        assert_eq!(Nonce::open(&large.seal(&keys[0]), &keys, 0x0102_0304, 999), Ok(large));
        let others = [SessionKey::new(&[2; 32])];
        assert_eq!(Nonce::open(&text, &others, 7, 999), Err(NonceError::Foreign));
        let raw = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for bit in 0..raw.len() * 8 {
            let mut altered = raw.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let altered = URL_SAFE_NO_PAD.encode(altered);
            assert_eq!(Nonce::open(&altered, &keys, 7, 0), Err(NonceError::Foreign), "bit {bit}");
        }
        for bad in ["", "x", "1788250000:837261", &text[1..], &format!("{text}=")] {
            assert_eq!(Nonce::open(bad, &keys, 7, 0), Err(NonceError::Foreign), "{bad}");
        }
    }
}
