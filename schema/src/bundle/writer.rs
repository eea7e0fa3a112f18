//! Writes bundles that every reader interprets the same way.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Writes a bundle: add its members one by one, then [`BundleWriter::finish`] it.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let mut bundle = schema::bundle::BundleWriter::new(Vec::new());
/// bundle.add_bytes("jq_6.assert", b"type: ...\n")?;
/// let file = bundle.finish()?;
/// # assert_eq!(&file[..2], b"\x1f\x8b");
/// # Ok(()) }
/// ```
pub struct BundleWriter<W: Write> {
    tar: TarWriter<GzEncoder<W>>,
}

/// Writes an uncompressed tar archive in the form of a bundle.
pub struct TarWriter<W: Write> {
    out: W,
}

/// The first size that does not fit the header's octal digits.
const TOO_LARGE: u64 = 8 << 30;
/// Bytes of a block; headers are one, contents are padded to a multiple.
const BLOCK: u64 = 512;
/// Bytes of an archive's end marker.
pub(super) const END: u64 = 2 * BLOCK;

impl<W: Write> BundleWriter<W> {
    /// Starts a bundle. The gzip stream only stores, because snaps are already compressed.
    pub fn new(write: W) -> Self {
        Self { tar: TarWriter::new(GzEncoder::new(write, Compression::none())) }
    }

    /// Adds a file of exactly `size` bytes. Names have at most 100 bytes, sizes stay below 8 GiB. After an error the
    /// bundle is unusable.
    pub fn add(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<()> {
        self.tar.add(name, size, content)
    }

    /// Adds a file from memory.
    pub fn add_bytes(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.add(name, content.len() as u64, content)
    }

    /// Writes the end marker and returns the unflushed writer.
    pub fn finish(self) -> io::Result<W> {
        self.tar.finish()?.finish()
    }
}

impl TarWriter<io::Sink> {
    /// Bytes of an archive with files of these sizes.
    pub fn length(sizes: impl IntoIterator<Item = u64>) -> u64 {
        sizes.into_iter().map(|size| BLOCK + size.next_multiple_of(BLOCK)).sum::<u64>() + END
    }
}

impl<W: Write> TarWriter<W> {
    /// Begins an archive.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// As [`BundleWriter::add`].
    pub fn add(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<()> {
        self.out.write_all(&header(name, size)?)?;
        let written = io::copy(&mut content.take(size + 1), &mut self.out)?;
        if written != size {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{name} changed its size while it was read"),
            ));
        }
        io::copy(&mut padding(size), &mut self.out)?;
        Ok(())
    }

    /// The writer, without an end marker: another archive may follow directly.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Writes the end marker and returns the unflushed writer.
    pub fn finish(mut self) -> io::Result<W> {
        io::copy(&mut io::repeat(0).take(END), &mut self.out)?;
        Ok(self.out)
    }
}

/// The header of a file. It depends on nothing but name and size, so the same members make the same bytes.
pub(super) fn header(name: &str, size: u64) -> io::Result<[u8; BLOCK as usize]> {
    if size >= TOO_LARGE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name} has 8 GiB or more")));
    }
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// What follows a file's content up to the next header.
pub(super) fn padding(size: u64) -> impl Read + Send {
    io::repeat(0).take(size.next_multiple_of(BLOCK) - size)
}
