//! What can go wrong with the store of record.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// The cause behind an error, whichever engine it came from.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why the store of record could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StorageError {
    /// Down, unreachable, full, read-only or out of connections: a later try may work.
    #[error("cannot reach a working database")]
    Unavailable(#[source] Cause),
    /// There is no room for what is to be written; nothing was changed.
    #[error("cannot write to the database: its disk is full")]
    Full(#[source] Cause),
    /// Two transactions got in each other's way; nothing was changed, and trying again is right.
    #[error("cannot finish the transaction because of another one")]
    Contended(#[source] Cause),
    /// A rule of the schema refuses the change, such as a release of a revision that is not there.
    #[error("cannot store what breaks a rule of the database")]
    Constraint(#[source] Cause),
    /// A row that cannot be right.
    #[error("cannot use what table {table} holds in column {column}")]
    Corrupt {
        /// The table it was read from.
        table: &'static str,
        /// The column that is wrong.
        column: &'static str,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// The engine itself reports damage.
    #[error("cannot trust the database: it reports damage")]
    Damaged(#[source] Cause),
    /// A statement that the engine does not take: a fault in this program, in its rights, or in the schema.
    #[error("cannot run the statement {statement}")]
    Statement {
        /// The statement's name.
        statement: &'static str,
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// The setting does not name a database that can be opened.
    #[error("cannot use the database settings")]
    Settings(#[source] Cause),
    /// The schema is not one this program may write to.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Another server uses the same data directory.
    #[error("cannot open {0}: another server is using it")]
    Locked(PathBuf),
    /// The database to copy to is in use already.
    #[error("cannot copy into a database that already holds something")]
    NotEmpty,
}

impl StorageError {
    /// Whether the database is to blame and waiting may help.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, StorageError::Unavailable(_) | StorageError::Full(_) | StorageError::Contended(_))
    }

    /// The error of a use that did not end in time.
    pub(crate) fn late(limit: Duration) -> StorageError {
        StorageError::Unavailable(format!("no answer within {} ms", limit.as_millis()).into())
    }
}

/// Why a schema is refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SchemaError {
    /// A later program has been here.
    #[error(
        "cannot use this database: its schema has version {found}, and this program knows versions up to {known}; install the newer program"
    )]
    Newer {
        /// The version found.
        found: i64,
        /// The last version this program knows.
        known: i64,
    },
    /// A migration that was applied is not the one this program carries.
    #[error("cannot use this database: migration {version} was applied with another text")]
    Changed {
        /// The migration's number.
        version: i64,
    },
    /// Migrations are missing in the middle.
    #[error("cannot use this database: migration {version} is missing although later ones were applied")]
    Gap {
        /// The migration's number.
        version: i64,
    },
    /// Nothing is there.
    #[error("cannot use this database: it holds no store")]
    Empty,
    /// Something that the migrations do not make, lack or make otherwise.
    #[error("cannot use this database: its {what} is not what this program makes")]
    Altered {
        /// Which part of the schema.
        what: String,
    },
    /// Tables that this program did not make.
    #[error("cannot use this database: it holds tables of something else, such as {table}")]
    Foreign {
        /// One of them.
        table: String,
    },
}

/// Why a change was not, or perhaps not, committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CommitError {
    /// Another change came first: plan again from a fresh snapshot. Nothing was changed.
    #[error("cannot commit: the store changed since generation {expected}")]
    Conflict {
        /// The generation the change was planned on.
        expected: i64,
    },
    /// The database was lost in the moment of the commit: the change may be there or not, and importing again is safe.
    #[error("cannot tell whether the change was committed: run it again")]
    Unknown(#[source] StorageError),
    /// A file that the change names is gone: a clean-up took it away before it was owned. Nothing was changed.
    #[error("a clean-up removed a file of this import before it was done: run it again")]
    FileGone,
    /// The files that the change names cannot be looked at. Nothing was changed.
    #[error("cannot look at the files that the change names")]
    Files(#[source] super::blobs::BlobError),
    /// The change is not there.
    #[error("cannot commit the change")]
    Storage(#[from] StorageError),
}
