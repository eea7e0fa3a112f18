//! Bundles: our reader, and that of the `tar` crate with flate2, on the same bytes.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use schema::bundle::{BundleError, BundleReader, Limits, MemberKind};
use tar::EntryType;

use super::calm;

const BLOCK: usize = 512;

/// Small enough that an input of some kilobytes can reach every one of them.
const LIMITS: Limits = Limits {
    entry: 256 << 10,
    document: 16 << 10,
    documents: 64 << 10,
    total: 1 << 20,
    entries: 32,
    extension: 4 << 10,
    ratio: 100,
};

/// Name and content of a file.
type File = (String, Vec<u8>);

/// An archive as it is, compressed or not.
pub(super) fn bundle(data: &[u8]) {
    let read = ours(data).inspect_err(|error| calm(error));
    // How the bytes arrive makes no difference.
    match (&read, &ours(Trickle(data))) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        // Which of several faults is found first may differ.
        (Err(_), Err(_)) => {}
        (whole, pieces) => panic!("{whole:?} in one piece, {pieces:?} in many"),
    }
    let Ok(files) = read else { return };
    let size: usize = files.iter().map(|(_, content)| content.len()).sum();
    assert!(size as u64 <= LIMITS.total && files.len() <= LIMITS.entries as usize, "beyond the limits");
    let mut names: Vec<String> = files.iter().map(|(name, _)| name.to_lowercase()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), files.len(), "a name that is there twice");
    for (name, _) in &files {
        let plain = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        assert!(plain && !name.contains(['\\', '\0', '\n']), "{name:?}");
    }
    assert_eq!(theirs(data), files, "the second reader reads something else");
}

/// An archive whose headers all have a right checksum, so that the fuzzer gets behind that.
pub(super) fn headers(data: &[u8]) {
    let mut archive = data.to_vec();
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    let mut at = 0;
    while let Some(block) = archive.get_mut(at..at + BLOCK).filter(|block| block.iter().any(|&b| b != 0)) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = std::str::from_utf8(&block[124..136]).unwrap_or_default();
        let size = usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).unwrap_or(0);
        at = at.saturating_add(BLOCK).saturating_add(size.min(archive.len()).next_multiple_of(BLOCK));
    }
    bundle(&archive);
}

fn ours(data: impl Read) -> Result<Vec<File>, BundleError> {
    let mut reader = BundleReader::new(data, LIMITS)?;
    let mut files = Vec::new();
    while let Some(mut member) = reader.next_member()? {
        let (path, size) = (member.path().to_owned(), member.size());
        assert!(size <= LIMITS.entry, "beyond the limit of an entry");
        let content = match member.kind() {
            MemberKind::Manifest | MemberKind::Metadata | MemberKind::Assertions => member.document()?,
            _ => {
                let (mut content, mut piece) = (Vec::new(), [0; 999]);
                loop {
                    match member.read_some(&mut piece)? {
                        0 => break content,
                        count => content.extend_from_slice(&piece[..count]),
                    }
                }
            }
        };
        assert_eq!(content.len() as u64, size, "{path:?} is shorter than announced");
        files.push((path, content));
    }
    Ok(files)
}

fn theirs(data: &[u8]) -> Vec<File> {
    let mut plain = Vec::new();
    match data {
        [0x1f, 0x8b, ..] => {
            MultiGzDecoder::new(data).read_to_end(&mut plain).expect("the second reader decompresses it")
        }
        _ => {
            plain.extend_from_slice(data);
            0
        }
    };
    let mut archive = tar::Archive::new(&plain[..]);
    let mut files = Vec::new();
    for entry in archive.entries().expect("the second reader opens it") {
        let mut entry = entry.expect("the second reader reads every header");
        match entry.header().entry_type() {
            EntryType::Regular => {}
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            other => panic!("the second reader sees an entry of type {other:?}"),
        }
        let name = String::from_utf8(entry.path_bytes().into_owned()).expect("names are UTF-8");
        let name: Vec<&str> = name.split('/').filter(|part| *part != ".").collect();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("the second reader reads every file");
        files.push((name.join("/"), content));
    }
    files
}

/// Gives what it has in small pieces; the first is long enough to show what it is.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let most = buf.len().min(3 + self.0.len() % 97);
        self.0.read(&mut buf[..most])
    }
}
