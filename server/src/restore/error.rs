//! Why a backup is not restored.

use std::io;
use std::path::PathBuf;

use schema::bundle::BundleError;
use schema::config::FileError;

use crate::catalog::CompileError;
use crate::site::SiteError;
use crate::storage::error::StorageError;

/// Why a backup is not restored. Nothing has changed, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RestoreError {
    /// The host is in use.
    #[error(
        "cannot restore into {}: it holds {what} already, and a restore needs an empty data directory; \
         stop the server and move its files away, or choose another with --data-dir",
        data_dir.display()
    )]
    Taken {
        /// The data directory.
        data_dir: PathBuf,
        /// What was found there, by name.
        what: String,
    },
    /// The database is in use.
    #[error(
        "cannot restore into the database {0}: it holds a store already; name an empty one in \
         --secrets FILE, or restore into the embedded database with --embedded"
    )]
    DatabaseTaken(String),
    /// Another restore is running.
    #[error("another restore is at work in {}", .0.display())]
    Busy(PathBuf),
    /// An earlier restore was interrupted after all checks; it has now been completed.
    #[error("an earlier restore into {} was cut off, and has been finished now: start `proxyd`", .0.display())]
    Finished(PathBuf),
    /// The input is not a backup.
    #[error("this is not what `proxy backup` writes")]
    NotABackup,
    /// The input ends early.
    #[error("the backup is cut off: copy it again")]
    CutOff,
    /// The archive cannot be read.
    #[error("cannot read the backup")]
    Archive(#[source] BundleError),
    /// An entry with an impossible name or in the wrong place.
    #[error("cannot read the backup: entry {0:?} has no place there")]
    Entry(String),
    /// An entry that does not match its name.
    #[error("the backup is damaged at its entry {0}: copy it again")]
    Damaged(String),
    /// A required entry is missing.
    #[error("the backup lacks {0}")]
    Lacks(String),
    /// A newer program made it.
    #[error("the backup has format {0}, which this version cannot read: install the version that made it")]
    Newer(u32),
    /// A document of the backup does not parse.
    #[error("cannot read the {what} of the backup")]
    Document {
        /// The document.
        what: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The secrets were omitted and are not given.
    #[error(
        "this backup was made without secrets: give them with --secrets FILE, as \
         `proxy config --export-yaml` printed them on the host that was backed up"
    )]
    NoSecrets,
    /// The folder with the files holds other things.
    #[error(
        "{} holds none of the {listed} files that this backup lists: give the folder blobs of a data directory, or a copy of \
         it, with --blobs DIR",
        folder.display()
    )]
    NoBlobs {
        /// The folder.
        folder: PathBuf,
        /// How many files were looked for.
        listed: usize,
    },
    /// The secrets do not belong to the database.
    #[error("cannot restore with these secrets (--secrets FILE gives others)")]
    Secret(#[source] SiteError),
    /// The configuration.
    #[error("cannot use the configuration")]
    Settings(#[from] FileError),
    /// The database cannot be restored.
    #[error("cannot restore the database")]
    Storage(#[from] StorageError),
    /// The database's contents are unusable.
    #[error("cannot restore the database: a server could not start with what it holds")]
    Compile(#[from] CompileError),
    /// The instructions before the archive are unreadable.
    #[error("cannot read the order of the restore: are `proxy` and `proxyd` of the same version?")]
    Order(#[source] serde_json::Error),
    /// Standard input.
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    /// The system provided no random bytes.
    #[error("cannot restore: the system gives no random bytes")]
    NoRandom,
    /// A file operation failed.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// The action.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl RestoreError {
    /// The file system failed.
    pub(super) fn io(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { verb, path, source }
    }
}

impl From<BundleError> for RestoreError {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::NotABundle => Self::NotABackup,
            BundleError::Truncated => Self::CutOff,
            BundleError::Read(source) if source.kind() == io::ErrorKind::UnexpectedEof => Self::CutOff,
            BundleError::Read(source) => Self::Input(source),
            other => Self::Archive(other),
        }
    }
}
