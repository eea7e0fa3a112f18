//! The token that a device sends with every request: PASETO v4.public.
//!
//! ```text
//! v4.public.<payload and Ed25519 signature, base64url>.<key id, base64url>
//! ```
//!
//! The payload is JSON and can be read by anyone; the signature covers it together with the header and
//! the key id. Ed25519 is deterministic: the same claims make the same token, byte for byte.
//! Source: the PASETO specification, version 4, purpose public.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _};
use serde::{Deserialize, Serialize};

use super::SessionKey;
use crate::store::{DeviceId, StoreId};

const HEADER: &str = "v4.public.";
const SIGNATURE: usize = 64;
/// Longest token that is examined; real ones are far shorter.
const LONGEST: usize = 4096;

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The device's identity.
    pub device: DeviceId,
    /// The store named by the model; `None` for the global one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub store: Option<StoreId>,
    /// Whether model and serial were verified with imported keys. If not, the brand was unknown.
    pub verified: bool,
    /// Seconds since 1970 when it was issued.
    pub issued: u64,
    /// When it expires, in seconds since 1970.
    pub expires: u64,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The text is not a token of this kind.
    #[error("the session was not issued by this store")]
    Malformed,
    /// The signing key is not accepted, or no longer.
    #[error("the session was signed by a key that this store does not accept")]
    UnknownKey,
    /// The token was altered or forged.
    #[error("the session's signature does not verify")]
    Signature,
    /// The token has expired, or was issued more than its lifetime in the future.
    #[error("the session has expired")]
    Expired,
}

impl Session {
    /// Signs the claims.
    #[must_use]
    pub fn seal(&self, key: &SessionKey) -> String {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        let signature = key.signing.sign(&pre_authentication(&bytes, key.id().as_bytes()));
        bytes.extend_from_slice(&signature.to_bytes());
        format!("{HEADER}{}.{}", URL_SAFE_NO_PAD.encode(bytes), URL_SAFE_NO_PAD.encode(key.id()))
    }
}

/// The key id that a token claims; unverified.
#[must_use]
pub fn key_id(token: &str) -> Option<String> {
    let (_, footer) = token.strip_prefix(HEADER)?.split_once('.')?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(footer).ok()?).ok()
}

/// Opens a token that was signed by one of `keys` and is valid at `now` (seconds since 1970).
///
/// If the clock is set back by more than the token's lifetime, the token expires too. The device then gets a new one,
/// and no token outlives its lifetime because of a wrong clock.
pub fn open(token: &str, keys: &[SessionKey], now: u64) -> Result<Session, TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::Malformed);
    }
    let (body, footer) =
        token.strip_prefix(HEADER).and_then(|rest| rest.split_once('.')).ok_or(TokenError::Malformed)?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed);
    let (body, footer) = (decode(body)?, decode(footer)?);
    let key = keys.iter().find(|key| key.id().as_bytes() == footer).ok_or(TokenError::UnknownKey)?;
    let (payload, signature) = body.split_last_chunk::<SIGNATURE>().ok_or(TokenError::Malformed)?;
    key.verifying()
        .verify_strict(&pre_authentication(payload, &footer), &Signature::from_bytes(signature))
        .map_err(|_| TokenError::Signature)?;
    let session: Session = serde_json::from_slice(payload).map_err(|_| TokenError::Malformed)?;
    let lifetime = session.expires.saturating_sub(session.issued);
    if now >= session.expires || session.issued > now.saturating_add(lifetime) {
        return Err(TokenError::Expired);
    }
    Ok(session)
}

/// The specification's pre-authentication encoding of header, payload, footer and (empty) assertion.
fn pre_authentication(payload: &[u8], footer: &[u8]) -> Vec<u8> {
    let pieces = [HEADER.as_bytes(), payload, footer, b""];
    let mut out = Vec::with_capacity(64 + payload.len() + footer.len());
    out.extend_from_slice(&(pieces.len() as u64).to_le_bytes());
    for piece in pieces {
        out.extend_from_slice(&(piece.len() as u64).to_le_bytes());
        out.extend_from_slice(piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            device: "acme/gateway/GW-1".parse().unwrap(),
            store: Some("acme-store".parse().unwrap()),
            verified: true,
            issued: 1000,
            expires: 2000,
        }
    }

    #[test]
    fn the_same_claims_make_the_same_token() {
        let key = SessionKey::new(&[1; 32]);
        let token = session().seal(&key);
        assert_eq!(token, session().seal(&key));
        assert!(token.len() < 600, "{}", token.len());
        assert!(token.bytes().all(|b| b.is_ascii_graphic() && b != b'"'));
        assert_eq!(key_id(&token).as_deref(), Some(key.id()));
        assert_eq!((key_id("v4.public.AAAA"), key_id("x")), (None, None));
        assert_eq!(open(&token, &[key], 1999), Ok(session()));
    }

    #[test]
    fn time_ends_a_token_whichever_way_the_clock_was_set() {
        let keys = [SessionKey::new(&[1; 32])];
        let token = session().seal(&keys[0]);
        assert_eq!(open(&token, &keys, 2000), Err(TokenError::Expired));
        assert_eq!(open(&token, &keys, 0), Ok(session()));
        let late = Session { issued: 5000, expires: 6000, ..session() }.seal(&keys[0]);
        assert_eq!(open(&late, &keys, 3999), Err(TokenError::Expired));
    }

    #[test]
    fn no_altered_or_foreign_token_opens() {
        let keys = [SessionKey::new(&[1; 32])];
        let token = session().seal(&keys[0]);
        let body = token[HEADER.len()..].split('.').next().unwrap();
        let raw = URL_SAFE_NO_PAD.decode(body).unwrap();
        let footer = token.rsplit('.').next().unwrap();
        for bit in 0..raw.len() * 8 {
            let mut altered = raw.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let altered = format!("{HEADER}{}.{footer}", URL_SAFE_NO_PAD.encode(altered));
            assert_eq!(open(&altered, &keys, 1500), Err(TokenError::Signature), "bit {bit}");
        }
        for cut in 0..token.len() {
            assert!(open(&token[..cut], &keys, 1500).is_err(), "cut at {cut}");
        }
        let other = [SessionKey::new(&[2; 32])];
        assert_eq!(open(&token, &other, 1500), Err(TokenError::UnknownKey));
        // Another key under the same id: the id is only a hint.
        let lying =
            format!("{}.{}", &token[..token.rfind('.').unwrap()], URL_SAFE_NO_PAD.encode(other[0].id()));
        assert_eq!(open(&lying, &other, 1500), Err(TokenError::Signature));
        let longer = format!("{token}{}", "A".repeat(LONGEST));
        assert_eq!(open(&longer, &keys, 1500), Err(TokenError::Malformed));
    }

    /// Vector 4-S-1 of the PASETO test vectors: the encoding that is signed is the standard's.
    #[test]
    fn the_signed_encoding_is_the_standards() {
        let secret: [u8; 32] = [
            0xb4, 0xcb, 0xfb, 0x43, 0xdf, 0x4c, 0xe2, 0x10, 0x72, 0x7d, 0x95, 0x3e, 0x4a, 0x71, 0x33, 0x07,
            0xfa, 0x19, 0xbb, 0x7d, 0x9f, 0x85, 0x04, 0x14, 0x38, 0xd9, 0xe1, 0x1b, 0x94, 0x2a, 0x37, 0x74,
        ];
        let payload = br#"{"data":"this is a signed message","exp":"2022-01-01T00:00:00+00:00"}"#;
        let signature =
            ed25519_dalek::SigningKey::from_bytes(&secret).sign(&pre_authentication(payload, b""));
        let mut body = payload.to_vec();
        body.extend_from_slice(&signature.to_bytes());
        assert_eq!(
            format!("{HEADER}{}", URL_SAFE_NO_PAD.encode(body)),
            "v4.public.eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIiwiZXhwIjoiMjAyMi0wMS0wMVQwMDowMDowMCswMDowMCJ9\
             bg_XBBzds8lTZShVlwwKSgeKpLT3yukTw6JUz3W4h_ExsQV-P0V54zemZDcAxFaSeef1QlXEFtkqxT1ciiQEDA"
        );
    }
}
