//! The container that keys and signatures share: base64 text around a version byte and one OpenPGP packet.
//!
//! ```text
//! base64( 01 | C0+tag | length | body )        wrapped at 76 characters
//! ```
//!
//! The length takes one byte below 192 and two bytes up to 8383. Other OpenPGP spellings (old headers, five byte and
//! partial lengths) are rejected: no producer of assertions writes them. See
//! `schema/docs/assertions.md#packets`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Width of a line of base64.
const LINE: usize = 76;

/// Version of the container.
const CONTAINER: u8 = 1;

/// Longest body that a two byte length can announce.
const MAX_BODY: usize = 8383;

/// Packet tags in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Signature = 2,
    PublicKey = 6,
}

/// Why text is not a container with one packet of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Not standard base64 with padding; line feeds are the only characters skipped.
    #[error("the text is not base64")]
    Base64,
    /// The first byte is not 1.
    #[error("the container version is unknown")]
    Version,
    /// The packet has another tag or an old header.
    #[error("the packet is of another kind")]
    Tag,
    /// The announced length differs from the actual one, or is not in its shortest form.
    #[error("the packet length does not match the data")]
    Length,
}

/// The container around `body`, version byte and header included. Its digest names a key.
///
/// `body` must be at most 8383 bytes, which holds for any key or signature that was decoded or made here.
pub(super) fn wrap(tag: Tag, body: &[u8]) -> Vec<u8> {
    debug_assert!(body.len() <= MAX_BODY);
    let mut out = vec![CONTAINER, 0xC0 | tag as u8];
    if body.len() < 192 {
        out.push(body.len() as u8);
    } else {
        let rest = body.len() - 192;
        out.extend([192 + (rest >> 8) as u8, rest as u8]);
    }
    out.extend(body);
    out
}

/// The body of the packet in `raw`, which [`decode_text`] gave.
pub(super) fn unwrap(tag: Tag, raw: &[u8]) -> Result<&[u8], PacketError> {
    let [version, header, rest @ ..] = raw else {
        return Err(PacketError::Length);
    };
    if *version != CONTAINER {
        return Err(PacketError::Version);
    }
    if *header != 0xC0 | tag as u8 {
        return Err(PacketError::Tag);
    }
    let (length, body) = match *rest {
        [first @ 0..192, ref body @ ..] => (usize::from(first), body),
        [first @ 192..224, second, ref body @ ..] => {
            (192 + (usize::from(first - 192) << 8) + usize::from(second), body)
        }
        _ => return Err(PacketError::Length),
    };
    if body.len() == length { Ok(body) } else { Err(PacketError::Length) }
}

/// Base64 in lines of 76 characters, no line feed at the end.
pub(super) fn encode_text(raw: &[u8]) -> String {
    let flat = STANDARD.encode(raw);
    let mut out = String::new();
    for (index, line) in flat.as_bytes().chunks(LINE).enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.extend(line.iter().map(|&byte| char::from(byte)));
    }
    out
}

/// Decodes base64 that may be broken into lines.
pub(super) fn decode_text(text: &str) -> Result<Vec<u8>, PacketError> {
    let flat: Vec<u8> = text.bytes().filter(|&byte| byte != b'\n').collect();
    STANDARD.decode(flat).map_err(|_| PacketError::Base64)
}

/// Splits `count` bytes off the front.
pub(super) fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(head)
}

/// Splits a two byte number off the front.
pub(super) fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    let bytes = take(rest, 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Splits a multi-precision integer off the front: its announced bit count and its bytes.
pub(super) fn take_mpi<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let bits = take_u16(rest)?;
    Some((bits, take(rest, usize::from(bits).div_ceil(8))?))
}

/// Length of a number without leading zero bytes, in bits.
pub(super) fn bit_length(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_round_trip_at_the_edges() {
        for length in [0, 1, 191, 192, 193, 447, 448, 8382, MAX_BODY] {
            let body = vec![7; length];
            let raw = wrap(Tag::Signature, &body);
            assert_eq!(unwrap(Tag::Signature, &raw), Ok(&body[..]), "{length}");
            assert_eq!(decode_text(&encode_text(&raw)).as_ref(), Ok(&raw), "{length}");
        }
    }

    #[test]
    fn one_shape_is_accepted_and_no_other() {
        let good = wrap(Tag::Signature, &[9; 10]);
        let changed = |at: usize, value: u8| {
            let mut raw = good.clone();
            raw[at] = value;
            raw
        };
        assert_eq!(unwrap(Tag::Signature, &changed(0, 2)), Err(PacketError::Version));
        assert_eq!(unwrap(Tag::Signature, &changed(1, 0xC6)), Err(PacketError::Tag));
        assert_eq!(unwrap(Tag::Signature, &changed(1, 0x88)), Err(PacketError::Tag), "old header");
        assert_eq!(unwrap(Tag::Signature, &changed(2, 9)), Err(PacketError::Length), "trailing byte");
        assert_eq!(unwrap(Tag::Signature, &changed(2, 11)), Err(PacketError::Length), "too short");
        assert_eq!(unwrap(Tag::Signature, &changed(2, 0xE1)), Err(PacketError::Length), "partial length");
        let five = [&[1, 0xC2, 0xFF, 0, 0, 0, 10][..], &[9; 10]].concat();
        assert_eq!(unwrap(Tag::Signature, &five), Err(PacketError::Length), "five byte length");
        for cut in 0..good.len() {
            assert!(unwrap(Tag::Signature, &good[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn base64_is_strict() {
        assert_eq!(decode_text("AQ\nI=\n"), Ok(vec![1, 2]));
        for text in ["AQI", "AQI=\r\n", "AQI =", "AQJ=", "AQI==", "$builtin", "AQ-_"] {
            assert_eq!(decode_text(text), Err(PacketError::Base64), "{text:?}");
        }
    }
}
