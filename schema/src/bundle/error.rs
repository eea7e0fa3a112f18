//! Why a bundle cannot be read.

use std::io;

use super::ManifestError;

/// Why a bundle cannot be read. Each variant rejects the whole bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The medium or the connection failed.
    #[error("cannot read the bundle")]
    Read(#[source] io::Error),
    /// The file ends early.
    #[error("the bundle is cut off: copy it again")]
    Truncated,
    /// The file is neither tar nor gzip.
    #[error("this is not a snap bundle, which is a tar archive or one compressed with gzip")]
    NotABundle,
    /// The file is something else, recognised by its first bytes.
    #[error("this is not a snap bundle: it is {0}")]
    Looks(&'static str),
    /// The compressed bytes are damaged.
    #[error("the gzip stream of the bundle is damaged")]
    Gzip(#[source] io::Error),
    /// The archive is complete, but compressed data remains after it.
    #[error(
        "what follows the end of the archive is cut off or does not belong to it: copy or fetch the bundle again"
    )]
    AfterEnd,
    /// A limit is exceeded.
    #[error("the bundle exceeds a limit: {what} of at most {limit}")]
    TooLarge {
        /// The limited quantity, in plural.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A header that readers could interpret differently.
    #[error("invalid archive header at byte {position}: {rule}")]
    Header {
        /// Its offset in the decoded archive.
        position: u64,
        /// The broken rule.
        rule: &'static str,
    },
    /// An entry that is neither a regular file nor a folder.
    #[error("entry {name:?} is {what}; only regular files and folders are read")]
    EntryType {
        /// The entry's name.
        name: String,
        /// What it is.
        what: String,
    },
    /// A name that no legitimate bundle contains.
    #[error("invalid name {name:?} of an entry: {rule}")]
    Name {
        /// The name, shortened and escaped.
        name: String,
        /// The broken rule.
        rule: &'static str,
    },
    /// Two entries whose names are equal, ignoring case.
    #[error("entry {name:?} is there twice, or twice but for upper and lower case")]
    Duplicate {
        /// The second entry's name.
        name: String,
    },
    /// Data follows the end of the archive.
    #[error("there is data after the end of the archive")]
    TrailingData,
    /// A document that does not parse.
    #[error("cannot read {name}")]
    Json {
        /// The document's name.
        name: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The manifest is unusable or wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The document has none of the known forms.
    #[error("{0}")]
    Form(&'static str),
}

/// An entry's name for an error message: hostile input may be long and may not be text.
pub(super) fn quote(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(80).collect()
}
