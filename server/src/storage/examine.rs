//! Checks whether a database file from outside is intact and has this program's schema.

use schema::migrations::MIGRATIONS;

use super::Database;
use super::engine::{Engine, Lane, Mode};
use super::error::{SchemaError, StorageError};
use super::migrate::applied;

impl Database {
    /// Checks that an embedded database holds a store, is undamaged, and has exactly the tables, indexes, views and
    /// triggers of its migrations. Writes nothing.
    ///
    /// # Errors
    /// [`StorageError::Schema`] and [`StorageError::Damaged`] say what is wrong with it.
    pub(crate) async fn examine(&self) -> Result<(), StorageError> {
        let Engine::Sqlite(embedded) = &self.engine else { return Ok(()) };
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let count = applied(&mut transaction, MIGRATIONS).await?;
        transaction.commit().await?;
        if count == 0 {
            return Err(SchemaError::Empty.into());
        }
        embedded.examine(&MIGRATIONS[..count]).await
    }
}
