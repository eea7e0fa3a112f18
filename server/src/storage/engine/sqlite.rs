//! The embedded engine: one SQLite file in the data directory, for one server.
//!
//! Two connections, one for writing and one for reading, so that loading the catalog does not delay devices. Work
//! runs on blocking threads; a connection abandoned in the middle of a transaction is rolled back first.
//! Every transaction says whether it waits for the disk, so no setting is left over from the one before.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, params_from_iter};
use schema::migrations::Migration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{Instrument as _, Span};

use super::super::error::{SchemaError, StorageError};
use super::{Lane, Mode, Row, Sql, Value};

pub(super) const TABLES: Sql = Sql::new(
    "TABLES",
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
);
/// Each start is a new life, because the files can be restored whenever nobody has them open.
pub(super) const CONTINUES: Sql =
    Sql::new("CONTINUES", "SELECT 1 FROM meta WHERE name = 'nonce-life' AND value = $1");
pub(super) const BEGIN_LIFE: Sql = Sql::new(
    "BEGIN_LIFE",
    "INSERT INTO meta (name, value) VALUES ('nonce-life', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
);
const BEGIN_WRITE: Sql = Sql::new("BEGIN", "BEGIN IMMEDIATE");
const BEGIN_READ: Sql = Sql::new("BEGIN", "BEGIN DEFERRED");
const FLUSHED: Sql = Sql::new("FLUSHED", "PRAGMA synchronous = FULL");
/// The log of the database is flushed in its order, so the next flush covers this transaction.
const UNFLUSHED: Sql = Sql::new("UNFLUSHED", "PRAGMA synchronous = NORMAL");
const COMMIT: Sql = Sql::new("COMMIT", "COMMIT");
const TRANSACTION: Sql = Sql::new("TRANSACTION", "");
const OPEN: Sql = Sql::new("OPEN", "");
const SCRIPT: Sql = Sql::new("MIGRATION", "");
const EXAMINE: Sql =
    Sql::new("EXAMINE", "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type DESC, name");
const INTEGRITY: Sql = Sql::new("INTEGRITY", "PRAGMA integrity_check");
const REFERENCES: Sql = Sql::new("REFERENCES", "PRAGMA foreign_key_check");

/// How many prepared statements a connection keeps: more than there are.
const STATEMENTS: usize = 128;

/// An open database file.
#[derive(Debug, Clone)]
pub(in crate::storage) struct Sqlite {
    writer: Arc<Mutex<Connection>>,
    reader: Arc<Mutex<Connection>>,
    changed: Arc<Notify>,
    /// Identifies this opening of the file.
    life: Arc<str>,
    /// The file's path, and its identity when it was opened.
    file: Arc<(std::path::PathBuf, (u64, u64))>,
    // Held as long as the database is open.
    _lock: Arc<File>,
}

impl Sqlite {
    /// Opens the database file, creating it with mode 0600; fails while another server has it open.
    pub(in crate::storage) async fn open(path: &Path) -> Result<Sqlite, StorageError> {
        let path = path.to_owned();
        blocking(OPEN, move || {
            let lock = lock(&path)?;
            let settings = |source| unusable(&path, &source);
            // SQLite gives its other files the same mode.
            OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(settings)?;
            Ok(Sqlite {
                writer: Arc::new(Mutex::new(connect(&path)?)),
                reader: Arc::new(Mutex::new(connect(&path)?)),
                changed: Arc::new(Notify::new()),
                life: life()?.into(),
                file: Arc::new((path.clone(), identity(&path).map_err(settings)?)),
                _lock: Arc::new(lock),
            })
        })
        .await
    }

    /// Identifies this opening of the file.
    pub(super) fn life(&self) -> &str {
        &self.life
    }

    pub(super) async fn read(
        &self,
        lane: Lane,
        sql: Sql,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StorageError> {
        let (_, rows) =
            Lease::take(&self.reader, lane).await?.run(sql, move |on| query(on, sql, &values)).await?;
        Ok(rows)
    }

    pub(super) async fn begin(&self, lane: Lane, mode: Mode) -> Result<SqliteTransaction, StorageError> {
        let connection = match mode {
            Mode::Read => &self.reader,
            Mode::Write | Mode::WriteUnflushed => &self.writer,
        };
        let lease = Some(Lease::take(connection, lane).await?);
        let (life, changed) = (self.life.clone(), self.changed.clone());
        Ok(SqliteTransaction { lease, begin: Some(mode), stays: false, announce: None, changed, life })
    }

    pub(super) async fn health(&self) -> Result<(), StorageError> {
        // Reads pages of the file; a full disk only shows at the next write.
        self.read(Lane::Sessions, TABLES, Vec::new()).await?;
        // Writes to a removed or replaced file would be lost at the next start.
        let file = Arc::clone(&self.file);
        let found = blocking(OPEN, move || Ok(identity(&file.0).is_ok_and(|found| found == file.1))).await?;
        match found {
            true => Ok(()),
            false => {
                Err(StorageError::Unavailable("the database file is not the one that was opened".into()))
            }
        }
    }

    /// Compares the schema with that of these migrations, and lets SQLite check for damage and broken references.
    pub(in crate::storage) async fn examine(
        &self,
        migrations: &'static [Migration],
    ) -> Result<(), StorageError> {
        let compare = move |on: &Connection| {
            let model = Connection::open_in_memory().map_err(|error| classify(EXAMINE, error))?;
            for migration in migrations {
                script(&model, migration.sql)?;
            }
            let (found, wanted) = (query(on, EXAMINE, &[])?, query(&model, EXAMINE, &[])?);
            let differs = found.iter().find(|row| !wanted.contains(row));
            if let Some(row) = differs.or_else(|| wanted.iter().find(|row| !found.contains(row))) {
                let texts = row.iter().filter_map(|value| match value {
                    Value::Text(text) => Some(text.chars().take(80).collect()),
                    _ => None,
                });
                return Err(
                    SchemaError::Altered { what: texts.take(2).collect::<Vec<String>>().join(" ") }.into()
                );
            }
            for (check, sound) in [(INTEGRITY, 1), (REFERENCES, 0)] {
                let found = query(on, check, &[])?;
                let fine = |row: &Row| row.first() == Some(&Value::Text("ok".into()));
                if found.len() != sound || !found.iter().all(fine) {
                    let cause =
                        format!("{} fails: {:?}", check.text, found.first().and_then(|row| row.first()));
                    return Err(StorageError::Damaged(cause.into()));
                }
            }
            Ok(())
        };
        // No size limit, because nobody else uses the file.
        let lease = Lease::take(&self.writer, Lane::Operator).await?;
        lease.run(EXAMINE, compare).await.map(drop)
    }

    pub(super) async fn announced(&self, at_most: Duration) {
        // Only this server writes, so a timeout misses nothing.
        let _ = timeout(at_most, self.changed.notified()).await;
    }
}

/// Runs a migration with this engine's column types.
fn script(on: &Connection, text: &str) -> Result<(), StorageError> {
    let text = text.replace("BIGINT", "INTEGER").replace("BYTEA", "BLOB").replace("/*STRICT*/", "STRICT");
    on.execute_batch(&text).map_err(|error| classify(SCRIPT, error))
}

/// A transaction on one of the two connections.
#[derive(Debug)]
pub(super) struct SqliteTransaction {
    // Absent only while a statement runs, or after one was abandoned.
    lease: Option<Lease>,
    /// What begins it, until its first statement takes that along: each step is a way to another thread and back.
    begin: Option<Mode>,
    /// Whether its statements run on the thread that asks for them.
    stays: bool,
    announce: Option<()>,
    changed: Arc<Notify>,
    pub(super) life: Arc<str>,
}

impl SqliteTransaction {
    /// Runs the statements on the thread that asks for them, which must be one that may wait for a disk.
    pub(super) fn stay_on_this_thread(&mut self) {
        self.stays = true;
    }

    pub(super) async fn query(&mut self, sql: Sql, values: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        self.run(sql, move |on| query(on, sql, &values)).await
    }

    pub(super) async fn each(
        &mut self,
        sql: Sql,
        sets: Vec<Vec<Value>>,
    ) -> Result<Vec<Vec<Row>>, StorageError> {
        self.run(sql, move |on| sets.iter().map(|values| query(on, sql, values)).collect()).await
    }

    pub(super) async fn script(&mut self, text: &'static str) -> Result<(), StorageError> {
        self.run(SCRIPT, move |on| script(on, text)).await
    }

    pub(super) fn announce(&mut self) {
        self.announce = Some(());
    }

    pub(super) async fn commit(mut self) -> Result<(), StorageError> {
        self.run(COMMIT, move |on| execute(on, COMMIT)).await?;
        if self.announce.is_some() {
            self.changed.notify_one();
        }
        Ok(())
    }

    async fn run<T: Send + 'static>(
        &mut self,
        sql: Sql,
        work: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let lease = self.lease.take().ok_or_else(|| sql.fault("the transaction is over"))?;
        let begin = self.begin.take();
        let begun = move |on: &Connection| {
            begin.map_or(Ok(()), |mode| begin_on(on, mode))?;
            work(on)
        };
        let (lease, value) = match self.stays {
            true => lease.run_here(begun)?,
            false => lease.run(sql, begun).await?,
        };
        self.lease = Some(lease);
        Ok(value)
    }
}

/// Exclusive use of a connection; rolls back an open transaction at the end.
#[derive(Debug)]
struct Lease(OwnedMutexGuard<Connection>);

impl Lease {
    async fn take(connection: &Arc<Mutex<Connection>>, lane: Lane) -> Result<Lease, StorageError> {
        let limit = lane.deadline();
        let guard =
            timeout(limit, connection.clone().lock_owned()).await.map_err(|_| StorageError::late(limit))?;
        Ok(Lease(guard))
    }

    /// Runs `work` on a blocking thread, which keeps the lease until it is done even if nobody waits any more.
    async fn run<T: Send + 'static>(
        self,
        sql: Sql,
        work: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<(Lease, T), StorageError> {
        blocking(sql, move || self.run_here(work)).await
    }

    fn run_here<T>(
        self,
        work: impl FnOnce(&Connection) -> Result<T, StorageError>,
    ) -> Result<(Lease, T), StorageError> {
        let value = work(&self.0)?;
        Ok((self, value))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.0.is_autocommit() && self.0.execute_batch("ROLLBACK").is_err() {
            // Nothing was committed; SQLite ends the transaction when the file is next opened.
            tracing::error!("Cannot roll back a transaction of the embedded database");
        }
    }
}

async fn blocking<T: Send + 'static>(
    sql: Sql,
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    spawn_blocking(work).await.map_err(|error| sql.fault(error))?
}

/// Runs a transaction that stays on its thread.
pub(super) async fn in_one_go<T: Send + 'static>(
    work: impl Future<Output = Result<T, StorageError>> + Send + 'static,
) -> Result<T, StorageError> {
    let (runtime, span) = (Handle::current(), Span::current());
    blocking(TRANSACTION, move || runtime.block_on(work.instrument(span))).await
}

/// A name unique to this opening.
fn life() -> Result<String, StorageError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|error| OPEN.fault(error))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The identity of the file, independent of its path.
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Locks the file next to the database that marks it as in use.
fn lock(path: &Path) -> Result<File, StorageError> {
    let lock = path.with_extension("lock");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&lock)
        .map_err(|error| unusable(&lock, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(&lock, &error)),
    }
}

/// A file of the database that cannot be opened.
fn unusable(path: &Path, error: &std::io::Error) -> StorageError {
    StorageError::Settings(format!("cannot write {}: {error}", path.display()).into())
}

fn connect(path: &Path) -> Result<Connection, StorageError> {
    let connection = Connection::open(path).map_err(|error| classify(OPEN, error))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection
        .execute_batch(
            "PRAGMA busy_timeout = 5000;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA trusted_schema = OFF;
             PRAGMA journal_size_limit = 67108864;",
        )
        .map_err(|error| classify(OPEN, error))?;
    Ok(connection)
}

fn begin_on(connection: &Connection, mode: Mode) -> Result<(), StorageError> {
    // This setting is made when its statement is prepared, so that one is never kept.
    let setting = |sql: Sql| connection.execute_batch(sql.text).map_err(|error| classify(sql, error));
    match mode {
        Mode::Read => return execute(connection, BEGIN_READ),
        Mode::Write => setting(FLUSHED)?,
        Mode::WriteUnflushed => setting(UNFLUSHED)?,
    }
    execute(connection, BEGIN_WRITE)
}

fn execute(connection: &Connection, sql: Sql) -> Result<(), StorageError> {
    let executed = connection.prepare_cached(sql.text).and_then(|mut statement| statement.execute([]));
    executed.map(drop).map_err(|error| classify(sql, error))
}

/// A statement as SQLite wants it. `$N` would be a *name*, numbered by first appearance, so it becomes `?N`; what is marked as meant for
/// SQLite is a comment to the other engine.
fn spelled(sql: Sql) -> String {
    let text = sql.text.replace('$', "?");
    match text.contains("/*SQLITE ") {
        true => text.replace("/*SQLITE ", "").replace("*/", ""),
        false => text,
    }
}

/// Runs one statement.
fn query(connection: &Connection, sql: Sql, values: &[Value]) -> Result<Vec<Row>, StorageError> {
    let failed = |error| classify(sql, error);
    let mut statement = connection.prepare_cached(&spelled(sql)).map_err(failed)?;
    if statement.parameter_count() != values.len() {
        return Err(sql.fault(format!(
            "{} values for {} parameters",
            values.len(),
            statement.parameter_count()
        )));
    }
    let columns = statement.column_count();
    let mut rows = statement.query(params_from_iter(values)).map_err(failed)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let values = (0..columns).map(|column| value(sql, row.get_ref(column).map_err(failed)?));
        all.push(values.collect::<Result<Row, _>>()?);
    }
    Ok(all)
}

fn value(sql: Sql, value: ValueRef<'_>) -> Result<Value, StorageError> {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(value) => Ok(Value::Int(value)),
        ValueRef::Text(bytes) => String::from_utf8(bytes.to_owned())
            .map(Value::Text)
            .map_err(|error| StorageError::Damaged(error.into())),
        ValueRef::Blob(bytes) => Ok(Value::Bytes(bytes.to_owned())),
        ValueRef::Real(_) => Err(sql.fault("a column of a type that is not used here")),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(value) => ValueRef::Integer(*value),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}

fn classify(sql: Sql, error: rusqlite::Error) -> StorageError {
    let Some(code) = error.sqlite_error_code() else {
        return sql.fault(error);
    };
    // Its own cause says the same again.
    let cause = || error.to_string().into();
    match code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::SystemIoFailure
        | ErrorCode::ReadOnly
        | ErrorCode::CannotOpen
        | ErrorCode::OutOfMemory
        | ErrorCode::PermissionDenied => StorageError::Unavailable(cause()),
        ErrorCode::DiskFull => StorageError::Full,
        ErrorCode::ConstraintViolation => StorageError::Constraint(cause()),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StorageError::Damaged(cause()),
        _ => sql.fault(error),
    }
}

#[cfg(test)]
impl Sqlite {
    /// Has SQLite check `sql` without running it.
    pub(super) async fn prepare(&self, sql: Sql) -> Result<(), StorageError> {
        let lease = Lease::take(&self.reader, Lane::Operator).await?;
        let prepare = move |on: &Connection| {
            let statement = on.prepare(&spelled(sql)).map_err(|error| classify(sql, error))?;
            // Requires that all parameters from first to last are used.
            match (1..=statement.parameter_count()).find(|&index| statement.parameter_name(index).is_none()) {
                Some(index) => Err(sql.fault(format!("${index} is not used"))),
                None => Ok(()),
            }
        };
        lease.run(sql, prepare).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVEL: Sql = Sql::new("LEVEL", "PRAGMA synchronous");

    #[tokio::test]
    async fn every_transaction_says_whether_it_waits_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(&folder.path().join("airlock.db")).await.unwrap();
        let (normal, full) = (1, 2);
        let unflushed = (Mode::WriteUnflushed, normal);
        for (mode, wanted) in [unflushed, (Mode::Write, full), unflushed, unflushed, (Mode::Write, full)] {
            let mut transaction = sqlite.begin(Lane::Sessions, mode).await.unwrap();
            let level = |on: &Connection| on.query_row(LEVEL.text, [], |row| row.get::<_, i64>(0));
            let level = move |on: &Connection| level(on).map_err(|error| classify(LEVEL, error));
            assert_eq!(transaction.run(LEVEL, level).await.unwrap(), wanted, "{mode:?}");
            transaction.commit().await.unwrap();
        }
    }
}
