//! What the store remembers: the database and the blobs.
//!
//! The database is behind [`Database`], one file per subject, over two engines that share their SQL (see [`engine`]).
//! The server is its only writer. Every change to the catalog is one [`Change`](records::Change), committed as a
//! whole and guarded by the generation it was planned on; devices are answered from memory and touch the database
//! only for nonces.

pub(crate) mod blobs;
pub(crate) mod error;
pub(crate) mod records;

mod anew;
pub(crate) mod approvals;
mod audit;
pub(crate) mod chain;
pub(crate) mod commit;
#[cfg(test)]
pub(crate) mod contract;
mod copy;
pub(crate) mod devices;
pub(crate) mod downloads;
mod engine;
mod examine;
pub(crate) mod grant_history;
pub(crate) mod history;
mod key_days;
pub(crate) mod measures;
mod migrate;
mod nonces;
pub(crate) mod owned;
pub(crate) mod policies;
mod position;
pub(crate) mod rollouts;
pub(crate) mod serials;
mod snapshot;
pub(crate) mod span;
mod touched;
pub(crate) mod trains;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use self::audit::EventsWhere;
pub(crate) use self::engine::PoolState;
use self::engine::{Engine, Postgres, Sqlite};
use self::error::StorageError;
pub(crate) use self::position::Position;
pub(crate) use self::touched::{Increment, Touched};

/// How long a missed announcement of a change may go unnoticed.
const POLL: Duration = Duration::from_secs(5);

/// Which database to use.
#[derive(Clone)]
pub(crate) enum Settings {
    /// The embedded engine, with this file.
    Sqlite(PathBuf),
    /// PostgreSQL, with this connection string, which may contain a password.
    Postgres(secrecy::SecretString),
}

/// The store of record. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    engine: Engine,
}

impl Database {
    /// Opens the database. PostgreSQL is connected on first use.
    ///
    /// # Errors
    /// [`StorageError::Locked`] if another server has the embedded database open, [`StorageError::Settings`] if the
    /// settings are invalid.
    pub(crate) async fn open(settings: &Settings) -> Result<Database, StorageError> {
        use secrecy::ExposeSecret;
        let engine = match settings {
            Settings::Sqlite(path) => Engine::Sqlite(Sqlite::open(path).await?),
            Settings::Postgres(url) => Engine::Postgres(Postgres::open(url.expose_secret())?),
        };
        Ok(Database { engine })
    }

    /// Whether a session could be issued now: the database answers and accepts writes.
    ///
    /// # Errors
    /// The reason, within a few seconds.
    pub(crate) async fn health(&self) -> Result<(), StorageError> {
        self.engine.health().await
    }

    /// Whether this is the only server that uses the database.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self.engine, Engine::Sqlite(_))
    }

    /// The connection pools; empty for the embedded database.
    pub(crate) fn pools(&self) -> Vec<PoolState> {
        self.engine.pools()
    }

    /// Waits until the generation differs from `known`, and returns it. Outages are waited out.
    ///
    /// # Errors
    /// Only those that waiting does not fix.
    pub(crate) async fn wait_for_change(&self, known: i64) -> Result<i64, StorageError> {
        loop {
            match self.generation().await {
                Ok(generation) if generation != known => return Ok(generation),
                Ok(_) => {}
                Err(error) if error.is_unavailable() => {
                    tracing::debug!(%error, "Cannot look for changes")
                }
                Err(error) => return Err(error),
            }
            self.engine.announced(POLL).await;
        }
    }
}
