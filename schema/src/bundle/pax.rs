//! PAX records: what an extension header says about the entry that follows it.
//!
//! ```text
//! 30 mtime=1758300000.123456789⏎      LENGTH KEY=VALUE; the length counts the whole record
//! ```
//!
//! Source: POSIX.1-2024, pax, "pax Extended Header".

/// The records that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
}

/// Times, owners and comments change nothing about what is read.
const HARMLESS: [&[u8]; 8] = [b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"comment"];

/// Reads the records of one extension header; the error is the rule that it breaks.
pub(super) fn records(mut data: &[u8]) -> Result<Records, &'static str> {
    let mut records = Records::default();
    let mut seen: Vec<&[u8]> = Vec::new();
    while !data.is_empty() {
        let (key, value, rest) = split(data).ok_or("a malformed extension record")?;
        if seen.contains(&key) {
            return Err("an extension record that is there twice");
        }
        seen.push(key);
        match key {
            b"path" => records.path = Some(value.to_vec()),
            b"size" => records.size = Some(number(value).ok_or("a malformed extension record")?),
            key if HARMLESS.contains(&key) => {}
            _ => return Err("an extension that changes what is read, or might"),
        }
        data = rest;
    }
    Ok(records)
}

/// Key, value and what follows the first record.
fn split(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(8).position(|&byte| byte == b' ')?;
    let length = usize::try_from(number(&data[..space])?).ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    let plain = !key.is_empty() && !value.contains(&0);
    plain.then_some((key, value, rest))
}

/// Decimal digits without a leading zero.
fn number(digits: &[u8]) -> Option<u64> {
    let plain = digits.iter().all(u8::is_ascii_digit) && (digits == b"0" || !digits.starts_with(b"0"));
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_strictly() {
        let read = |data: &str| records(data.as_bytes());
        assert_eq!(read(""), Ok(Records::default()));
        assert_eq!(read("9 size=5\n8 uid=1\n").map(|r| r.size), Ok(Some(5)));
        assert_eq!(read("12 path=a/b\n").map(|r| r.path), Ok(Some(b"a/b".to_vec())));
        assert_eq!(read("19 comment=a=b\nc d\n").map(|r| r.path), Ok(None));
        for bad in [
            "9 size=5",    // no line feed
            "11 size=5\n", // longer than there is
            "8 size=5\n",  // shorter than the record
            "09 size=5\n", // two spellings of one length
            "+9 size=5\n",
            " size=5\n",
            "0 size=5\n",
            "99999999999999999999 a=b\n",
            "7 size\n",
            "5 =1\n",
            "11 size=05\n",
            "11 size=-5\n",
            "9 size=5\n9 size=5\n", // twice
            "9 siye=5\n",           // unknown
            "22 GNU.sparse.major=1\n",
            "18 hdrcharset=BIN\n",
            "14 linkpath=a\n",
            "11 path=a\0\n",
            "9 size=5\n\0\0",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
