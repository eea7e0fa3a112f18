//! The bytes of snaps and components, named by their SHA3-384: in a folder, or in a bucket after staging.
//!
//! ```text
//! DATA/staging/.tmpXXXXXX      being written; locked by its writer, removed when the writer is gone
//! DATA/blobs/ab/abcdef…        published; the name is the digest in hexadecimal
//! DATA/blobs/damaged/abcdef…   found to be damaged, and set aside
//! ```
//!
//! A blob is staged, hashed while it is written, flushed, and renamed to its digest under a second name; then its
//! folder is flushed. Only now may a row refer to it. A crash leaves at worst an unowned file, never a row without
//! bytes. A failed flush ends the import and is not retried, because a second flush reports success for bytes that
//! are lost.

mod aside;
pub(crate) mod block_checks;
#[cfg_attr(not(feature = "s3"), path = "no_bucket.rs")]
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
pub(crate) use self::local::{BlobStore, Published, Staged, Staging};
pub(crate) use self::pace::Pace;
pub(crate) use self::source::Source;

/// Size of the blocks with a stored SHA-256, in bytes; a blob's last one may be shorter.
pub(crate) const BLOCK: usize = 1 << 20;

/// Why a blob cannot be stored or served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BlobError {
    /// The blob exceeds the caller's limit. Nothing is kept.
    #[error("cannot keep more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The blob does not exist.
    #[error("cannot find blob {digest}")]
    Missing {
        /// Its digest in hexadecimal.
        digest: String,
    },
    /// The blob has the wrong length: it is damaged.
    #[error("cannot use blob {digest}: it has {found} bytes instead of {expected}")]
    LengthMismatch {
        /// Its digest in hexadecimal.
        digest: String,
        /// The signed length in bytes.
        expected: u64,
        /// The actual length in bytes.
        found: u64,
    },
    /// A storage setting is missing or wrong.
    #[error("cannot use {key}: {problem}; set it with `proxy config {}`", setting(key))]
    Setting {
        /// The setting.
        key: &'static str,
        /// The problem.
        problem: String,
    },
    /// The file system or the object store failed.
    #[error("cannot {action}")]
    Io {
        /// The action.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl From<BlobError> for io::Error {
    /// Separates damage from errors that say nothing about the blob.
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

/// How a key is set: a secret does not belong on a command line.
fn setting(key: &str) -> String {
    match schema::config::key(key) {
        Some(known) if known.secret => format!("--set-from-stdin {key} < FILE"),
        _ => format!("{key}=VALUE"),
    }
}

impl BlobError {
    fn io(action: &'static str) -> impl FnOnce(io::Error) -> BlobError {
        move |source| BlobError::Io { action, source }
    }
}
