//! Recognises files that were supplied by mistake, so that a refusal names the real cause.

/// File signatures and their descriptions.
const BEGINNINGS: [(&[u8], &str); 18] = [
    (b"PK\x03\x04", "a ZIP archive: unpack it"),
    (b"PK\x05\x06", "a ZIP archive with nothing in it"),
    (b"\x1f\x8b", "compressed with gzip: unpack it with `gunzip`"),
    (b"\xfd7zXZ\0", "compressed with xz: unpack it with `unxz`"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it with `unzstd`"),
    (b"BZh", "compressed with bzip2: unpack it with `bunzip2`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"hsqs", "a squashfs image, as snaps are: call it NAME_REVISION.snap"),
    (b"\x7fELF", "a program"),
    (b"\0\x05\x16\x07", "what macOS keeps beside a file (AppleDouble), not the file itself"),
    (b"\xfe\xed\xfe\xed", "a Java keystore: convert it with `keytool -importkeystore -deststoretype pkcs12`"),
    (b"SQLite format 3\0", "a database"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself: fetch it with `git lfs pull`"),
    (b"PuTTY-User-Key-File", "a key of PuTTY: convert it with `puttygen KEY -O private-openssh`"),
    (b"ssh-", "a public key of SSH"),
    (b"-----BEGIN PGP", "a text of PGP"),
    (b"-----BEGIN ", "PEM text"),
];

/// A description of the bytes that completes "it is …"; `None` if they are not recognised.
#[must_use]
pub fn like(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("empty: copy or fetch it again");
    }
    let start = &bytes[..bytes.len().min(1 << 10)];
    if is_utf16(start) {
        return Some("UTF-16 text: convert it with `iconv -f UTF-16 -t UTF-8 FILE`");
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Some("nothing but zero bytes: copy or fetch it again");
    }
    if let Some((_, what)) = BEGINNINGS.iter().find(|(beginning, _)| start.starts_with(beginning)) {
        return Some(what);
    }
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins = |word: &str| text.get(..word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word.as_bytes()));
    match text {
        [] if bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii().is_empty() => {
            Some("nothing but white space: copy or fetch it again")
        }
        _ if begins("<!doctype") || begins("<html") || begins("<?xml") || begins("<head") => {
            Some("a web page: what was downloaded is a login or an error, not the file")
        }
        [b'{' | b'[', ..] => Some("JSON text"),
        _ if begins("type:") => Some("a text of assertions"),
        _ => None,
    }
}

/// A byte order mark, or ASCII with every second byte zero.
fn is_utf16(start: &[u8]) -> bool {
    let plain = |at: usize| {
        let (text, zeros) = (start.iter().skip(1 - at).step_by(2), start.iter().skip(at).step_by(2));
        zeros.clone().all(|byte| *byte == 0)
            && text.clone().all(u8::is_ascii)
            && text.clone().any(|byte| *byte != 0)
    };
    start.starts_with(b"\xff\xfe")
        || start.starts_with(b"\xfe\xff")
        || (start.len() >= 8 && (plain(0) || plain(1)))
}

/// Whether the name is a leftover of systems and editors, to be skipped when a folder is pushed.
#[must_use]
pub fn is_litter(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        ".ds_store",
        "thumbs.db",
        "desktop.ini",
        "system volume information",
        ".spotlight-v100",
        ".trashes",
        ".fseventsd",
        "$recycle.bin",
        "lost+found",
        "__macosx",
    ];
    name.starts_with("._")
        || name.starts_with(".#")
        || (name.starts_with('#') && name.ends_with('#'))
        || name.ends_with('~')
        || name.ends_with(".swp")
        || name.starts_with(".~lock.")
        || name.starts_with(".Trash-")
        || NAMES.contains(&&*name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_mistake_is_told() {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        for (bytes, wanted) in [
            (&b""[..], Some("empty")),
            (b" \r\n\t", Some("white space")),
            (b"\xef\xbb\xbf\n", Some("white space")),
            (&[0; 600], Some("zero bytes")),
            (b"\n<!DOCTYPE html>", Some("web page")),
            (b"<HTML><body>", Some("web page")),
            (b"PK\x03\x04rest", Some("ZIP")),
            (b"hsqs", Some("squashfs")),
            (b"\0\x05\x16\x07\0\x02", Some("AppleDouble")),
            (b"{\"error\":1}", Some("JSON")),
            (b"type: account\n", Some("assertions")),
            (b"-----BEGIN X-----", Some("PEM")),
            (&utf16("type: account"), Some("UTF-16")),
            (&utf16("\u{feff}x"), Some("UTF-16")),
            (b"manifest.json\0\0\0", None),
            (b"hello", None),
        ] {
            let what = like(bytes);
            assert!(what.is_some() == wanted.is_some(), "{what:?} {wanted:?}");
            assert!(
                wanted.is_none_or(|wanted| what.is_some_and(|what| what.contains(wanted))),
                "{what:?} {wanted:?}"
            );
        }
    }

    #[test]
    fn litter_is_what_nobody_put_there() {
        for name in
            ["._a_1.snap", ".DS_Store", "Thumbs.db", "System Volume Information", "a_1.snap~", ".#a", "#a#"]
        {
            assert!(is_litter(name), "{name}");
        }
        for name in ["a_1.snap", "a.tar.gz", "a_1.assert", "readme"] {
            assert!(!is_litter(name), "{name}");
        }
    }
}
