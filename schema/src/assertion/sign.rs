//! Private keys and the canonical encoder: creating assertions in the signer, for tests and for demo stores. See
//! `schema/docs/assertions.md#signatures`.

use std::fmt;

use aws_lc_rs::digest::{Digest, SHA512};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::headers::{HeaderValue, Map, write_entry};
use super::key::{KEY_CREATED, PublicKey};
use super::kind::AssertionType;
use super::packet;
use super::unsigned::{Unsigned, digest_in};
use super::{Assertion, DecodeError};

/// First and last line of a private key file.
const PEM: (&str, &str) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");

/// An RSA private key.
pub struct SigningKey {
    pair: KeyPair,
    public: PublicKey,
}

/// Why a private key cannot be created or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// There is no `PRIVATE KEY` block of base64.
    #[error("cannot find a PKCS#8 private key in PEM form")]
    Pem,
    /// The block holds no acceptable RSA key of 2048 to 8192 bits.
    #[error("cannot use the private key: an RSA key of 2048 to 8192 bits is needed")]
    Rejected,
    /// The requested size is not 2048, 3072, 4096 or 8192 bits.
    #[error("cannot make an RSA key of {0} bits")]
    Size(usize),
    /// The system provided no randomness.
    #[error("cannot generate a key")]
    Generate,
}

impl SigningKey {
    /// Makes a key of 2048, 3072, 4096 or 8192 bits.
    ///
    /// # Errors
    /// [`SigningKeyError::Size`] for other sizes, [`SigningKeyError::Generate`] when the system has no randomness.
    pub fn generate(bits: usize) -> Result<Self, SigningKeyError> {
        let sizes = [KeySize::Rsa2048, KeySize::Rsa3072, KeySize::Rsa4096, KeySize::Rsa8192];
        let size =
            sizes.into_iter().find(|size| size.len() * 8 == bits).ok_or(SigningKeyError::Size(bits))?;
        Self::new(KeyPair::generate(size).map_err(|_| SigningKeyError::Generate)?)
    }

    /// Reads an unencrypted PKCS#8 key in PEM form.
    ///
    /// # Errors
    /// [`SigningKeyError`] when there is no such key, or not an RSA key of an accepted size.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, SigningKeyError> {
        let (_, rest) = pem.split_once(PEM.0).ok_or(SigningKeyError::Pem)?;
        let (text, _) = rest.split_once(PEM.1).ok_or(SigningKeyError::Pem)?;
        let flat: Zeroizing<String> = Zeroizing::new(text.split_ascii_whitespace().collect());
        let der = Zeroizing::new(STANDARD.decode(flat.as_bytes()).map_err(|_| SigningKeyError::Pem)?);
        Self::new(KeyPair::from_pkcs8(&der).map_err(|_| SigningKeyError::Rejected)?)
    }

    /// The key as unencrypted PKCS#8 in PEM form.
    ///
    /// # Errors
    /// [`SigningKeyError::Rejected`] when the key cannot be encoded.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, SigningKeyError> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().map_err(|_| SigningKeyError::Rejected)?;
        let flat = Zeroizing::new(STANDARD.encode(der.as_ref()));
        let mut pem = Zeroizing::new(format!("{}\n", PEM.0));
        for line in flat.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|&byte| char::from(byte)));
            pem.push('\n');
        }
        pem.push_str(PEM.1);
        pem.push('\n');
        Ok(pem)
    }

    fn new(pair: KeyPair) -> Result<Self, SigningKeyError> {
        let (n, e) = read_der_numbers(pair.public_key().as_ref()).ok_or(SigningKeyError::Rejected)?;
        let public = PublicKey::from_numbers(n, e);
        public.check_strength().map_err(|_| SigningKeyError::Rejected)?;
        Ok(Self { pair, public })
    }

    /// The matching public key.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `content` and returns the signature text without a final line feed. `creation_time` (seconds since 1970)
    /// goes into the packet, where nothing reads it.
    ///
    /// # Panics
    /// If the crypto library refuses to sign with a key it accepted before.
    #[must_use]
    pub fn sign(&self, content: &[u8], creation_time: u32) -> String {
        let unsigned = Unsigned::new(content, creation_time);
        unsigned.text(&self.value(unsigned.digest()))
    }

    /// Signs what [`Unsigned::digest_info`] gives, and returns the RSA value: for programs that hash themselves. `None` if it
    /// is something else.
    #[must_use]
    pub fn sign_digest_info(&self, info: &[u8]) -> Option<Vec<u8>> {
        let digest = Digest::import_less_safe(digest_in(info)?, &SHA512).ok()?;
        Some(self.value(&digest))
    }

    fn value(&self, digest: &Digest) -> Vec<u8> {
        let mut value = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign_digest(&RSA_PKCS1_SHA512, digest, &mut value)
            .expect("an accepted RSA key signs a SHA-512 digest");
        value
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id())
    }
}

/// Modulus and exponent of `RSAPublicKey`: a DER sequence of two positive integers.
fn read_der_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = der;
    let mut inner = take_der(&mut outer, 0x30)?;
    let n = take_der(&mut inner, 0x02)?;
    let e = take_der(&mut inner, 0x02)?;
    (outer.is_empty() && inner.is_empty()).then_some(())?;
    Some((n, e))
}

/// The content of one DER element with this tag.
fn take_der<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let head = packet::take(rest, 2)?;
    if head[0] != tag {
        return None;
    }
    let length = match head[1] {
        short @ ..=0x7F => usize::from(short),
        0x82 => usize::from(packet::take_u16(rest)?),
        _ => return None,
    };
    packet::take(rest, length)
}

/// Builds one assertion in canonical form.
///
/// ```
/// # use schema::assertion::{AssertionType, Builder, SigningKey};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = SigningKey::generate(2048)?;
/// let account = Builder::new(AssertionType::Account)
///     .header("authority-id", "acme")
///     .header("account-id", "acme")
///     .header("display-name", "Acme")
///     .header("validation", "unproven")
///     .header("timestamp", "2024-01-01T00:00:00Z")
///     .try_sign(&key)?;
/// assert_eq!(account.text("display-name"), Some("Acme"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    kind: AssertionType,
    headers: Map,
    body: Vec<u8>,
    revision: u32,
    format: u32,
    signed_at: u32,
}

impl Builder {
    /// Starts an assertion without any header.
    #[must_use]
    pub fn new(kind: AssertionType) -> Self {
        Self { kind, headers: Map::new(), body: Vec::new(), revision: 0, format: 0, signed_at: KEY_CREATED }
    }

    /// Sets a header, replacing an earlier value. `type`, `format`, `revision`, `body-length` and
    /// `sign-key-sha3-384` are written by the builder itself.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<HeaderValue>) -> Self {
        self.headers.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the body; an empty body means none.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the revision of the assertion.
    #[must_use]
    pub fn revision(mut self, revision: u32) -> Self {
        self.revision = revision;
        self
    }

    /// Sets the format of the assertion.
    #[must_use]
    pub fn format(mut self, format: u32) -> Self {
        self.format = format;
        self
    }

    /// Sets the creation time of the signature packet, in seconds since 1970.
    #[must_use]
    pub fn signed_at(mut self, creation_time: u32) -> Self {
        self.signed_at = creation_time;
        self
    }

    /// The canonical text that would be signed by a key with this id.
    #[must_use]
    pub fn content(&self, sign_key_id: &str) -> Vec<u8> {
        let mut head = format!("type: {}\n", self.kind);
        let numbered = |head: &mut String, name: &str, value: usize| {
            if value > 0 {
                write_entry(head, name, &value.to_string().into(), 0);
            }
        };
        let mut rest = self.headers.clone();
        numbered(&mut head, "format", self.format as usize);
        if let Some(authority) = rest.remove("authority-id") {
            write_entry(&mut head, "authority-id", &authority, 0);
        }
        numbered(&mut head, "revision", self.revision as usize);
        let (names, defaults) = (self.kind.primary_key(), self.kind.key_defaults());
        for (index, &name) in names.iter().enumerate() {
            let default = (index + defaults.len()).checked_sub(names.len()).map(|index| defaults[index]);
            // A default that was given is written, but down among the other headers.
            if rest.get(name).is_none_or(|value| default.is_some() && value.as_text() == default) {
                continue;
            }
            if let Some(value) = rest.remove(name) {
                write_entry(&mut head, name, &value, 0);
            }
        }
        for (name, value) in &rest {
            write_entry(&mut head, name, value, 0);
        }
        numbered(&mut head, "body-length", self.body.len());
        head.push_str("sign-key-sha3-384: ");
        head.push_str(sign_key_id);
        let mut content = head.into_bytes();
        if !self.body.is_empty() {
            content.extend(b"\n\n");
            content.extend(&self.body);
        }
        content
    }

    /// Signs the assertion.
    ///
    /// # Errors
    /// [`DecodeError`] when the result breaks the rules of its type.
    pub fn try_sign(&self, key: &SigningKey) -> Result<Assertion, DecodeError> {
        let id = key.public().id();
        self.signed(id, &key.sign(&self.content(id), self.signed_at))
    }

    /// The assertion with a signature that the key of this id made elsewhere over [`content`](Self::content). The
    /// signature is not checked: see [`Assertion::verify_with`].
    ///
    /// # Errors
    /// [`DecodeError`] when the result breaks the rules of its type.
    pub fn signed(&self, sign_key_id: &str, signature: &str) -> Result<Assertion, DecodeError> {
        let mut text = self.content(sign_key_id);
        text.extend(b"\n\n");
        text.extend(signature.as_bytes());
        text.push(b'\n');
        Assertion::decode(&text)
    }

    /// Signs an assertion that is known to be well formed, such as a fixed one of a test or demo store.
    ///
    /// # Panics
    /// When the result breaks the rules of its type; use [`try_sign`](Self::try_sign) for headers from outside.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Assertion {
        match self.try_sign(key) {
            Ok(assertion) => assertion,
            Err(error) => panic!("cannot sign {}: {error}: {:?}", self.kind, error.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_in_four_sizes() {
        assert_eq!(SigningKey::generate(2048).map(|key| key.public().bits()), Ok(2048));
        for bits in [0, 1024, 2047, 2056] {
            assert_eq!(SigningKey::generate(bits).err(), Some(SigningKeyError::Size(bits)));
        }
    }

    #[test]
    fn a_signature_from_elsewhere_makes_the_same_document() {
        let key = SigningKey::generate(2048).expect("randomness");
        let request = Builder::new(AssertionType::AccountKeyRequest)
            .header("public-key-sha3-384", key.public().id())
            .header("account-id", "acme")
            .header("name", "factory-1")
            .header("since", "2026-01-01T00:00:00Z")
            .body(key.public().encode())
            .signed_at(7);
        let id = key.public().id();
        let signed = request.signed(id, &key.sign(&request.content(id), 7)).expect("a sound document");
        assert_eq!(signed, request.sign(&key));
        let foreign = request.signed(id, &key.sign(b"other", 7)).expect("decoding checks no signature");
        assert!(foreign.verify_with(key.public()).is_err());
    }

    #[test]
    fn a_key_that_pads_or_hashes_elsewhere_makes_the_same_signature() {
        let key = SigningKey::generate(2048).expect("randomness");
        let unsigned = Unsigned::new(b"type: serial", 7);
        let value = key.sign_digest_info(&unsigned.digest_info()).expect("a digest");
        assert_eq!(unsigned.text(&value), key.sign(b"type: serial", 7));
        let of_bytes = aws_lc_rs::digest::digest(&SHA512, &unsigned.bytes());
        assert!(unsigned.digest_info().ends_with(of_bytes.as_ref()));
        assert!(key.public().verify_digest_info(&unsigned.digest_info(), &value));
        let mut wrong = value.clone();
        wrong[100] ^= 1;
        for wrong in [&wrong[..], &value[1..], b""] {
            assert!(!key.public().verify_digest_info(&unsigned.digest_info(), wrong));
        }
        let der = key.public().to_spki_der();
        let read = aws_lc_rs::signature::ParsedPublicKey::new(
            &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA512,
            &der,
        );
        assert!(read.is_ok_and(|read| read.verify_sig(&unsigned.bytes(), &value).is_ok()), "others read it");
        for other in [&unsigned.digest_info()[1..], &[&unsigned.digest_info()[..], &[0]].concat(), b""] {
            assert_eq!(key.sign_digest_info(other), None);
        }
    }

    #[test]
    fn two_numbers_and_nothing_else() {
        let good = [0x30, 7, 2, 2, 0, 0x85, 2, 1, 3];
        assert_eq!(read_der_numbers(&good), Some((&[0, 0x85][..], &[3][..])));
        assert_eq!(read_der_numbers(&[&good[..], &[0]].concat()), None, "something follows");
        assert_eq!(read_der_numbers(&[0x30, 9, 2, 2, 0, 0x85, 2, 1, 3, 5, 0]), None, "a third value");
        assert_eq!(read_der_numbers(&[0x31, 7, 2, 2, 0, 0x85, 2, 1, 3]), None, "no sequence");
    }
}
