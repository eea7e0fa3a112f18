//! Writes a bundle that every reader understands the same way.

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
    out: GzEncoder<W>,
}

/// First size that does not fit the header's octal digits.
const TOO_LARGE: u64 = 8 << 30;

impl<W: Write> BundleWriter<W> {
    /// Begins a bundle. The gzip stream around it only stores, as snaps are compressed already.
    pub fn new(write: W) -> Self {
        Self { out: GzEncoder::new(write, Compression::none()) }
    }

    /// Adds a file of exactly `size` bytes. Names have at most 100 bytes, sizes stay below 8 GiB. After an
    /// error the bundle cannot be used.
    pub fn add(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<()> {
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
        self.out.write_all(header.as_bytes())?;
        let written = io::copy(&mut content.take(size + 1), &mut self.out)?;
        if written != size {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{name} changed its size while it was read"),
            ));
        }
        let padding = size.next_multiple_of(512) - size;
        io::copy(&mut io::repeat(0).take(padding), &mut self.out)?;
        Ok(())
    }

    /// Adds a file that is in memory.
    pub fn add_bytes(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.add(name, content.len() as u64, content)
    }

    /// Writes the end and gives back what was written to, not flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 1024])?;
        self.out.finish()
    }
}
