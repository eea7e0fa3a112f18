//! Why a bundle cannot be read.

use std::io;

use super::ManifestError;

/// Why a bundle cannot be read. Each refuses the whole bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The medium or the connection failed.
    #[error("cannot read the bundle")]
    Read(#[source] io::Error),
    /// It ends in the middle.
    #[error("the bundle is cut off: copy it again")]
    Truncated,
    /// Neither tar nor gzip.
    #[error("this is not a snap bundle, which is a tar archive or one compressed with gzip")]
    NotABundle,
    /// Something else, known by how it begins.
    #[error("this is not a snap bundle: it is {0}")]
    Looks(&'static str),
    /// The compressed bytes are damaged.
    #[error("the gzip stream of the bundle is damaged")]
    Gzip(#[source] io::Error),
    /// The archive is whole, and the compressed bytes do not end with it.
    #[error(
        "what follows the end of the archive is cut off or does not belong to it: copy or fetch the bundle again"
    )]
    AfterEnd,
    /// More than the limits allow.
    #[error("the bundle exceeds a limit: {what} of at most {limit}")]
    TooLarge {
        /// What there is too much of, in plural.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// A header that readers could understand differently.
    #[error("invalid archive header at byte {position}: {rule}")]
    Header {
        /// Where it begins in the decoded archive.
        position: u64,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// Neither a regular file nor a folder.
    #[error("entry {name:?} is {what}; only regular files and folders are read")]
    EntryType {
        /// The entry, as it names itself.
        name: String,
        /// What it is.
        what: String,
    },
    /// A name that no honest bundle has.
    #[error("invalid name {name:?} of an entry: {rule}")]
    Name {
        /// The name, shortened, strange bytes replaced.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// Two entries with one name, at least where case does not count.
    #[error("entry {name:?} is there twice, or twice but for upper and lower case")]
    Duplicate {
        /// The second one.
        name: String,
    },
    /// Something follows the end of the archive.
    #[error("there is data after the end of the archive")]
    TrailingData,
    /// A document that is not what its name says.
    #[error("cannot read {name}")]
    Json {
        /// Which document.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The manifest cannot be used, or is not true.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The document is none of the forms there are.
    #[error("{0}")]
    Form(&'static str),
}

/// An entry's name for an error: hostile input may be long and may not be text.
pub(super) fn quote(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(80).collect()
}
