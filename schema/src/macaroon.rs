//! The packets of version 1 macaroons, which upstream logins and service logins consist of: four hexadecimal digits of
//! length, a key, a space, a value and a line feed.

/// Bytes of a packet's length.
const DIGITS: usize = 4;

/// Appends a packet.
pub(crate) fn push(bytes: &mut Vec<u8>, key: &str, value: &[u8]) {
    let length = DIGITS + key.len() + 1 + value.len() + 1;
    bytes.extend_from_slice(format!("{length:04x}{key} ").as_bytes());
    bytes.extend_from_slice(value);
    bytes.push(b'\n');
}

/// Takes the first packet off `rest` and returns its key and value; `None`, with `rest` unchanged, if there is no packet.
pub(crate) fn next<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let digits = rest.get(..DIGITS)?;
    // `from_str_radix` takes a sign too.
    let digits = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
    let length = usize::from_str_radix(digits, 16).ok()?;
    let packet = rest.get(DIGITS..length)?.strip_suffix(b"\n")?;
    let space = packet.iter().position(|&byte| byte == b' ')?;
    *rest = &rest[length..];
    Some((&packet[..space], &packet[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let mut bytes = Vec::new();
        push(&mut bytes, "identifier", b"two words");
        push(&mut bytes, "signature", b"\n \0");
        assert!(bytes.starts_with(b"0019identifier two words\n"));
        let mut rest = &bytes[..];
        assert_eq!(next(&mut rest), Some((&b"identifier"[..], &b"two words"[..])));
        assert_eq!(next(&mut rest), Some((&b"signature"[..], &b"\n \0"[..])));
        assert_eq!((rest, next(&mut rest)), (&b""[..], None));
    }

    #[test]
    fn what_is_no_packet_is_not_taken() {
        let bad: [&[u8]; 8] =
            [b"", b"0003", b"0000a b\n", b"0008a b ", b"0009a b\n", b"0007ab\n", b"zzzza b\n", b"+008a b\n"];
        for bad in bad {
            let mut rest = bad;
            assert_eq!((next(&mut rest), rest), (None, bad), "{bad:?}");
        }
    }
}
