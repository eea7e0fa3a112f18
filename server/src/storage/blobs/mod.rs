//! The bytes of snaps and components, named by their SHA3-384: in a folder, or in a bucket once they were staged.
//!
//! ```text
//! DATA/staging/.tmpXXXXXX      being written; locked by its writer, removed when that is gone
//! DATA/blobs/ab/abcdef…        published; the name is the digest in hexadecimal
//! DATA/blobs/damaged/abcdef…   found to be damaged, and set aside
//! ```
//!
//! A blob is staged, hashed while it is written, flushed, renamed to its digest under a second name, and its folder flushed; only
//! then may a row name it. A crash leaves at worst a file that nobody owns, never a row without bytes. A flush that fails ends the import:
//! it is not tried again, because the second try reports success for bytes that are lost.

mod aside;
pub(crate) mod block_checks;
mod bucket;
mod condition;
mod hashing;
mod local;
mod pace;
mod source;
#[cfg(test)]
mod tests;

use std::io;

pub(crate) use self::bucket::{Bucket, Object};
pub(crate) use self::condition::{Condition, Harm};
pub(crate) use self::local::{BlobStore, Published, Staged};
pub(crate) use self::pace::Pace;
pub(crate) use self::source::Source;

/// Size of the blocks whose SHA-256 is kept, in bytes; the last one of a blob may be shorter.
pub(crate) const BLOCK: usize = 1 << 20;

/// Why a blob cannot be kept or given out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BlobError {
    /// More bytes than the caller allows. Nothing is kept.
    #[error("cannot keep more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The blob is not there.
    #[error("cannot find blob {digest}")]
    Missing {
        /// Its digest in hexadecimal.
        digest: String,
    },
    /// The blob has another length than it must have: it is damaged.
    #[error("cannot use blob {digest}: it has {found} bytes instead of {expected}")]
    LengthMismatch {
        /// Its digest in hexadecimal.
        digest: String,
        /// What the signed revision says, in bytes.
        expected: u64,
        /// What is there, in bytes.
        found: u64,
    },
    /// A setting does not say where blobs are kept.
    #[error("cannot use {key}: {problem}; set it with `proxy config {key}=…`")]
    Setting {
        /// Its name.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The file system or the object store failed.
    #[error("cannot {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
}

impl From<BlobError> for io::Error {
    /// Keeps apart what is damage and what says nothing about the blob.
    fn from(error: BlobError) -> io::Error {
        let kind = match &error {
            BlobError::Missing { .. } => io::ErrorKind::NotFound,
            BlobError::LengthMismatch { .. } => io::ErrorKind::InvalidData,
            BlobError::Io { source, .. } => source.kind(),
            BlobError::TooLarge { .. } | BlobError::Setting { .. } => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

impl BlobError {
    fn io(action: &'static str) -> impl FnOnce(io::Error) -> BlobError {
        move |source| BlobError::Io { action, source }
    }
}
