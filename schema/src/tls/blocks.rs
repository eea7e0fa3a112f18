//! PEM blocks (RFC 7468) in texts that people have put together.

use std::io::Cursor;

use pem::{EncodeConfig, LineEnding};
use x509_parser::error::PEMError;
use x509_parser::pem::Pem;

use super::error::{ImportError, Place};

/// More blocks than any chain has.
const MAX_BLOCKS: usize = 100;

/// A text and the name that the operator knows it by.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// A file, or `standard input`.
    pub name: &'a str,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// One block.
pub(super) struct Block {
    /// What stands between `BEGIN` and the dashes.
    pub(super) label: String,
    /// Its decoded bytes.
    pub(super) der: zeroize::Zeroizing<Vec<u8>>,
    /// Where it begins.
    pub(super) place: Place,
}

/// All blocks of all texts, in order.
pub(super) fn read(sources: &[Source<'_>]) -> Result<Vec<Block>, ImportError> {
    let mut blocks = Vec::new();
    for source in sources {
        read_one(*source, &mut blocks)?;
    }
    Ok(blocks)
}

fn read_one(source: Source<'_>, blocks: &mut Vec<Block>) -> Result<(), ImportError> {
    let text = zeroize::Zeroizing::new(tidy(source.bytes));
    let name = source.name.to_owned();
    if !text.contains("-----BEGIN ") {
        let is_binary = source.bytes.starts_with(&[0x30]) || source.bytes.contains(&0);
        return match (text.trim().is_empty(), is_binary) {
            (true, _) => Err(ImportError::Empty(name)),
            (_, true) => Err(ImportError::Binary(name)),
            _ => Err(ImportError::NoPem(name)),
        };
    }
    let mut reader = Cursor::new(text.as_bytes());
    loop {
        let from = at(&reader);
        let read = Pem::read(&mut reader);
        let rest = text.get(from..).unwrap_or_default();
        let begin = from + rest.find("-----BEGIN ").unwrap_or_default();
        let place = Place { source: name.clone(), line: 1 + text[..begin].matches('\n').count() };
        let whole = text.get(begin..at(&reader)).unwrap_or_default();
        let pem = match read {
            Err(PEMError::MissingHeader) => return Ok(()),
            Err(PEMError::IncompletePEM) => return Err(ImportError::NoEnd(place)),
            Err(PEMError::Base64DecodeError) if whole.contains("Proc-Type: 4,ENCRYPTED") => {
                return Err(ImportError::OldEncryption(place));
            }
            Err(_) if whole.matches("-----BEGIN ").count() > 1 => return Err(ImportError::NoEnd(place)),
            Err(_) => return Err(ImportError::NotBase64(place)),
            Ok((pem, _)) => pem,
        };
        // Shown to people: a label is as free as the rest of the text.
        let label: String = pem.label.chars().take(80).flat_map(char::escape_debug).collect();
        if !whole.trim_end().ends_with(&format!("-----END {}-----", pem.label)) {
            return Err(ImportError::OtherEnd { place, label });
        }
        if blocks.len() == MAX_BLOCKS {
            return Err(ImportError::TooMany(MAX_BLOCKS));
        }
        blocks.push(Block { label, der: pem.contents.into(), place });
    }
}

fn at(reader: &Cursor<&[u8]>) -> usize {
    usize::try_from(reader.position()).unwrap_or(usize::MAX)
}

/// Lines that begin and end where they do: mail, YAML and other systems indent them, and end them otherwise.
fn tidy(bytes: &[u8]) -> String {
    let text =
        zeroize::Zeroizing::new(String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n"));
    let text = text.trim_start_matches('\u{feff}');
    let mut tidy = String::with_capacity(text.len() + 1);
    for line in text.split('\n') {
        tidy.push_str(line.trim());
        tidy.push('\n');
    }
    tidy
}

/// PEM text of some bytes.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    pem::encode_config(&pem::Pem::new(label, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}
