//! The hashes of a blob's blocks, and which blocks this process has found intact.
//!
//! A block counts as intact as long as its file is the one that was checked (by inode and times) and the page cache
//! has held it since. A block that was written to, or is read from the disk again, is hashed again.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;

/// Why a transfer broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// Bytes are missing.
    #[error("the blob's file ends early")]
    Truncated,
    /// The hash of a block differs.
    #[error("block {0} of the blob is damaged")]
    Damaged(u64),
    /// The file system failed.
    #[error("cannot read the blob's file")]
    Read(#[source] io::Error),
    /// The reading thread was stopped.
    #[error("a read of the blob's file was cut off")]
    CutOff(#[source] tokio::task::JoinError),
}

impl TransferError {
    /// Is the blob another than what was stored?
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, TransferError::Truncated | TransferError::Damaged(_))
    }
}

/// The size covered by one block hash.
pub(crate) const BLOCK: u64 = 1024 * 1024;

/// How many blobs of this process are marked as damaged.
static MARKED: AtomicUsize = AtomicUsize::new(0);

/// Bytes of a SHA-256 hash.
pub(crate) const HASH: usize = 32;

/// A version of a file: every write creates a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    place: (u64, u64),
    written: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    /// As the file is now.
    pub(crate) fn of(file: &File) -> io::Result<Version> {
        let about = file.metadata()?;
        Ok(Version {
            place: (about.dev(), about.ino()),
            written: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }
}

/// The hashes of a blob's blocks, and which blocks this process has found intact.
#[derive(Debug)]
pub(crate) struct BlockChecks {
    hashes: Box<[u8]>,
    found: Mutex<Found>,
    damaged: AtomicBool,
}

/// The intact blocks of one version: a bit each.
#[derive(Debug)]
struct Found {
    version: Option<Version>,
    sound: Box<[u64]>,
}

impl BlockChecks {
    /// Takes the concatenated SHA-256 hashes of each MiB of a blob of `size` bytes; `None` if their number is wrong.
    pub(crate) fn new(hashes: &[u8], size: u64) -> Option<BlockChecks> {
        let blocks = usize::try_from(size.div_ceil(BLOCK)).ok()?;
        if hashes.len() != blocks.checked_mul(HASH)? {
            return None;
        }
        Some(BlockChecks {
            hashes: hashes.into(),
            found: Mutex::new(Found { version: None, sound: vec![0; blocks.div_ceil(64)].into() }),
            damaged: AtomicBool::new(false),
        })
    }

    /// Whether the blob was ever found to differ from what was stored.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Was the block right, in whatever version of the file?
    pub(crate) fn was_sound(&self, block: u64) -> bool {
        self.found().has(block)
    }

    /// Is the block right in this version of the file?
    pub(crate) fn is_sound(&self, block: u64, version: Version) -> bool {
        let found = self.found();
        found.version == Some(version) && found.has(block)
    }

    /// Reads a whole block and answers it once its hash was compared. Blocks.
    pub(crate) fn read(&self, file: &File, block: u64, size: u64) -> Result<Vec<u8>, TransferError> {
        let version = Version::of(file).map_err(TransferError::Read)?;
        let start = block * BLOCK;
        let length = size.saturating_sub(start).min(BLOCK);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        read_exact_at(file, &mut bytes, start)?;
        self.compare(block, &bytes)?;
        let mut found = self.found();
        if found.version != Some(version) {
            found.forget();
            found.version = Some(version);
        }
        let (word, bit) = place(block);
        if let Some(word) = found.sound.get_mut(word) {
            *word |= bit;
        }
        Ok(bytes)
    }

    /// Compares the whole of a block with its hash.
    pub(crate) fn compare(&self, block: u64, bytes: &[u8]) -> Result<(), TransferError> {
        let expected =
            usize::try_from(block).ok().and_then(|block| self.hashes.chunks_exact(HASH).nth(block));
        if expected != Some(digest::digest(&digest::SHA256, bytes).as_ref()) {
            return Err(TransferError::Damaged(block));
        }
        Ok(())
    }

    /// Something of a block left the page cache: what is read from now on may be other than what was checked.
    pub(crate) fn forget(&self, block: u64) {
        let (word, bit) = place(block);
        if let Some(word) = self.found().sound.get_mut(word) {
            *word &= !bit;
        }
    }

    /// The blob differs from what was stored: none of it is sent any more.
    pub(crate) fn mark_damaged(&self) {
        if !self.damaged.swap(true, Ordering::Relaxed) {
            MARKED.fetch_add(1, Ordering::Relaxed);
        }
        // If it is served again, no block may count as checked.
        self.found().forget();
    }

    /// The blob may be served again, each block after a new check.
    pub(crate) fn look_anew(&self) {
        if self.damaged.swap(false, Ordering::Relaxed) {
            MARKED.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether any blob may be marked as damaged; a marked one that is no longer served counts too.
    pub(crate) fn is_any_damaged() -> bool {
        MARKED.load(Ordering::Relaxed) > 0
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn has(&self, block: u64) -> bool {
        let (word, bit) = place(block);
        self.sound.get(word).is_some_and(|word| word & bit != 0)
    }

    fn forget(&mut self) {
        self.sound.fill(0);
    }
}

/// Fills `bytes` from a position of the file.
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], position: u64) -> Result<(), TransferError> {
    file.read_exact_at(bytes, position).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => TransferError::Truncated,
        _ => TransferError::Read(error),
    })
}

/// Where the bit of a block is kept.
fn place(block: u64) -> (usize, u64) {
    let word = usize::try_from(block / 64).unwrap_or(usize::MAX);
    (word, 1 << (block % 64))
}
