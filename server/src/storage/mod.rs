//! What the store remembers: the database and the blobs.
//!
//! The database sits behind [`Database`], one file per subject, over two engines that share their SQL (see [`engine`]).
//! The server is its only writer. Every change to the catalog is one [`Change`](records::Change), committed whole and
//! guarded by the generation it was planned on; devices are answered from memory and touch the database for nonces only.

pub(crate) mod blobs;
pub(crate) mod error;
pub(crate) mod records;

mod anew;
mod audit;
pub(crate) mod chain;
pub(crate) mod commit;
#[cfg(test)]
pub(crate) mod contract;
mod copy;
mod devices;
mod engine;
mod examine;
mod migrate;
mod nonces;
pub(crate) mod owned;
mod snapshot;
mod touched;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use self::engine::PoolState;
use self::engine::{Engine, Postgres, Sqlite};
use self::error::StorageError;
pub(crate) use self::touched::{Increment, Position, Touched};

/// How long an announcement of a change may be missed before it is noticed anyway.
const POLL: Duration = Duration::from_secs(5);

/// Which database to use.
#[derive(Clone)]
pub(crate) enum Settings {
    /// The embedded engine, with this file.
    Sqlite(PathBuf),
    /// PostgreSQL, with this connection string. It may hold a password.
    Postgres(secrecy::SecretString),
}

/// The store of record. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    engine: Engine,
}

impl Database {
    /// Opens the database. PostgreSQL is connected to when it is first used.
    ///
    /// # Errors
    /// [`StorageError::Locked`] when another server has the embedded database open, [`StorageError::Settings`] when the
    /// settings make no sense.
    pub(crate) async fn open(settings: &Settings) -> Result<Database, StorageError> {
        use secrecy::ExposeSecret;
        let engine = match settings {
            Settings::Sqlite(path) => Engine::Sqlite(Sqlite::open(path).await?),
            Settings::Postgres(url) => Engine::Postgres(Postgres::open(url.expose_secret())?),
        };
        Ok(Database { engine })
    }

    /// Whether a session could be given out now: the database answers and takes writes.
    ///
    /// # Errors
    /// Why not, within a few seconds.
    pub(crate) async fn health(&self) -> Result<(), StorageError> {
        self.engine.health().await
    }

    /// Is this the only server that uses the database?
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self.engine, Engine::Sqlite(_))
    }

    /// The pools of connections; none of the embedded database.
    pub(crate) fn pools(&self) -> Vec<PoolState> {
        self.engine.pools()
    }

    /// Waits until the generation is another than `known`, and answers it. Outages are waited out.
    ///
    /// # Errors
    /// Only those that waiting does not cure.
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
