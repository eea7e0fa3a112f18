//! What a key signs when it is not in this process: the bytes of a signature packet, before and after.

use aws_lc_rs::digest::{Digest, SHA512};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents};

use super::key::PublicKey;
use super::packet::{self, Tag};
use super::signature::{self, CREATION_TIME, HEADER};

/// `DigestInfo` of SHA-512 up to the digest, in DER.
const SHA512_INFO: [u8; 19] =
    [0x30, 0x51, 0x30, 0x0D, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3, 5, 0, 4, 0x40];

/// The signature of a document, but for the RSA value.
pub struct Unsigned<'a> {
    content: &'a [u8],
    /// From the version byte to the end of the hashed area.
    hashed: Vec<u8>,
    digest: Digest,
}

impl<'a> Unsigned<'a> {
    /// A signature over `content`. `creation_time` (seconds since 1970) goes into the packet, where nothing reads it.
    #[must_use]
    pub fn new(content: &'a [u8], creation_time: u32) -> Self {
        let mut hashed = HEADER.to_vec();
        hashed.extend([0, 6, 5, CREATION_TIME]);
        hashed.extend(creation_time.to_be_bytes());
        let digest = signature::digest(content, &hashed);
        Self { content, hashed, digest }
    }

    /// The digest that is signed.
    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What the digest is of: for a key whose holder hashes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        [self.content, &self.hashed, &signature::trailer(&self.hashed)].concat()
    }

    /// The digest as PKCS#1 v1.5 pads it: for a key whose holder only pads.
    #[must_use]
    pub fn digest_info(&self) -> Vec<u8> {
        [&SHA512_INFO[..], self.digest.as_ref()].concat()
    }

    /// The signature text with the RSA value, without a final line feed. The value is not checked.
    #[must_use]
    pub fn text(&self, value: &[u8]) -> String {
        let bits = u16::try_from(8 * value.len()).unwrap_or(u16::MAX);
        let digest = &self.digest.as_ref()[..2];
        let packet = [&self.hashed, &[0, 0][..], digest, &bits.to_be_bytes(), value].concat();
        packet::encode_text(&packet::wrap(Tag::Signature, &packet))
    }
}

/// Whether this is a SHA-512 digest in its `DigestInfo`.
#[must_use]
pub fn is_sha512_info(info: &[u8]) -> bool {
    digest_in(info).is_some()
}

/// The SHA-512 digest in a `DigestInfo`; `None` if it is something else.
pub(super) fn digest_in(info: &[u8]) -> Option<&[u8]> {
    info.strip_prefix(&SHA512_INFO).filter(|digest| digest.len() == 64)
}

impl PublicKey {
    /// Whether `value` is the RSA value of this key over a SHA-512 digest in its `DigestInfo`.
    #[must_use]
    pub fn verify_digest_info(&self, info: &[u8], value: &[u8]) -> bool {
        let digest = digest_in(info).and_then(|digest| Digest::import_less_safe(digest, &SHA512).ok());
        let (n, e) = self.numbers();
        let key = RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA512);
        digest.zip(key.ok()).is_some_and(|(digest, key)| key.verify_digest_sig(&digest, value).is_ok())
    }
}
