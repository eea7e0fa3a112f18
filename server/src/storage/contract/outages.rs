//! How each engine behaves when it, or its database, fails.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use tests::postgres::{Cluster, connect};
use tokio_postgres::Client;

use super::fixture::{NOW, Store, change};
use crate::storage::engine::{Lane, Mode, Sql};
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::Spending;
use crate::storage::{Database, Settings};

/// The longest time until an answer or an error, with room for a slow machine.
const ANSWER: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_data_directory_serves_one_server() {
    let store = Store::sqlite().await;
    let second = Database::open(&store.settings).await;
    assert!(matches!(second, Err(StorageError::Locked(_))), "{second:?}");
    let Store { database, settings, _folder: folder } = store;
    drop(database);
    let database = Database::open(&settings).await.unwrap();
    database.migrate(NOW).await.unwrap();
    for entry in std::fs::read_dir(folder.unwrap().path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
}

#[tokio::test]
async fn what_is_no_database_is_not_written_to() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("airlock.db");
    let content = "this is not a database, but somebody wants to keep it".repeat(100);
    std::fs::write(&path, &content).unwrap();
    let refused = Database::open(&Settings::Sqlite(path.clone())).await;
    assert!(matches!(refused, Err(StorageError::Damaged(_))), "{refused:?}");
    assert_eq!(std::fs::read_to_string(path).unwrap(), content);
}

fn url(store: &Store) -> String {
    use secrecy::ExposeSecret;
    match &store.settings {
        Settings::Postgres(url) => url.expose_secret().to_owned(),
        Settings::Sqlite(_) => panic!("not PostgreSQL"),
    }
}

async fn on(cluster: &Cluster) -> Database {
    let url = cluster.database().await.unwrap();
    let database = Database::open(&Settings::Postgres(url.into())).await.unwrap();
    database.migrate(NOW).await.unwrap();
    database
}

/// Every operation of devices and operators reports an unavailable database in time.
async fn is_unavailable(database: &Database) {
    let start = Instant::now();
    let spent = database.spend_nonce("nonce", 1, "request", NOW).await;
    assert!(matches!(spent, Err(StorageError::Unavailable(_))), "{spent:?}");
    assert!(start.elapsed() < ANSWER, "{:?}", start.elapsed());
    let start = Instant::now();
    let health = database.health().await;
    assert!(matches!(health, Err(StorageError::Unavailable(_))), "{health:?}");
    assert!(start.elapsed() < ANSWER, "{:?}", start.elapsed());
}

/// Waits until the database answers again, as it must without a restart.
async fn recovers(database: &Database) {
    while database.health().await.is_err() {
        tokio::task::yield_now().await;
    }
    let generation = database.load().await.unwrap().position.generation;
    database.commit(&change("after"), &[], generation).await.unwrap();
    let nonce = format!("nonce of {generation}");
    // A restarted PostgreSQL might be a restored one.
    let epoch = database.leap_nonce_epochs(None, 1).await.unwrap();
    let spent = database.spend_nonce(&nonce, epoch, "request", NOW).await.unwrap();
    assert_eq!(spent, Spending::Spent { issued_at_micros: NOW, fresh: true });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_postgresql_is_used_again() {
    let cluster = Cluster::start().unwrap();
    let database = on(&cluster).await;
    recovers(&database).await;
    for _ in 0..2 {
        let mut transaction = database.engine.begin(Lane::Operator, Mode::Write).await.unwrap();
        cluster.stop().unwrap();
        assert!(transaction.tables().await.is_err_and(|error| error.is_unavailable()));
        drop(transaction);
        is_unavailable(&database).await;
        let refused = database.commit(&change("lost"), &[], 1).await;
        assert!(matches!(refused, Err(CommitError::Storage(StorageError::Unavailable(_)))), "{refused:?}");
        cluster.resume().unwrap();
        recovers(&database).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_postgresql_is_given_up_in_time() {
    let cluster = Cluster::start().unwrap();
    let database = on(&cluster).await;
    recovers(&database).await;
    cluster.freeze().unwrap();
    is_unavailable(&database).await;
    cluster.thaw().unwrap();
    recovers(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_leave_the_sessions_their_connections() {
    let store = Store::postgres().await;
    let database = store.migrated().await;
    let mut held = Vec::new();
    let full = loop {
        match database.engine.begin(Lane::Operator, Mode::Write).await {
            Ok(transaction) => held.push(transaction),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StorageError::Unavailable(_)), "{full:?}");
    assert!(held.len() < 10);
    database.spend_nonce("nonce", 1, "request", NOW).await.unwrap();
    database.health().await.unwrap();
    held.clear();
    database.commit(&change("works"), &[], 0).await.unwrap();
}

/// How many statements our servers are running.
async fn running(watch: &Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'proxyd' AND state = 'active'";
    watch.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_nobody_waits_for_is_cancelled() {
    let store = Store::postgres().await;
    let database = store.migrated().await.clone();
    let (lock, watch) = (connect(&url(&store)).await.unwrap(), connect(&url(&store)).await.unwrap());
    lock.batch_execute("BEGIN; LOCK TABLE spent_nonces IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let device = tokio::spawn(async move { database.spend_nonce("nonce", 1, "request", NOW).await });
    while running(&watch).await == 0 {}
    let start = Instant::now();
    device.abort();
    while running(&watch).await > 0 {}
    // The statement timeout alone would take longer.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    lock.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        store.database.spend_nonce("nonce", 1, "another", NOW).await.unwrap(),
        Spending::Spent { issued_at_micros: NOW, fresh: true },
        "what was cancelled did not happen"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_not_waited_for_beyond_the_deadline() {
    let store = Store::postgres().await;
    let database = store.migrated().await;
    let lock = connect(&url(&store)).await.unwrap();
    lock.batch_execute("BEGIN; LOCK TABLE spent_nonces IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let start = Instant::now();
    let spent = database.spend_nonce("nonce", 1, "request", NOW).await;
    assert!(matches!(spent, Err(StorageError::Unavailable(_))), "{spent:?}");
    assert!(start.elapsed() < ANSWER, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_is_unavailable() {
    let store = Store::postgres().await;
    let database = store.migrated().await;
    // The next statement notices that a connection's server turned read-only, and the connection is not used again.
    let turn = Sql::new("TEST", "SELECT set_config('default_transaction_read_only', 'on', false)");
    let turn = async |lane| database.engine.read(lane, turn, Vec::new()).await.unwrap();
    let spend = async || database.spend_nonce("nonce", 1, "request", NOW).await;
    turn(Lane::Sessions).await;
    let health = database.health().await;
    assert!(matches!(health, Err(StorageError::Unavailable(_))), "{health:?}");
    let spent = spend().await;
    assert!(matches!(spent, Err(StorageError::Unavailable(_))), "{spent:?}");
    spend().await.unwrap();
    turn(Lane::Operator).await;
    let refused = database.commit(&change("x"), &[], 0).await;
    assert!(matches!(refused, Err(CommitError::Storage(StorageError::Unavailable(_)))), "{refused:?}");
    database.commit(&change("x"), &[], 0).await.unwrap();
    // A server that is read-only from the beginning, as a standby is.
    let admin = connect(&url(&store)).await.unwrap();
    let name: String = admin.query_one("SELECT CAST(current_database() AS TEXT)", &[]).await.unwrap().get(0);
    admin
        .batch_execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"))
        .await
        .unwrap();
    is_unavailable(&store.another().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_tried_again() {
    let store = Store::postgres().await;
    let database = store.migrated().await.clone();
    let (other, watch) = (connect(&url(&store)).await.unwrap(), connect(&url(&store)).await.unwrap());
    // The commit holds the generation and waits for the audit counter; this connection does the reverse. The commit
    // detects the deadlock, because this one waits longer before it looks.
    other
        .batch_execute(
            "SET deadlock_timeout = '60s'; BEGIN; UPDATE counters SET value = value WHERE name = 'audit'",
        )
        .await
        .unwrap();
    let commit = tokio::spawn(async move { database.commit(&change("twice"), &[], 0).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'proxyd' AND wait_event_type = 'Lock'";
    while watch.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
    other.batch_execute("UPDATE counters SET value = value WHERE name = 'generation'; COMMIT").await.unwrap();
    assert_eq!(commit.await.unwrap().unwrap(), 1);
    assert_eq!(store.database.events(i64::MAX, 10).await.unwrap().len(), 1);
}
