//! Migrates the schema, or refuses one that this program must not touch.

use schema::migrations::{AUDIT_CHAIN, MIGRATIONS, Migration};
use sha2::{Digest, Sha256};

use super::engine::{Lane, Mode, Reader, Transaction, statements};
use super::error::{SchemaError, StorageError};
use super::{Database, chain};

statements! {
    SELECT_APPLIED = "SELECT version, checksum FROM schema_migrations ORDER BY version";
    INSERT_APPLIED = "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)";
}

/// The table of applied migrations; the first migration creates it.
const RECORD: &str = "schema_migrations";

impl Database {
    /// Applies the missing migrations, each in a transaction that blocks other servers. May be interrupted at any
    /// point and run by several servers at once.
    ///
    /// # Errors
    /// [`StorageError::Schema`] if the schema is newer, altered or foreign; then nothing was written.
    pub(crate) async fn migrate(&self, at_micros: i64) -> Result<(), StorageError> {
        self.migrate_with(MIGRATIONS, at_micros).await
    }

    /// Checks that the schema is still the one that this program knows.
    ///
    /// # Errors
    /// [`StorageError::Schema`] if it is newer, altered or foreign.
    pub(crate) async fn check_schema(&self) -> Result<(), StorageError> {
        let mut transaction = self.engine.begin(Lane::Sessions, Mode::Read).await?;
        let count = applied(&mut transaction, MIGRATIONS).await?;
        transaction.commit().await?;
        match MIGRATIONS.get(count) {
            None => Ok(()),
            Some(lacking) => Err(SchemaError::Gap { version: lacking.version }.into()),
        }
    }

    /// Checks that this program can migrate the schema, or that there is none. Writes nothing.
    ///
    /// # Errors
    /// [`StorageError::Schema`] if it is newer, altered or foreign.
    pub(crate) async fn knows_schema(&self) -> Result<(), StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        applied(&mut transaction, MIGRATIONS).await?;
        transaction.commit().await
    }

    /// As [`Database::migrate`], with the migrations of another version.
    pub(super) async fn migrate_with(
        &self,
        all: &'static [Migration],
        at_micros: i64,
    ) -> Result<(), StorageError> {
        loop {
            let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
            transaction.lock_schema().await?;
            let Some(next) = all.get(applied(&mut transaction, all).await?) else {
                return transaction.commit().await;
            };
            transaction.script(next.sql).await?;
            if next.name == AUDIT_CHAIN {
                chain::seal(&mut transaction).await?;
            }
            let row =
                vec![next.version.into(), next.name.into(), checksum(next.sql).into(), at_micros.into()];
            transaction.query(INSERT_APPLIED, row).await?;
            transaction.commit().await?;
        }
    }
}

/// How many of `all` were applied, after checking that they are the first ones and no others.
pub(super) async fn applied(on: &mut Transaction, all: &[Migration]) -> Result<usize, StorageError> {
    let tables = on.tables().await?;
    if !tables.iter().any(|table| table == RECORD) {
        return match tables.into_iter().next() {
            Some(table) => Err(SchemaError::Foreign { table }.into()),
            None => Ok(0),
        };
    }
    let rows = on.query(SELECT_APPLIED, Vec::new()).await?;
    let count = rows.len();
    let known = all.last().map_or(0, |migration| migration.version);
    let mut found = Vec::with_capacity(count);
    for row in rows {
        let mut row = Reader::new(RECORD, row);
        found.push((row.int("version")?, row.text("checksum")?));
    }
    if let Some((version, _)) = found.last().filter(|(version, _)| *version > known) {
        return Err(SchemaError::Newer { found: *version, known }.into());
    }
    for (migration, (version, text)) in all.iter().zip(found) {
        if version != migration.version {
            return Err(SchemaError::Gap { version: migration.version }.into());
        }
        if text != checksum(migration.sql) {
            return Err(SchemaError::Changed { version }.into());
        }
    }
    Ok(count)
}

fn checksum(sql: &str) -> String {
    Sha256::digest(sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
