//! The scalable engine: PostgreSQL, shared by several servers.
//!
//! Two pools, so that imports cannot take the connections that devices need. Each operation has a deadline, and the
//! server has a statement timeout as well. An abandoned query is cancelled on the server and its connection closed,
//! so nobody gets a busy connection. Only servers that accept writes are used.

use std::fmt;
use std::future::poll_fn;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Statement};

use super::super::error::{Cause, StorageError};
use super::{Lane, Mode, PoolState, Row, Sql, Value};

pub(super) const TABLES: Sql = Sql::new(
    "TABLES",
    "SELECT CAST(tablename AS TEXT) FROM pg_catalog.pg_tables WHERE schemaname = current_schema()",
);
const LOCK_SCHEMA: Sql = Sql::new("LOCK_SCHEMA", "SELECT 1 FROM pg_advisory_xact_lock(4702394921427289928)");
/// The fingerprint of a database's life. It changes when PostgreSQL restarts, from its own files or a base backup, or
/// another server takes over; when the database or one of the tables is created, emptied or refilled; and when the
/// row with the name was written by another transaction than it says.
macro_rules! life {
    ($writer:literal) => {
        concat!(
            "concat_ws('/', (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()),
            CAST(extract(epoch FROM pg_postmaster_start_time()) * 1000000 AS BIGINT),
            pg_relation_filenode('spent_nonces'), pg_relation_filenode('nonce_epochs'), ",
            $writer,
            ")"
        )
    };
}
pub(super) const CONTINUES: Sql = Sql::new(
    "CONTINUES",
    concat!("SELECT 1 FROM meta WHERE name = 'nonce-life' AND value = ", life!("CAST(xmin AS TEXT)")),
);
pub(super) const BEGIN_LIFE: Sql = Sql::new(
    "BEGIN_LIFE",
    concat!(
        "INSERT INTO meta (name, value) SELECT 'nonce-life', ",
        life!("txid_current() % 4294967296"),
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    ),
);
const ANNOUNCE: Sql = Sql::new("ANNOUNCE", "NOTIFY airlock_catalog");
const LISTEN: Sql = Sql::new("LISTEN", "LISTEN airlock_catalog");
const WRITABLE: Sql = Sql::new("WRITABLE", "SELECT current_setting('transaction_read_only')");
const BEGIN_WRITE: Sql = Sql::new("BEGIN", "BEGIN ISOLATION LEVEL READ COMMITTED");
const BEGIN_READ: Sql = Sql::new("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
const COMMIT: Sql = Sql::new("COMMIT", "COMMIT");
const SCRIPT: Sql = Sql::new("MIGRATION", "");

/// Timeout for getting a connection: waiting, connecting, and checking that a used one is alive.
const WAIT: Duration = Duration::from_millis(1500);
const CREATE: Duration = Duration::from_millis(2500);
const RECYCLE: Duration = Duration::from_secs(1);
/// A connection whose peer acknowledges nothing for this long is dead.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// How many statements of a batch are in flight at once.
const IN_FLIGHT: usize = 200;

/// Pools of connections to one database.
#[derive(Debug, Clone)]
pub(in crate::storage) struct Postgres {
    sessions: Pool,
    operator: Pool,
    listener: Arc<Listener>,
}

struct Listener {
    config: Config,
    task: Mutex<Option<(Client, JoinHandle<()>)>>,
    changed: Arc<Notify>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl Postgres {
    /// Prepares pools for the database in `url`; connects on demand.
    pub(in crate::storage) fn open(url: &str) -> Result<Postgres, StorageError> {
        let settings = |error: tokio_postgres::Error| StorageError::Settings(error.into());
        let mut config = Config::from_str(url).map_err(settings)?;
        config
            .application_name("proxyd")
            .connect_timeout(CREATE)
            .tcp_user_timeout(UNACKNOWLEDGED)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(30))
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Postgres {
            sessions: pool(&config, Lane::Sessions, 8)?,
            operator: pool(&config, Lane::Operator, 4)?,
            listener: Arc::new(Listener { config, task: Mutex::new(None), changed: Arc::new(Notify::new()) }),
        })
    }

    pub(super) async fn query(
        &self,
        lane: Lane,
        sql: Sql,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StorageError> {
        self.within(lane, async {
            let lease = self.lease(lane).await?;
            let rows = lease.query(sql, &values).await?;
            lease.give_back();
            Ok(rows)
        })
        .await
    }

    pub(super) async fn begin(&self, lane: Lane, mode: Mode) -> Result<PostgresTransaction, StorageError> {
        let begin = match mode {
            Mode::Read => BEGIN_READ,
            Mode::Write | Mode::WriteUnflushed => BEGIN_WRITE,
        };
        self.within(lane, async {
            let lease = self.lease(lane).await?;
            lease.execute(begin, begin.text).await?;
            Ok(PostgresTransaction { lease, lane })
        })
        .await
    }

    pub(super) async fn health(&self) -> Result<(), StorageError> {
        match self.query(Lane::Sessions, WRITABLE, Vec::new()).await?.first().and_then(|row| row.first()) {
            Some(Value::Text(read_only)) if read_only == "off" => Ok(()),
            _ => Err(StorageError::Unavailable("the database is read-only".into())),
        }
    }

    pub(super) fn pools(&self) -> Vec<PoolState> {
        let state = |(name, pool): (&'static str, &Pool)| {
            let now = pool.status();
            let (open, idle, most) = (now.size, now.available, now.max_size);
            PoolState { name, open, idle, most, waiting: now.waiting }
        };
        [("sessions", &self.sessions), ("operator", &self.operator)].map(state).into()
    }

    pub(super) async fn announced(&self, at_most: Duration) {
        // Without a listener the timeout decides: the caller checks afterwards anyway.
        let _ = timeout(at_most, async {
            self.listener.keep_alive().await;
            self.listener.changed.notified().await;
        })
        .await;
    }

    async fn lease(&self, lane: Lane) -> Result<Lease, StorageError> {
        let pool = match lane {
            Lane::Sessions => &self.sessions,
            Lane::Operator => &self.operator,
        };
        Ok(Lease(Some(pool.get().await.map_err(|error| StorageError::Unavailable(error.into()))?)))
    }

    /// Runs one operation within its deadline; after a timeout the idle connections are suspect as well.
    async fn within<T>(
        &self,
        lane: Lane,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        match timeout(lane.deadline(), work).await {
            Ok(result) => result,
            Err(_) => {
                self.sessions.retain(|_, _| false);
                self.operator.retain(|_, _| false);
                Err(StorageError::late(lane.deadline()))
            }
        }
    }
}

/// A transaction; dropping it closes its connection, which rolls back.
#[derive(Debug)]
pub(super) struct PostgresTransaction {
    lease: Lease,
    lane: Lane,
}

impl PostgresTransaction {
    pub(super) async fn query(&mut self, sql: Sql, values: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        self.within(self.lease.query(sql, &values)).await
    }

    pub(super) async fn each(
        &mut self,
        sql: Sql,
        sets: Vec<Vec<Value>>,
    ) -> Result<Vec<Vec<Row>>, StorageError> {
        let mut all = Vec::with_capacity(sets.len());
        let statement = self.within(self.lease.prepare(sql)).await?;
        // All statements of a batch are in flight at once, in order. Each has its own deadline.
        for portion in sets.chunks(IN_FLIGHT) {
            let runs: Vec<_> = portion.iter().map(|values| self.lease.run(sql, &statement, values)).collect();
            all.extend(self.within(try_join_all(runs)).await?);
        }
        Ok(all)
    }

    pub(super) async fn script(&mut self, text: &'static str) -> Result<(), StorageError> {
        self.within(self.lease.execute(SCRIPT, text)).await
    }

    pub(super) async fn lock_schema(&mut self) -> Result<(), StorageError> {
        self.query(LOCK_SCHEMA, Vec::new()).await.map(drop)
    }

    pub(super) async fn announce(&mut self) -> Result<(), StorageError> {
        self.within(self.lease.execute(ANNOUNCE, ANNOUNCE.text)).await
    }

    pub(super) async fn commit(self) -> Result<(), StorageError> {
        self.within(self.lease.execute(COMMIT, COMMIT.text)).await?;
        self.lease.give_back();
        Ok(())
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let limit = self.lane.deadline();
        timeout(limit, work).await.unwrap_or_else(|_| Err(StorageError::late(limit)))
    }
}

/// A connection in use. If it is dropped without being returned, its query is cancelled and the connection closed.
#[derive(Debug)]
struct Lease(Option<Object>);

impl Lease {
    fn client(&self) -> Result<&Object, StorageError> {
        self.0.as_ref().ok_or_else(|| StorageError::Unavailable("the connection was given up".into()))
    }

    async fn prepare(&self, sql: Sql) -> Result<Statement, StorageError> {
        self.client()?.prepare_cached(sql.text).await.map_err(|error| classify(sql, error))
    }

    async fn query(&self, sql: Sql, values: &[Value]) -> Result<Vec<Row>, StorageError> {
        let statement = self.prepare(sql).await?;
        self.run(sql, &statement, values).await
    }

    async fn run(&self, sql: Sql, statement: &Statement, values: &[Value]) -> Result<Vec<Row>, StorageError> {
        let expected = statement.params().len();
        if expected != values.len() {
            return Err(sql.fault(format!("{} values for {expected} parameters", values.len())));
        }
        let rows = self.client()?.query_raw(statement, values).await.map_err(|error| classify(sql, error))?;
        rows.map_err(|error| classify(sql, error))
            .and_then(|row| async move {
                (0..row.len()).map(|column| value(sql, &row, column)).collect::<Result<Row, _>>()
            })
            .try_collect()
            .await
    }

    async fn execute(&self, sql: Sql, text: &str) -> Result<(), StorageError> {
        self.client()?.batch_execute(text).await.map_err(|error| classify(sql, error))
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(object) = self.0.take() else { return };
        let token = object.cancel_token();
        drop(Object::take(object));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Best effort: the statement timeout ends what this cannot reach.
            runtime.spawn(async move { timeout(CREATE, token.cancel_query(NoTls)).await });
        }
    }
}

impl Listener {
    /// Ensures that a connection listens for announcements, if the database can be reached.
    async fn keep_alive(&self) {
        let mut task = self.task.lock().await;
        if task.as_ref().is_some_and(|(_, task)| !task.is_finished()) {
            return;
        }
        let Ok((client, mut connection)) = self.config.connect(NoTls).await else {
            return;
        };
        let changed = self.changed.clone();
        // Ends with the connection, at the latest when the pools drop its client.
        let driver = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    changed.notify_one();
                }
            }
            // Announcements that nobody heard are found by checking.
            changed.notify_one();
        });
        if client.batch_execute(LISTEN.text).await.is_ok() {
            self.changed.notify_one();
            *task = Some((client, driver));
        }
    }
}

fn pool(config: &Config, lane: Lane, size: usize) -> Result<Pool, StorageError> {
    let mut config = config.clone();
    let own = config.get_options().unwrap_or_default();
    // Statements time out before we stop waiting for them; if a server vanishes, its transaction releases its locks.
    let limit = lane.deadline().as_millis() * 3 / 4;
    config
        .options(format!("{own} -c statement_timeout={limit} -c idle_in_transaction_session_timeout=60000"));
    let manager =
        Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(CREATE))
        .recycle_timeout(Some(RECYCLE))
        .build()
        .map_err(|error| StorageError::Settings(error.into()))
}

fn value(sql: Sql, row: &tokio_postgres::Row, column: usize) -> Result<Value, StorageError> {
    let value = match *row.columns()[column].type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(column).map(Value::from),
        Type::INT4 => row.try_get::<_, Option<i32>>(column).map(|value| value.map(i64::from).into()),
        Type::TEXT => row.try_get::<_, Option<&str>>(column).map(Value::from),
        Type::BYTEA => row.try_get::<_, Option<&[u8]>>(column).map(Value::from),
        _ => return Err(sql.fault("a column of a type that is not used here")),
    };
    value.map_err(|error| sql.fault(error))
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut tokio_util::bytes::BytesMut) -> Result<IsNull, Cause> {
        match (self, ty) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Int(value), &Type::INT8) => value.to_sql(ty, out),
            (Value::Text(value), &Type::TEXT) => value.to_sql(ty, out),
            (Value::Bytes(value), &Type::BYTEA) => value.to_sql(ty, out),
            _ => Err(format!("a value of another type than {ty}").into()),
        }
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::TEXT | Type::BYTEA)
    }

    to_sql_checked!();
}

/// Classifies errors by SQLSTATE. An error without one came from the connection, not the server.
fn classify(sql: Sql, error: tokio_postgres::Error) -> StorageError {
    let Some(state) = error.code() else {
        return if error.is_closed()
            || std::error::Error::source(&error).is_some_and(|cause| cause.is::<std::io::Error>())
        {
            StorageError::Unavailable(error.into())
        } else {
            sql.fault(error)
        };
    };
    if *state == SqlState::DISK_FULL {
        return StorageError::Full;
    }
    if [SqlState::READ_ONLY_SQL_TRANSACTION, SqlState::LOCK_NOT_AVAILABLE].contains(state) {
        return StorageError::Unavailable(error.into());
    }
    // Classes: 08 connection, 53 resources, 57 operator's intervention, 58 system, 40 rolled back, 23 constraints, XX damage.
    match state.code().get(..2) {
        Some("08" | "53" | "57" | "58") => StorageError::Unavailable(error.into()),
        Some("40") => StorageError::Contended(error.into()),
        Some("23") => StorageError::Constraint(error.into()),
        Some("XX") => StorageError::Damaged(error.into()),
        _ => sql.fault(error),
    }
}

#[cfg(test)]
impl Postgres {
    /// Asks the server to check `sql` without running it.
    pub(super) async fn prepare(&self, sql: Sql) -> Result<(), StorageError> {
        let lease = self.lease(Lane::Operator).await?;
        lease.prepare(sql).await?;
        lease.give_back();
        Ok(())
    }
}
