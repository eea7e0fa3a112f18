//! The narrow interface to the two database engines.
//!
//! The SQL in the neighbouring files is written once, in the subset that both engines understand: `$1` parameters,
//! integers, text and bytes, `INSERT … ON CONFLICT`, `RETURNING`. The adapters handle all differences: connections,
//! deadlines, column types in migrations, change notifications, and errors.

#[cfg_attr(not(feature = "postgresql"), path = "no_postgres.rs")]
mod postgres;
mod sqlite;

use std::time::Duration;

pub(super) use self::postgres::Postgres;
pub(super) use self::sqlite::Sqlite;
use super::error::{Cause, StorageError};
use crate::logs;

/// One statement, with its name for errors. Only [`statements!`] creates one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

impl Sql {
    pub(super) const fn new(name: &'static str, text: &'static str) -> Sql {
        Sql { name, text }
    }

    /// The error for a fault of this program in this statement.
    fn fault(self, source: impl Into<Cause>) -> StorageError {
        StorageError::Statement { statement: self.name, source: source.into() }
    }
}

/// Declares the statements of a file, and lists them for the tests.
macro_rules! statements {
    ($($name:ident = $text:expr;)+) => {
        $(const $name: $crate::storage::engine::Sql = $crate::storage::engine::Sql::new(stringify!($name), $text);)+
        /// Every statement of this file, for the test that prepares them all.
        #[cfg(test)]
        pub(super) const STATEMENTS: &[$crate::storage::engine::Sql] = &[$($name),+];
    };
}
pub(super) use statements;

/// A parameter or a column value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Int(value.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Int(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Value {
        Value::Bytes(value.to_owned())
    }
}

impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Value {
        Value::Text(value.to_string())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// The values of one row, in the order of the statement's columns.
pub(super) type Row = Vec<Value>;

/// The share of the database that an operation belongs to. Imports, however long, do not touch the sessions' share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Devices wait for it: spending a nonce, readiness.
    Sessions,
    /// Imports, catalog loads, listings, sightings.
    Operator,
}

impl Lane {
    /// Timeout of one operation, including the wait for a connection.
    pub(super) const fn deadline(self) -> Duration {
        match self {
            Lane::Sessions => Duration::from_secs(4),
            Lane::Operator => Duration::from_secs(60),
        }
    }
}

/// The purpose of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Reads everything from one snapshot.
    Read,
    /// Writes.
    Write,
    /// Writes what a power cut may undo: the next [`Write`](Mode::Write) makes it durable, or it counts for as long as the
    /// machine runs. PostgreSQL flushes it all the same.
    WriteUnflushed,
}

/// The state of a connection pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolState {
    /// The pool's share: `sessions` or `operator`.
    pub(crate) name: &'static str,
    /// Open connections.
    pub(crate) open: usize,
    /// Unused ones among them.
    pub(crate) idle: usize,
    /// Maximum number of connections.
    pub(crate) most: usize,
    /// Operations waiting for one.
    pub(crate) waiting: usize,
}

/// The engine in use. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Engine {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Engine {
    /// Runs one read-only statement.
    pub(super) async fn read(
        &self,
        lane: Lane,
        sql: Sql,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StorageError> {
        acceptable(sql, &values)?;
        point("sql.read")?;
        let span = logs::span!("database read", statement = sql.name);
        logs::as_span(span, async {
            match self {
                Engine::Sqlite(sqlite) => sqlite.read(lane, sql, values).await,
                Engine::Postgres(postgres) => postgres.query(lane, sql, values).await,
            }
        })
        .await
    }

    /// Starts a transaction. Dropping it without [`Transaction::commit`] rolls it back.
    pub(super) async fn begin(&self, lane: Lane, mode: Mode) -> Result<Transaction, StorageError> {
        point("sql.begin")?;
        let inner = match self {
            Engine::Sqlite(sqlite) => Inner::Sqlite(sqlite.begin(lane, mode).await?),
            Engine::Postgres(postgres) => Inner::Postgres(Box::new(postgres.begin(lane, mode).await?)),
        };
        Ok(Transaction { inner, reads: mode == Mode::Read, failed: false })
    }

    /// Runs a transaction that `work` commits. The embedded database does it in one go on a thread of its own, where it goes
    /// on if the caller is gone: the way to another thread and back takes longer than a statement.
    pub(super) async fn transact<T, F>(
        &self,
        lane: Lane,
        mode: Mode,
        work: impl FnOnce(Transaction) -> F + Send + 'static,
    ) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        let mut transaction = self.begin(lane, mode).await?;
        match &mut transaction.inner {
            Inner::Sqlite(inner) => {
                inner.stay_on_this_thread();
                sqlite::in_one_go(work(transaction)).await
            }
            Inner::Postgres(_) => work(transaction).await,
        }
    }

    /// Whether the engine takes writes now.
    pub(super) async fn health(&self) -> Result<(), StorageError> {
        match self {
            Engine::Sqlite(sqlite) => sqlite.health().await,
            Engine::Postgres(postgres) => postgres.health().await,
        }
    }

    /// Identifies this opening of an embedded database.
    pub(super) fn life(&self) -> Option<&str> {
        match self {
            Engine::Sqlite(sqlite) => Some(sqlite.life()),
            Engine::Postgres(_) => None,
        }
    }

    /// The pools of connections.
    pub(super) fn pools(&self) -> Vec<PoolState> {
        match self {
            Engine::Sqlite(_) => Vec::new(),
            Engine::Postgres(postgres) => postgres.pools(),
        }
    }

    /// Waits until some server announces a change, or for `at_most`.
    pub(super) async fn announced(&self, at_most: Duration) {
        match self {
            Engine::Sqlite(sqlite) => sqlite.announced(at_most).await,
            Engine::Postgres(postgres) => postgres.announced(at_most).await,
        }
    }
}

#[cfg(test)]
impl Engine {
    /// Prepares a statement without running it.
    pub(super) async fn prepare(&self, sql: Sql) -> Result<(), StorageError> {
        match self {
            Engine::Sqlite(sqlite) => sqlite.prepare(sql).await,
            Engine::Postgres(postgres) => postgres.prepare(sql).await,
        }
    }
}

/// A transaction. After an error it can only be dropped.
#[derive(Debug)]
pub(super) struct Transaction {
    inner: Inner,
    reads: bool,
    failed: bool,
}

#[derive(Debug)]
enum Inner {
    Sqlite(sqlite::SqliteTransaction),
    Postgres(Box<postgres::PostgresTransaction>),
}

impl Transaction {
    /// Runs one statement.
    pub(super) async fn query(&mut self, sql: Sql, values: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        acceptable(sql, &values)?;
        self.failed = true;
        if self.reads {
            point("sql.look")?;
        } else {
            point("sql.query")?;
        }
        let rows = match &mut self.inner {
            Inner::Sqlite(transaction) => transaction.query(sql, values).await,
            Inner::Postgres(transaction) => transaction.query(sql, values).await,
        }?;
        self.failed = false;
        Ok(rows)
    }

    /// Runs one statement for each set of values, and returns the rows of each.
    pub(super) async fn each(
        &mut self,
        sql: Sql,
        sets: Vec<Vec<Value>>,
    ) -> Result<Vec<Vec<Row>>, StorageError> {
        for values in &sets {
            acceptable(sql, values)?;
        }
        if sets.is_empty() {
            return Ok(Vec::new());
        }
        self.failed = true;
        point(if self.reads { "sql.look" } else { "sql.each" })?;
        let span = match self.reads {
            true => logs::span!("database read", statement = sql.name),
            false => logs::span!("database write", statement = sql.name),
        };
        let inner = &mut self.inner;
        let rows = logs::as_span(span, async move {
            match inner {
                Inner::Sqlite(transaction) => transaction.each(sql, sets).await,
                Inner::Postgres(transaction) => transaction.each(sql, sets).await,
            }
        });
        let rows = rows.await?;
        self.failed = false;
        Ok(rows)
    }

    /// Runs the text of a migration, with the engine's column types.
    pub(super) async fn script(&mut self, text: &'static str) -> Result<(), StorageError> {
        self.failed = true;
        point("sql.script")?;
        match &mut self.inner {
            Inner::Sqlite(transaction) => transaction.script(text).await,
            Inner::Postgres(transaction) => transaction.script(text).await,
        }?;
        self.failed = false;
        Ok(())
    }

    /// Blocks all other migrations until this transaction ends.
    pub(super) async fn lock_schema(&mut self) -> Result<(), StorageError> {
        match &mut self.inner {
            // SQLite has one write transaction at a time, and the data directory is locked as well.
            Inner::Sqlite(_) => Ok(()),
            Inner::Postgres(transaction) => transaction.lock_schema().await,
        }
    }

    /// Whether the database continues its last named life, without having been restored in between.
    pub(super) async fn continues(&mut self) -> Result<bool, StorageError> {
        let rows = match &mut self.inner {
            Inner::Sqlite(transaction) => {
                let life = vec![(&*transaction.life).into()];
                transaction.query(sqlite::CONTINUES, life).await
            }
            Inner::Postgres(transaction) => transaction.query(postgres::CONTINUES, Vec::new()).await,
        }?;
        Ok(!rows.is_empty())
    }

    /// Names the database's current life.
    pub(super) async fn begin_life(&mut self) -> Result<(), StorageError> {
        match &mut self.inner {
            Inner::Sqlite(transaction) => {
                let life = vec![(&*transaction.life).into()];
                transaction.query(sqlite::BEGIN_LIFE, life).await
            }
            Inner::Postgres(transaction) => transaction.query(postgres::BEGIN_LIFE, Vec::new()).await,
        }
        .map(drop)
    }

    /// The names of all tables.
    pub(super) async fn tables(&mut self) -> Result<Vec<String>, StorageError> {
        let rows = match &mut self.inner {
            Inner::Sqlite(transaction) => transaction.query(sqlite::TABLES, Vec::new()).await,
            Inner::Postgres(transaction) => transaction.query(postgres::TABLES, Vec::new()).await,
        }?;
        rows.into_iter().map(|row| Reader::new("tables", row).text("name")).collect()
    }

    /// Announces a change to all servers once this commits.
    pub(super) async fn announce(&mut self) -> Result<(), StorageError> {
        match &mut self.inner {
            Inner::Sqlite(transaction) => {
                transaction.announce();
                Ok(())
            }
            Inner::Postgres(transaction) => transaction.announce().await,
        }
    }

    /// Makes everything durable and visible.
    ///
    /// [`StorageError::Contended`], [`StorageError::Constraint`] and [`StorageError::Full`] mean that nothing happened; after any other error
    /// the transaction may have been committed or not.
    pub(super) async fn commit(self) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Contended("a statement of this transaction failed".into()));
        }
        if self.reads {
            point("sql.look")?;
        } else {
            point("sql.commit")?;
        }
        match self.inner {
            Inner::Sqlite(transaction) => transaction.commit().await,
            Inner::Postgres(transaction) => transaction.commit().await,
        }?;
        // A reply that gets lost.
        point("sql.committed")
    }
}

/// A named point where a test can make the database fail.
fn point(name: &'static str) -> Result<(), StorageError> {
    failpoint_io!(name).map_err(|error| StorageError::Unavailable(error.into()))
}

/// Rejects values that only one engine accepts: PostgreSQL's text has no NUL.
fn acceptable(sql: Sql, values: &[Value]) -> Result<(), StorageError> {
    if values.iter().any(|value| matches!(value, Value::Text(text) if text.contains('\0'))) {
        return Err(sql.fault("a text value contains NUL"));
    }
    Ok(())
}

/// Reads a row column by column; an invalid value is reported with its table and column.
#[derive(Debug)]
pub(super) struct Reader {
    table: &'static str,
    values: std::vec::IntoIter<Value>,
}

impl Reader {
    pub(super) fn new(table: &'static str, row: Row) -> Reader {
        Reader { table, values: row.into_iter() }
    }

    /// The error for an impossible value.
    pub(super) fn corrupt(&self, column: &'static str, source: impl Into<Cause>) -> StorageError {
        StorageError::Corrupt { table: self.table, column, source: source.into() }
    }

    pub(super) fn int(&mut self, column: &'static str) -> Result<i64, StorageError> {
        match self.values.next() {
            Some(Value::Int(value)) => Ok(value),
            _ => Err(self.corrupt(column, "not an integer")),
        }
    }

    /// An integer of a narrower type.
    pub(super) fn number<T: TryFrom<i64>>(&mut self, column: &'static str) -> Result<T, StorageError> {
        let value = self.int(column)?;
        T::try_from(value).map_err(|_| self.corrupt(column, format!("{value} is out of range")))
    }

    pub(super) fn truth(&mut self, column: &'static str) -> Result<bool, StorageError> {
        Ok(self.int(column)? != 0)
    }

    pub(super) fn text(&mut self, column: &'static str) -> Result<String, StorageError> {
        self.optional_text(column)?.ok_or_else(|| self.corrupt(column, "null"))
    }

    pub(super) fn optional_text(&mut self, column: &'static str) -> Result<Option<String>, StorageError> {
        match self.values.next() {
            Some(Value::Text(value)) => Ok(Some(value)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.corrupt(column, "not a text")),
        }
    }

    /// A text that parses.
    pub(super) fn parsed<T>(&mut self, column: &'static str) -> Result<T, StorageError>
    where
        T: std::str::FromStr<Err: Into<Cause>>,
    {
        let text = self.text(column)?;
        text.parse().map_err(|error: T::Err| self.corrupt(column, error))
    }

    /// As [`Reader::parsed`], or null for none.
    pub(super) fn optional_parsed<T>(&mut self, column: &'static str) -> Result<Option<T>, StorageError>
    where
        T: std::str::FromStr<Err: Into<Cause>>,
    {
        let text = self.optional_text(column)?;
        text.map(|text| text.parse()).transpose().map_err(|error: T::Err| self.corrupt(column, error))
    }

    /// A text that is a valid name, or empty for none.
    pub(super) fn name_or_empty<T>(&mut self, column: &'static str) -> Result<Option<T>, StorageError>
    where
        T: std::str::FromStr<Err: Into<Cause>>,
    {
        let text = self.text(column)?;
        let name = Some(text).filter(|text| !text.is_empty()).map(|text| text.parse()).transpose();
        name.map_err(|error: T::Err| self.corrupt(column, error))
    }

    pub(super) fn bytes(&mut self, column: &'static str) -> Result<Vec<u8>, StorageError> {
        match self.values.next() {
            Some(Value::Bytes(value)) => Ok(value),
            _ => Err(self.corrupt(column, "not bytes")),
        }
    }

    /// A list or object kept as JSON text.
    pub(super) fn json<T: serde::de::DeserializeOwned>(
        &mut self,
        column: &'static str,
    ) -> Result<T, StorageError> {
        let text = self.text(column)?;
        serde_json::from_str(&text).map_err(|error| self.corrupt(column, error))
    }

    pub(super) fn optional_json<T: serde::de::DeserializeOwned>(
        &mut self,
        column: &'static str,
    ) -> Result<Option<T>, StorageError> {
        let text = self.optional_text(column)?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| self.corrupt(column, error))
    }
}
