//! Assembles a bundle from its members: `manifest.json` first, which lists them, then the members in order.

use std::collections::VecDeque;
use std::io::{self, Cursor, Read, Write};

use super::writer::{END, header, padding};
use super::{BundleWriter, Limits, Manifest, ManifestFile, TarWriter};

/// A bundle in the making. `C` is the content of a member, which is opened when its turn comes.
#[derive(Debug)]
pub struct Assembler<C> {
    /// The manifest; its list of files grows with the members.
    pub manifest: Manifest,
    members: Vec<(String, u64, C)>,
}

impl<C> Assembler<C> {
    /// A bundle without members.
    #[must_use]
    pub fn new(manifest: Manifest) -> Self {
        Self { manifest, members: Vec::new() }
    }

    /// Adds a member of exactly `size` bytes and lists it, with its digest in hexadecimal if that is known.
    pub fn add(&mut self, name: &str, size: u64, sha3_384: Option<String>, content: C) {
        self.manifest.files.push(ManifestFile { name: name.to_owned(), size, sha3_384 });
        self.add_unlisted(name, size, content);
    }

    /// Adds a member that the manifest does not list.
    pub fn add_unlisted(&mut self, name: &str, size: u64, content: C) {
        self.members.push((name.to_owned(), size, content));
    }

    /// The encoded manifest.
    ///
    /// # Errors
    /// No store would read the bundle, because it exceeds `limits`.
    fn manifest(&self, limits: Limits) -> io::Result<Vec<u8>> {
        let manifest = serde_json::to_vec(&self.manifest)?;
        let sizes = self.members.iter().map(|(_, size, _)| *size);
        let total = TarWriter::length(sizes.chain([manifest.len() as u64]));
        let entries = self.members.len() + 1;
        if total > limits.total || entries > limits.entries as usize {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the bundle would have {total} bytes in {entries} files, more than a store reads: put less \
                     into one bundle"
                ),
            ));
        }
        Ok(manifest)
    }

    /// Writes the bundle as a gzip stream and returns the unflushed writer.
    ///
    /// # Errors
    /// The bundle exceeds `limits`, or a member cannot be opened, read or written.
    pub fn write<W: Write, R: Read>(
        self,
        out: W,
        limits: Limits,
        mut open: impl FnMut(C) -> io::Result<R>,
    ) -> io::Result<W> {
        let manifest = self.manifest(limits)?;
        let mut bundle = BundleWriter::new(out);
        bundle.add_bytes(NAME, &manifest)?;
        for (name, size, content) in self.members {
            bundle.add(&name, size, open(content)?)?;
        }
        bundle.finish()
    }
}

impl<C: Read + Send + 'static> Assembler<C> {
    /// The bundle as an uncompressed archive that is read from the front while its members stay where they are, and its
    /// length. Each content must have exactly its size, or fail.
    ///
    /// # Errors
    /// The bundle exceeds `limits`, or a name or size does not fit a header.
    pub fn read(self, limits: Limits) -> io::Result<(u64, impl Read + Send + 'static)> {
        let manifest = self.manifest(limits)?;
        let length =
            TarWriter::length(self.members.iter().map(|(_, size, _)| *size).chain([manifest.len() as u64]));
        let mut parts = Parts::default();
        parts.add(NAME, manifest.len() as u64, Cursor::new(manifest))?;
        for (name, size, content) in self.members {
            parts.add(&name, size, content)?;
        }
        parts.0.push_back(Box::new(io::repeat(0).take(END)));
        Ok((length, parts))
    }
}

const NAME: &str = "manifest.json";

/// Readers, one after the other.
#[derive(Default)]
struct Parts(VecDeque<Box<dyn Read + Send>>);

impl Parts {
    fn add(&mut self, name: &str, size: u64, content: impl Read + Send + 'static) -> io::Result<()> {
        self.0.push_back(Box::new(Cursor::new(header(name, size)?)));
        self.0.push_back(Box::new(content));
        self.0.push_back(Box::new(padding(size)));
        Ok(())
    }
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(part) = self.0.front_mut() {
            let read = part.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.0.pop_front();
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Assembler<&'static [u8]> {
        let mut bundle: Assembler<&[u8]> = Assembler::new(Manifest::new("test"));
        bundle.add("a_1.snap", 700, None, &[7; 700][..]);
        bundle.add_unlisted("a_1.assert", 0, b"");
        bundle
    }

    #[test]
    fn what_is_read_is_what_is_written() {
        let (length, mut reader) = bundle().read(Limits::default()).expect("a bundle");
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("memory");
        assert_eq!(read.len() as u64, length);
        let written = bundle().write(Vec::new(), Limits::default(), Ok).expect("a bundle");
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&written[..]).read_to_end(&mut plain).expect("gzip");
        assert!(read == plain, "the two forms differ");
    }

    #[test]
    fn a_bundle_that_no_store_reads_is_not_made() {
        let (length, _) = bundle().read(Limits::default()).expect("a bundle");
        for (total, entries, fits) in [(length, 3, true), (length - 1, 3, false), (length, 2, false)] {
            let limits = Limits { total, entries, ..Limits::default() };
            assert_eq!(bundle().read(limits).is_ok(), fits, "{total} {entries}");
            assert_eq!(bundle().write(io::sink(), limits, Ok).is_ok(), fits, "{total} {entries}");
        }
    }

    #[test]
    fn a_name_that_no_header_holds_is_refused() {
        let mut bundle = bundle();
        bundle.add("x".repeat(101).as_str(), 0, None, b"");
        assert!(bundle.read(Limits::default()).is_err());
    }
}
