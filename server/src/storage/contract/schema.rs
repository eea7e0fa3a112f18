//! Migrations: applied once, completely, in order, and never to an unknown schema.

use schema::migrations::{MIGRATIONS, Migration};

use super::contract;
use super::fixture::{NOW, Store, dump, run};
use crate::storage::engine::{Lane, Mode, Sql};
use crate::storage::error::{SchemaError, StorageError};
use crate::storage::{
    anew, approvals, audit, chain, commit, copy, devices, grant_history, history, migrate, nonces, rollouts,
    serials, snapshot,
};

contract! {
    every_statement_is_accepted
    servers_that_start_together_migrate_once
    a_newer_schema_is_refused_and_left_alone
    an_altered_migration_is_refused
    a_missing_migration_is_refused
    the_tables_of_something_else_are_left_alone
    a_migration_that_fails_leaves_nothing
    every_table_is_copied
}

/// The version of the newest migration.
const LAST: i64 = MIGRATIONS.len() as i64;

/// The migrations and some that follow.
fn and_then(more: &[(&'static str, &'static str)]) -> &'static [Migration] {
    let more = (LAST + 1..).zip(more).map(|(version, (name, sql))| Migration { version, name, sql });
    MIGRATIONS.iter().copied().chain(more).collect::<Vec<_>>().leak()
}

const NEXT: (&str, &str) = ("next", "CREATE TABLE next (one BIGINT NOT NULL);");
const AFTER_NEXT: (&str, &str) = ("after_next", "CREATE TABLE after_next (one BIGINT);");
const BROKEN: (&str, &str) = ("broken", "CREATE TABLE next (one BIGINT); CREATE TABLE next (one BIGINT);");

async fn tables(store: &Store) -> Vec<String> {
    let mut transaction = store.database.engine.begin(Lane::Operator, Mode::Read).await.unwrap();
    let mut tables = transaction.tables().await.unwrap();
    tables.sort();
    tables
}

async fn every_statement_is_accepted(store: Store) {
    let database = store.migrated().await;
    let all: Vec<Sql> = [
        anew::STATEMENTS,
        approvals::STATEMENTS,
        audit::STATEMENTS,
        chain::STATEMENTS,
        commit::STATEMENTS,
        copy::STATEMENTS,
        devices::STATEMENTS,
        history::STATEMENTS,
        grant_history::STATEMENTS,
        crate::storage::key_days::STATEMENTS,
        crate::storage::downloads::STATEMENTS,
        crate::storage::measures::STATEMENTS,
        migrate::STATEMENTS,
        nonces::STATEMENTS,
        rollouts::STATEMENTS,
        serials::STATEMENTS,
        snapshot::STATEMENTS,
        crate::storage::touched::STATEMENTS,
    ]
    .concat();
    for sql in all {
        assert!(!sql.text.contains("::"), "{}: not portable", sql.name);
        let mut after_dollar = sql.text.split('$').skip(1).map(|rest| rest.chars().next());
        assert!(after_dollar.all(|next| next.is_some_and(|c| c.is_ascii_digit())), "{}: a $ alone", sql.name);
        if let Err(error) = database.engine.prepare(sql).await {
            panic!("{}: {error:?}", sql.name);
        }
    }
}

async fn servers_that_start_together_migrate_once(store: Store) {
    let mut starts = Vec::new();
    for _ in 0..4 {
        let database = store.another().await;
        starts.push(tokio::spawn(
            async move { database.migrate_with(and_then(&[NEXT, AFTER_NEXT]), NOW).await },
        ));
    }
    for start in starts {
        start.await.unwrap().unwrap();
    }
    let applied = run(&store.database, "SELECT version, name FROM schema_migrations ORDER BY version").await;
    let names = and_then(&[NEXT, AFTER_NEXT]).iter().map(|one| vec![one.version.into(), one.name.into()]);
    assert_eq!(applied, names.collect::<Vec<_>>());
    store.database.migrate_with(and_then(&[NEXT, AFTER_NEXT]), NOW).await.unwrap();
}

async fn a_newer_schema_is_refused_and_left_alone(store: Store) {
    store.database.migrate_with(and_then(&[NEXT]), NOW).await.unwrap();
    let before = (tables(&store).await, dump(&store.database).await);
    let refused = store.database.migrate(NOW).await;
    let Err(StorageError::Schema(SchemaError::Newer { found, known: LAST })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(found, LAST + 1);
    assert_eq!((tables(&store).await, dump(&store.database).await), before);
}

async fn an_altered_migration_is_refused(store: Store) {
    store.migrated().await;
    let before = tables(&store).await;
    let mut altered = MIGRATIONS.to_vec();
    altered[0].sql = "CREATE TABLE other (one BIGINT NOT NULL);";
    let refused = store.database.migrate_with(altered.leak(), NOW).await;
    assert!(matches!(refused, Err(StorageError::Schema(SchemaError::Changed { version: 1 }))), "{refused:?}");
    assert_eq!(tables(&store).await, before);
}

async fn a_missing_migration_is_refused(store: Store) {
    store.database.migrate_with(and_then(&[NEXT, AFTER_NEXT]), NOW).await.unwrap();
    run(&store.database, "DELETE FROM schema_migrations WHERE name = 'next'").await;
    let refused = store.database.migrate_with(and_then(&[NEXT, AFTER_NEXT]), NOW).await;
    assert!(matches!(refused, Err(StorageError::Schema(SchemaError::Gap { .. }))), "{refused:?}");
}

async fn the_tables_of_something_else_are_left_alone(store: Store) {
    run(&store.database, "CREATE TABLE customers (id TEXT)").await;
    let refused = store.database.migrate(NOW).await;
    assert!(matches!(refused, Err(StorageError::Schema(SchemaError::Foreign { .. }))), "{refused:?}");
    assert_eq!(tables(&store).await, ["customers"]);
}

async fn a_migration_that_fails_leaves_nothing(store: Store) {
    assert!(store.database.migrate_with(and_then(&[BROKEN]), NOW).await.is_err());
    assert!(!tables(&store).await.contains(&"next".to_owned()));
    store.database.migrate_with(and_then(&[NEXT]), NOW).await.unwrap();
    assert!(tables(&store).await.contains(&"next".to_owned()));
}

async fn every_table_is_copied(store: Store) {
    store.migrated().await;
    let mut copied: Vec<_> = copy::TABLES.iter().map(|(table, ..)| (*table).to_owned()).collect();
    copied.push("schema_migrations".to_owned());
    copied.sort();
    assert_eq!(tables(&store).await, copied);
}
