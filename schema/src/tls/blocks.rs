//! PEM blocks (RFC 7468) in hand-assembled texts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pkcs8::der::pem::{LineEnding, encode_string};
use zeroize::Zeroizing;

use super::error::{ImportError, Place};
use crate::looks;

/// More blocks than any chain has.
pub(super) const CHAIN: usize = 100;
/// More blocks than any list of authorities has.
pub(super) const AUTHORITIES: usize = 10_000;

/// A text with the name that the operator knows it by.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// A file, or `standard input`.
    pub name: &'a str,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// One block.
pub(super) struct Block {
    /// The label after `BEGIN`.
    pub(super) label: String,
    /// Its decoded bytes.
    pub(super) der: Zeroizing<Vec<u8>>,
    /// Where it begins.
    pub(super) place: Place,
}

/// All blocks of all texts, in order, at most `most`.
pub(super) fn read(sources: &[Source<'_>], most: usize) -> Result<Vec<Block>, ImportError> {
    let mut blocks = Vec::new();
    for source in sources {
        read_one(*source, most, &mut blocks)?;
    }
    Ok(blocks)
}

/// Text around the blocks is ignored. A line that might belong to a block but does not is an error, so nothing is
/// dropped silently.
fn read_one(source: Source<'_>, most: usize, blocks: &mut Vec<Block>) -> Result<(), ImportError> {
    let name = source.name.to_owned();
    if let Some(what) = looks::like(source.bytes).filter(|what| what.starts_with("UTF-16")) {
        return Err(ImportError::Looks(name, what));
    }
    let text = Zeroizing::new(tidy(source.bytes));
    let mut lines = (1..).zip(text.lines().map(str::trim));
    let before = blocks.len();
    while let Some((line, text)) = lines.next() {
        let place = Place { source: name.clone(), line };
        let Some(label) = marker(text, "BEGIN") else {
            if is_stray(text) {
                return Err(if text.contains("-----BEGIN ") && text.contains("-----END ") {
                    ImportError::NoEnd(place)
                } else {
                    ImportError::Stray(place)
                });
            }
            continue;
        };
        if blocks.len() == most {
            return Err(ImportError::TooMany(most));
        }
        // Escaped for display: a label is free text.
        let shown: String = label.chars().take(80).flat_map(char::escape_debug).collect();
        let mut body = Zeroizing::new(String::new());
        let mut encrypted = false;
        loop {
            let Some((_, text)) = lines.next() else { return Err(ImportError::NoEnd(place)) };
            if marker(text, "BEGIN").is_some() {
                return Err(ImportError::NoEnd(place));
            }
            match marker(text, "END") {
                Some(end) if end == label => break,
                Some(_) => return Err(ImportError::OtherEnd { place, label: shown }),
                // Mail-style headers; only this one changes how the rest is read.
                None if text.contains(':') => encrypted |= text == "Proc-Type: 4,ENCRYPTED",
                None => body.extend(text.split_whitespace()),
            }
        }
        let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).unwrap_or_default());
        if encrypted {
            return Err(ImportError::OldEncryption(place));
        }
        // PGP adds a checksum; no PGP label is read here.
        if der.is_empty() && !body.is_empty() && !label.starts_with("PGP ") {
            return Err(ImportError::NotBase64(place));
        }
        blocks.push(Block { label: shown, der, place });
    }
    if blocks.len() > before { Ok(()) } else { Err(without_blocks(name, source.bytes, &text)) }
}

/// The label of a line that begins or ends a block.
fn marker<'a>(line: &'a str, which: &str) -> Option<&'a str> {
    let label = line.strip_prefix("-----")?.strip_prefix(which)?.strip_prefix(' ')?.strip_suffix("-----")?;
    (!label.contains("-----")).then_some(label)
}

/// Whether a line outside all blocks might belong to one whose first line is damaged, commented out or lost.
fn is_stray(line: &str) -> bool {
    let bare = line.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let dashed = bare.len() < line.len() && line.contains("--");
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    (dashed && (bare.starts_with("BEGIN ") || bare.starts_with("END ")))
        || (line.len() >= 60 && line.starts_with("MI") && line.bytes().all(is_base64))
}

/// Why a text contains no block.
fn without_blocks(name: String, bytes: &[u8], text: &str) -> ImportError {
    let oid = |oid: &[u8]| bytes.windows(oid.len()).take(64).any(|window| window == oid);
    let how = match bytes {
        _ if text.trim().is_empty() => return ImportError::Empty(name),
        [0x30, ..] if x509_parser::parse_x509_certificate(bytes).is_ok() => "openssl x509 -inform der",
        [0x30, ..] if x509_parser::parse_x509_crl(bytes).is_ok() => "openssl crl -inform der",
        // id-signedData and id-data of PKCS#7; the second begins a PKCS#12.
        [0x30, ..] if oid(b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02") => {
            "openssl pkcs7 -inform der -print_certs"
        }
        [0x30, ..] if oid(b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01") => "openssl pkcs12 -nodes",
        [0x30, ..] if x509_parser::der_parser::parse_der(bytes).is_ok_and(|(rest, _)| rest.is_empty()) => {
            "openssl pkey -inform der"
        }
        _ => {
            return match looks::like(bytes) {
                Some(what) => ImportError::Looks(name, what),
                None if bytes.contains(&0) => ImportError::Binary(name),
                None => ImportError::NoPem(name),
            };
        }
    };
    ImportError::Der(name, how)
}

/// Normalises line ends and removes a byte order mark.
fn tidy(bytes: &[u8]) -> String {
    let text = Zeroizing::new(String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n"));
    text.replace('\u{feff}', "")
}

/// PEM text of some bytes.
///
/// # Panics
///
/// If the label is not one of printable ASCII; all callers have a constant.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    encode_string(label, LineEnding::LF, der).expect("a label and memory")
}
