//! Errors of the database.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// The cause of an error, from either engine.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why the database could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StorageError {
    /// Down, unreachable, read-only or out of connections: retrying later may help.
    #[error("cannot reach a working database")]
    Unavailable(#[source] Cause),
    /// The disk is full; nothing was changed.
    #[error(
        "cannot write to the database: its disk is full, and nothing was changed; make room there and run the command again \
         (`proxy doctor` shows the disks of this host)"
    )]
    Full,
    /// Two transactions conflicted; nothing was changed, and retrying is right.
    #[error("cannot finish the transaction because of another one")]
    Contended(#[source] Cause),
    /// The schema rejects the change, such as a release of a missing revision.
    #[error("cannot store what breaks a rule of the database")]
    Constraint(#[source] Cause),
    /// A row with an impossible value.
    #[error("cannot use what table {table} holds in column {column}")]
    Corrupt {
        /// The table it was read from.
        table: &'static str,
        /// The column that is wrong.
        column: &'static str,
        /// The problem.
        #[source]
        source: Cause,
    },
    /// The engine itself reports damage.
    #[error("cannot trust the database: it reports damage")]
    Damaged(#[source] Cause),
    /// The engine rejects a statement: a fault in this program, its permissions, or the schema.
    #[error("cannot run the statement {statement}")]
    Statement {
        /// The statement's name.
        statement: &'static str,
        /// The engine's error.
        #[source]
        source: Cause,
    },
    /// The setting does not name a database that can be opened.
    #[error("cannot use the database settings")]
    Settings(#[source] Cause),
    /// This program may not write to the schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Another server uses the same data directory.
    #[error("cannot open {0}: another server is using it")]
    Locked(PathBuf),
    /// The target database of a copy is already in use.
    #[error(
        "cannot copy into a database that already holds something: name another, or make it anew with `proxy create-database`"
    )]
    NotEmpty,
}

impl StorageError {
    /// Whether the database is at fault and waiting may help.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, StorageError::Unavailable(_) | StorageError::Full | StorageError::Contended(_))
    }

    /// The error for an operation that timed out.
    pub(crate) fn late(limit: Duration) -> StorageError {
        StorageError::Unavailable(format!("no answer within {} ms", limit.as_millis()).into())
    }
}

/// Why a schema is rejected. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SchemaError {
    /// A newer program has used it.
    #[error(
        "cannot use this database: its schema has version {found}, and this program knows versions up to {known}; install the newer program"
    )]
    Newer {
        /// The version found.
        found: i64,
        /// The last version this program knows.
        known: i64,
    },
    /// An applied migration differs from this program's.
    #[error("cannot use this database: migration {version} was applied with another text")]
    Changed {
        /// The migration's number.
        version: i64,
    },
    /// Migrations in the middle are missing.
    #[error("cannot use this database: migration {version} is missing although later ones were applied")]
    Gap {
        /// The migration's number.
        version: i64,
    },
    /// The database is empty.
    #[error("cannot use this database: it holds no store")]
    Empty,
    /// The schema differs from what the migrations create.
    #[error("cannot use this database: its {what} is not what this program makes")]
    Altered {
        /// The part of the schema.
        what: String,
    },
    /// The database contains tables of another program.
    #[error("cannot use this database: it holds tables of something else, such as {table}")]
    Foreign {
        /// One of them.
        table: String,
    },
}

/// Why a change was not committed, or may not have been.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CommitError {
    /// Another change came first: plan again from a new snapshot. Nothing was changed.
    #[error("cannot commit: the store changed since generation {expected}")]
    Conflict {
        /// The generation the change was planned on.
        expected: i64,
    },
    /// The database was lost during the commit: the change may or may not be there, and importing again is safe.
    #[error("cannot tell whether the change was committed: run it again")]
    Unknown(#[source] StorageError),
    /// A file of the change is gone: a clean-up removed it before it was owned. Nothing was changed.
    #[error("a clean-up removed a file of this import before it was done: run it again")]
    FileGone,
    /// The files of the change cannot be checked. Nothing was changed.
    #[error("cannot look at the files that the change names")]
    Files(#[source] super::blobs::BlobError),
    /// The change was not committed.
    #[error("cannot commit the change")]
    Storage(#[from] StorageError),
}
