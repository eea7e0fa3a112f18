//! From the file's bytes to the archive's bytes: optional gzip, counted and limited.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::{BundleError, Limits};

/// Counts the bytes read from the file.
struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

enum Stream<R: Read> {
    Plain(BufReader<Counted<R>>),
    /// A file may hold several gzip members in a row (RFC 1952 §2.2). Together they are one stream, and nothing else
    /// may follow them.
    Gzip(Box<MultiGzDecoder<BufReader<Counted<R>>>>),
}

/// The decoded bytes of a bundle.
pub(super) struct Decoded<R: Read> {
    stream: Stream<R>,
    limits: Limits,
    position: u64,
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BUFFER: usize = 64 << 10;

impl<R: Read> Decoded<R> {
    pub(super) fn new(read: R, limits: Limits) -> Result<Self, BundleError> {
        let mut file = BufReader::with_capacity(BUFFER, Counted { inner: read, bytes: 0 });
        let start = loop {
            match file.fill_buf() {
                Ok(start) => break start,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BundleError::Read(error)),
            }
        };
        // The first read may return a single byte in theory; no real reader does, and no archive is that short.
        let stream = match start {
            [] => return Err(BundleError::Looks("empty: copy or fetch it again")),
            start if GZIP_MAGIC.starts_with(&start[..start.len().min(2)]) => {
                Stream::Gzip(Box::new(MultiGzDecoder::new(file)))
            }
            _ => Stream::Plain(file),
        };
        Ok(Self { stream, limits, position: 0 })
    }

    /// Decoded bytes so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The underlying reader.
    pub(super) fn into_inner(self) -> R {
        let file = match self.stream {
            Stream::Plain(file) => file,
            Stream::Gzip(decoder) => decoder.into_inner(),
        };
        file.into_inner().inner
    }

    /// The next bytes; 0 at the end.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<usize, BundleError> {
        loop {
            let (count, compressed) = match &mut self.stream {
                Stream::Plain(file) => (file.read(buf), None),
                Stream::Gzip(decoder) => (decoder.read(buf), Some(decoder.get_ref().get_ref().bytes)),
            };
            match count {
                Ok(count) => {
                    self.position += count as u64;
                    self.check_limits(compressed)?;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(match error.kind() {
                        io::ErrorKind::UnexpectedEof => BundleError::Truncated,
                        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => BundleError::Gzip(error),
                        _ => BundleError::Read(error),
                    });
                }
            }
        }
    }

    /// Fills `buf`; ending early is an error.
    pub(super) fn read_exact(&mut self, mut buf: &mut [u8]) -> Result<(), BundleError> {
        while !buf.is_empty() {
            match self.read(buf)? {
                0 => return Err(BundleError::Truncated),
                count => buf = &mut buf[count..],
            }
        }
        Ok(())
    }

    /// Fills as much of `buf` as possible.
    pub(super) fn read_most(&mut self, buf: &mut [u8]) -> Result<usize, BundleError> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read(&mut buf[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    fn check_limits(&self, compressed: Option<u64>) -> Result<(), BundleError> {
        if self.position > self.limits.total {
            return Err(BundleError::TooLarge { what: "decoded bytes", limit: self.limits.total });
        }
        if let Some(compressed) = compressed
            && self.position > Limits::RATIO_FREE
            && self.position / self.limits.ratio > compressed
        {
            return Err(BundleError::TooLarge {
                what: "decoded bytes per compressed byte",
                limit: self.limits.ratio,
            });
        }
        Ok(())
    }
}
