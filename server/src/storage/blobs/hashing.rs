//! Hashes of a blob: SHA3-384 of the whole, SHA-256 of each MiB.

use std::io::{self, Read};

use aws_lc_rs::digest::{Context, SHA3_384, SHA256};
use schema::digest::Sha3_384;

use super::BLOCK;
use super::pace::Pace;

/// Bytes read and hashed at once; fits the processor's cache.
const PIECE: usize = 256 << 10;

/// The digest that names the blob.
pub(super) struct Whole(Context);

impl Whole {
    pub(super) fn new() -> Whole {
        Whole(Context::new(&SHA3_384))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> Sha3_384 {
        let mut digest = [0; Sha3_384::LEN];
        digest.copy_from_slice(self.0.finish().as_ref());
        Sha3_384(digest)
    }
}

/// The digests for checking parts of the blob.
pub(super) struct Blocks {
    done: Vec<u8>,
    current: Context,
    filled: usize,
}

impl Blocks {
    pub(super) fn new() -> Blocks {
        Blocks { done: Vec::new(), current: Context::new(&SHA256), filled: 0 }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.current.update(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == BLOCK {
                self.close();
            }
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.close();
        }
        self.done
    }

    fn close(&mut self) {
        let full = std::mem::replace(&mut self.current, Context::new(&SHA256));
        self.done.extend_from_slice(full.finish().as_ref());
        self.filled = 0;
    }
}

/// Digest and length of a file or object, which should have `expected` bytes.
pub(super) fn digest_of(file: &mut impl Read, expected: u64, pace: &Pace) -> io::Result<(Sha3_384, u64)> {
    let mut whole = Whole::new();
    let mut size = 0;
    let mut buffer = vec![0; usize::try_from(expected + 1).map_or(PIECE, |needed| needed.min(PIECE))];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((whole.finish(), size)),
            Ok(count) => {
                whole.update(&buffer[..count]);
                size += count as u64;
                pace.took(count)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
