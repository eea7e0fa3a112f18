//! Public keys: RSA keys in a normalised OpenPGP packet, named by its digest.
//!
//! ```text
//! 04  56 85 C1 80  01  | bits n | bits e        version, fixed time, RSA, modulus, exponent
//! id = base64url( SHA3-384( 01 | C6 length | packet body ) )
//! ```
//!
//! The text form is the body of an `account-key` and the value of `device-key` headers. See
//! `schema/docs/assertions.md#keys`.

use std::fmt;

use super::packet::{self, PacketError, Tag};
use crate::digest::Sha3_384;

/// Creation time of every key, 2016-01-01T00:00:00Z.
pub(super) const KEY_CREATED: u32 = 1_451_606_400;

/// Key version 4, creation time, algorithm RSA.
const PREFIX: [u8; 6] = {
    let time = KEY_CREATED.to_be_bytes();
    [4, time[0], time[1], time[2], time[3], 1]
};

/// The algorithm `rsaEncryption`, in DER.
const RSA_ALGORITHM: [u8; 15] = [0x30, 0x0D, 6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1, 5, 0];

/// Sizes of a modulus that may be used for verification, in bits.
const STRONG_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Highest exponent that may be used for verification. Verifying costs one modular multiplication per bit; every
/// known producer uses 65537 or a smaller number.
const MAX_EXPONENT: u32 = 65_537;

/// An RSA public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: String,
    n: Vec<u8>,
    e: Vec<u8>,
}

/// Why text is not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The container around the key is malformed.
    #[error("cannot read the key packet")]
    Packet(#[from] PacketError),
    /// Version, creation time or algorithm differs from the normalised form.
    #[error("the key packet is not a normalised RSA key")]
    Header,
    /// A number is empty, truncated, has leading zeros, or is followed by more data.
    #[error("the numbers of the key are malformed")]
    Numbers,
    /// The exponent has more than three bytes.
    #[error("the exponent of the key is longer than three bytes")]
    LongExponent,
}

/// Why a key must not be used. Found before any arithmetic with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeakKey {
    /// The modulus is too short or too long.
    #[error("the key has {0} bits; 2048 to 8192 are accepted")]
    Size(usize),
    /// An even modulus is no product of two odd primes.
    #[error("the modulus of the key is even")]
    EvenModulus,
    /// The exponent is even, 1, or above 65537.
    #[error("the exponent of the key is {0}; odd numbers from 3 to 65537 are accepted")]
    Exponent(u32),
}

impl PublicKey {
    /// Reads the text form. The key may be too weak to use, see [`check_strength`](Self::check_strength).
    ///
    /// # Errors
    /// [`KeyError`] for anything but one normalised RSA key packet.
    pub fn decode(text: &str) -> Result<Self, KeyError> {
        let raw = packet::decode_text(text)?;
        let mut rest = packet::unwrap(Tag::PublicKey, &raw)?;
        if packet::take(&mut rest, PREFIX.len()) != Some(&PREFIX) {
            return Err(KeyError::Header);
        }
        let n = take_number(&mut rest)?;
        let e = take_number(&mut rest)?;
        if !rest.is_empty() {
            return Err(KeyError::Numbers);
        }
        if e.len() > 3 {
            return Err(KeyError::LongExponent);
        }
        // There is only one spelling: the digest of the input equals the digest of what `encode` writes.
        Ok(Self { id: Sha3_384::of(&raw).to_base64url(), n: n.to_vec(), e: e.to_vec() })
    }

    /// From modulus and exponent, big endian. Whether it may be used is another question: [`check_strength`](Self::check_strength).
    #[must_use]
    pub fn from_numbers(n: &[u8], e: &[u8]) -> Self {
        let plain = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
        let mut key = Self { id: String::new(), n: plain(n), e: plain(e) };
        key.id = Sha3_384::of(&key.container()).to_base64url();
        key
    }

    /// The text form, in lines of 76 characters, without a final line feed.
    #[must_use]
    pub fn encode(&self) -> String {
        packet::encode_text(&self.container())
    }

    /// The key as SubjectPublicKeyInfo in DER, which other programs read.
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        // A number whose first bit is set would be a negative one.
        let number = |number: &[u8]| match number.first() {
            Some(first) if first & 0x80 != 0 => der(2, &[&[0], number].concat()),
            _ => der(2, number),
        };
        let key = der(0x30, &[number(&self.n), number(&self.e)].concat());
        let bits = der(3, &[&[0][..], &key].concat());
        der(0x30, &[&RSA_ALGORITHM[..], &bits].concat())
    }

    fn container(&self) -> Vec<u8> {
        let mut body = PREFIX.to_vec();
        for number in [&self.n, &self.e] {
            body.extend((packet::bit_length(number) as u16).to_be_bytes());
            body.extend(number);
        }
        packet::wrap(Tag::PublicKey, &body)
    }

    /// The digest that names the key in `sign-key-sha3-384` and elsewhere: 64 characters of base64url.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Size of the modulus in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        packet::bit_length(&self.n)
    }

    /// Whether the key may be used: an odd modulus of 2048 to 8192 bits and an odd exponent of 3 to 65537. Only looks
    /// at the numbers, so a hostile key costs nothing.
    ///
    /// # Errors
    /// [`WeakKey`] says which rule the key breaks.
    pub fn check_strength(&self) -> Result<(), WeakKey> {
        if !STRONG_BITS.contains(&self.bits()) {
            return Err(WeakKey::Size(self.bits()));
        }
        if self.n.last().is_none_or(|last| last % 2 == 0) {
            return Err(WeakKey::EvenModulus);
        }
        let e = self.e.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        if e % 2 == 0 || !(3..=MAX_EXPONENT).contains(&e) {
            return Err(WeakKey::Exponent(e));
        }
        Ok(())
    }

    /// Whether the exponent is 65537, which every key of a device has.
    #[must_use]
    pub fn has_usual_exponent(&self) -> bool {
        self.e == [1, 0, 1]
    }

    /// Modulus and exponent, big endian without leading zeros.
    pub(super) fn numbers(&self) -> (&[u8], &[u8]) {
        (&self.n, &self.e)
    }
}

/// A number in canonical form: at least one byte, and exactly as many bits as announced.
fn take_number<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], KeyError> {
    match packet::take_mpi(rest) {
        Some((bits, number)) if bits > 0 && packet::bit_length(number) == usize::from(bits) => Ok(number),
        _ => Err(KeyError::Numbers),
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {} bits)", self.id, self.bits())
    }
}

/// One DER element.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[content.len().leading_zeros() as usize / 8..];
    let head = match content.len() {
        short @ ..=0x7F => vec![tag, short as u8],
        _ => [&[tag, 0x80 | length.len() as u8], length].concat(),
    };
    [&head[..], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strong_keys_are_used() {
        let key = |bits: usize, last: u8, e: &[u8]| {
            let mut n = vec![0; bits.div_ceil(8)];
            n[0] = 1 << ((bits - 1) % 8);
            *n.last_mut().expect("a byte") |= last;
            PublicKey::from_numbers(&n, e).check_strength()
        };
        for (bits, good) in [(2047, false), (2048, true), (8192, true), (8193, false)] {
            assert_eq!(key(bits, 1, &[3]), if good { Ok(()) } else { Err(WeakKey::Size(bits)) });
        }
        assert_eq!(key(2048, 2, &[3]), Err(WeakKey::EvenModulus));
        for e in [&[1][..], &[2], &[4], &[1, 0, 0], &[1, 0, 2], &[1, 0, 3]] {
            assert!(matches!(key(2048, 1, e), Err(WeakKey::Exponent(_))), "{e:?}");
        }
        for e in [&[3][..], &[17], &[0xFF, 0xFF], &[1, 0, 1]] {
            assert_eq!(key(2048, 1, e), Ok(()), "{e:?}");
        }
    }

    #[test]
    fn a_number_has_one_spelling() {
        let read = |numbers: &[&[u8]]| {
            let body = [&PREFIX[..], &numbers.concat()].concat();
            PublicKey::decode(&packet::encode_text(&packet::wrap(Tag::PublicKey, &body)))
        };
        let (n, e) = (&[0, 9, 1, 0x85][..], &[0, 2, 3][..]);
        assert!(read(&[n, e]).is_ok_and(|key| key.bits() == 9));
        for (numbers, why) in [
            (&[n, &[0, 0]][..], "of no bits"),
            (&[n, &[0, 3, 3]], "of fewer bits than it says"),
            (&[n, &[0, 1, 3]], "of more bits than it says"),
            (&[n, &[0, 9, 0, 3]], "with a zero in front"),
            (&[n], "missing"),
            (&[n, e, &[0]], "followed by something"),
        ] {
            assert_eq!(read(numbers), Err(KeyError::Numbers), "{why}");
        }
        assert_eq!(read(&[n, &[0, 25, 1, 0, 0, 1]]), Err(KeyError::LongExponent));
    }
}
