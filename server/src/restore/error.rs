//! Why a backup is not restored.

use std::io;
use std::path::PathBuf;

use schema::bundle::BundleError;
use schema::config::FileError;

use crate::catalog::CompileError;
use crate::site::SiteError;
use crate::storage::error::StorageError;

/// Why a backup is not restored. Nothing has changed then, unless a variant says otherwise.
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
        /// What is there, by name.
        what: String,
    },
    /// The database is in use.
    #[error(
        "cannot restore into the database {0}: it holds a store already; name an empty one in \
         --secrets FILE, or restore into the embedded database with --embedded"
    )]
    DatabaseTaken(String),
    /// Somebody was faster.
    #[error("another restore is at work in {}", .0.display())]
    Busy(PathBuf),
    /// An earlier restore was cut off when all was checked; the host is whole now.
    #[error("an earlier restore into {} was cut off, and has been finished now: start `proxyd`", .0.display())]
    Finished(PathBuf),
    /// Not a backup.
    #[error("this is not what `proxy backup` writes")]
    NotABackup,
    /// It ends in the middle.
    #[error("the backup is cut off: copy it again")]
    CutOff,
    /// The archive.
    #[error("cannot read the backup")]
    Archive(#[source] BundleError),
    /// An entry that no backup has, or not there.
    #[error("cannot read the backup: entry {0:?} has no place there")]
    Entry(String),
    /// An entry that is not what its name says.
    #[error("the backup is damaged at its entry {0}: copy it again")]
    Damaged(String),
    /// Something must be there and is not.
    #[error("the backup lacks {0}")]
    Lacks(String),
    /// Made by a later program.
    #[error("the backup has format {0}, which this version cannot read: install the version that made it")]
    Newer(u32),
    /// A document of the backup.
    #[error("cannot read the {what} of the backup")]
    Document {
        /// Which.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The secrets were left out and are not given.
    #[error(
        "this backup was made without secrets: give them with --secrets FILE, as \
         `proxy config --export-yaml` printed them on the host that was backed up"
    )]
    NoSecrets,
    /// The secrets are not those of the database.
    #[error("cannot restore with these secrets (--secrets FILE gives others)")]
    Secret(#[source] SiteError),
    /// The configuration.
    #[error("cannot use the configuration")]
    Settings(#[from] FileError),
    /// The database.
    #[error("cannot restore the database")]
    Storage(#[from] StorageError),
    /// What the database holds.
    #[error("cannot restore the database: a server could not start with what it holds")]
    Compile(#[from] CompileError),
    /// The order before the archive.
    #[error("cannot read the order of the restore: are `proxy` and `proxyd` of the same version?")]
    Order(#[source] serde_json::Error),
    /// Standard input.
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    /// The system gave no random bytes.
    #[error("cannot restore: the system gives no random bytes")]
    NoRandom,
    /// The file system.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
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
