//! Signatures: an OpenPGP version 4 packet with an RSA PKCS#1 v1.5 value over SHA-512.
//!
//! ```text
//! H       = 04 00 01 0A | len | hashed area        version, binary document, RSA, SHA-512
//! packet  = H | len | unhashed area | first two bytes of the digest | RSA value
//! digest  = SHA-512( content | H | 04 FF | length of H )
//! ```
//!
//! Nothing in the areas affects a decision, but their shape is checked. The RSA value may be shorter than the key, or
//! declare leading zero bits: both occur in the field. See `schema/docs/assertions.md#signatures`.

use aws_lc_rs::digest::{Context, Digest, SHA512};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents};

use super::key::{PublicKey, WeakKey};
use super::packet::{self, PacketError, Tag};

/// Version 4, binary document, RSA, SHA-512: the only kind of signature that is accepted.
pub(super) const HEADER: [u8; 4] = [4, 0, 1, 10];

/// Subpacket with the creation time of the signature.
pub(super) const CREATION_TIME: u8 = 2;

/// Subpacket with the short name of the signing key.
const ISSUER: u8 = 16;

/// Why a signature does not prove that a key signed the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The container around the signature is malformed.
    #[error("cannot read the signature packet")]
    Packet(#[from] PacketError),
    /// Version, type, algorithm or hash is not the accepted one.
    #[error("the signature is not RSA with SHA-512 over a binary document")]
    Kind,
    /// A length inside the packet leads past its end, or something follows the RSA value.
    #[error("the signature packet is malformed")]
    Malformed,
    /// The subpackets are malformed, name a critical feature that is unknown, or lack the creation time.
    #[error("the subpackets of the signature are not acceptable")]
    Subpackets,
    /// The key is too weak or malformed to be used.
    #[error("cannot verify with this key")]
    Key(#[from] WeakKey),
    /// The signature was not made by this key over this content.
    #[error("the signature does not match the content")]
    Mismatch,
}

impl PublicKey {
    /// Checks that `signature_text` is a signature of this key over `content`. The shape of the signature and the
    /// strength of the key are checked before any arithmetic is done.
    ///
    /// # Errors
    /// [`SignatureError`]; nothing is proven about the content then.
    pub fn verify(&self, content: &[u8], signature_text: &str) -> Result<(), SignatureError> {
        self.check_strength()?;
        let raw = packet::decode_text(signature_text)?;
        let signature = Signature::parse(packet::unwrap(Tag::Signature, &raw)?)?;
        let (n, e) = self.numbers();
        let padding = n.len().checked_sub(signature.value.len()).ok_or(SignatureError::Mismatch)?;
        let digest = digest(content, signature.hashed);
        if digest.as_ref()[..2] != *signature.left {
            return Err(SignatureError::Mismatch);
        }
        let value = [&vec![0; padding][..], signature.value].concat();
        RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA512)
            .map_err(|_| SignatureError::Mismatch)?
            .verify_digest_sig(&digest, &value)
            .map_err(|_| SignatureError::Mismatch)
    }
}

/// What is signed: the content, the hashed part of the packet, and the trailer.
pub(super) fn digest(content: &[u8], hashed: &[u8]) -> Digest {
    let mut context = Context::new(&SHA512);
    context.update(content);
    context.update(hashed);
    context.update(&trailer(hashed));
    context.finish()
}

pub(super) fn trailer(hashed: &[u8]) -> Vec<u8> {
    [&[4, 0xFF][..], &(hashed.len() as u32).to_be_bytes()].concat()
}

/// The parts of a signature packet.
struct Signature<'a> {
    /// From the version byte to the end of the hashed area.
    hashed: &'a [u8],
    /// The first two bytes of the digest.
    left: &'a [u8],
    /// The RSA value, leading zeros as they came.
    value: &'a [u8],
}

impl<'a> Signature<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, SignatureError> {
        let mut rest = body;
        if packet::take(&mut rest, HEADER.len()) != Some(&HEADER) {
            return Err(SignatureError::Kind);
        }
        let area = take_area(&mut rest).ok_or(SignatureError::Malformed)?;
        let hashed = &body[..body.len() - rest.len()];
        let unhashed = take_area(&mut rest).ok_or(SignatureError::Malformed)?;
        let left = packet::take(&mut rest, 2).ok_or(SignatureError::Malformed)?;
        let (_, value) = packet::take_mpi(&mut rest).ok_or(SignatureError::Malformed)?;
        if !rest.is_empty() {
            return Err(SignatureError::Malformed);
        }
        // The creation time must be present, once, and signed; its value does not matter.
        if count_times(area) != Some(1) || count_times(unhashed) != Some(0) {
            return Err(SignatureError::Subpackets);
        }
        Ok(Self { hashed, left, value })
    }
}

fn take_area<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = packet::take_u16(rest)?;
    packet::take(rest, usize::from(length))
}

/// How many creation times an area holds; `None` when it is not a list of acceptable subpackets.
fn count_times(mut area: &[u8]) -> Option<usize> {
    let mut times = 0;
    while !area.is_empty() {
        let length = take_subpacket_length(&mut area)?;
        let (kind, data) = packet::take(&mut area, length)?.split_first()?;
        let critical = kind & 0x80 != 0;
        match (kind & 0x7F, data.len()) {
            (CREATION_TIME, 4) => times += 1,
            (ISSUER, 8) => {}
            (CREATION_TIME | ISSUER, _) => return None,
            _ if critical => return None,
            _ => {}
        }
    }
    Some(times)
}

fn take_subpacket_length(area: &mut &[u8]) -> Option<usize> {
    let first = packet::take(area, 1)?[0];
    match first {
        0..192 => Some(usize::from(first)),
        192..255 => {
            let second = packet::take(area, 1)?[0];
            Some((usize::from(first - 192) << 8) + usize::from(second) + 192)
        }
        255 => {
            let bytes = packet::take(area, 4)?;
            usize::try_from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A non-critical subpacket of `size` bytes including its type, after a length of one, two or five bytes.
    fn unknown(length: &[u8], size: usize) -> Vec<u8> {
        [length, &[100], &vec![0; size - 1]].concat()
    }

    #[test]
    fn subpackets_are_taken_apart_to_the_byte() {
        const TIME: [u8; 6] = [5, CREATION_TIME, 0, 0, 0, 0];
        let with_time = |before: &[u8]| count_times(&[before, &TIME].concat());
        assert_eq!((count_times(&[]), with_time(&[]), with_time(&TIME)), (Some(0), Some(1), Some(2)));
        for (length, size) in [
            (&[1][..], 1),
            (&[191], 191),
            (&[192, 0], 192),
            (&[192, 255], 447),
            (&[193, 0], 448),
            (&[254, 255], 16_319),
            (&[255, 0, 0, 0, 200], 200),
            (&[255, 0, 1, 0, 1], 65_537),
        ] {
            assert_eq!(with_time(&unknown(length, size)), Some(1), "{length:?}");
            assert_eq!(
                count_times(&unknown(length, size)[..length.len() + size - 1]),
                None,
                "{length:?} cut"
            );
        }
        for (bad, why) in [
            (&[4, CREATION_TIME, 0, 0, 0][..], "a time of three bytes"),
            (&[5, ISSUER, 0, 0, 0, 0], "an issuer of four bytes"),
            (&[1, 0x80 | 100], "critical and unknown"),
            (&[0], "without a kind"),
        ] {
            assert_eq!(with_time(bad), None, "{why}");
        }
        assert_eq!(with_time(&[&[9, ISSUER][..], &[7; 8]].concat()), Some(1));
    }
}
