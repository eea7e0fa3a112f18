//! The chain of the audit log.

use std::collections::BTreeSet;

use schema::api::admin::AuditHead;
use schema::digest::Sha3_384;
use schema::migrations::{MIGRATIONS, Migration};

use super::contract;
use super::fixture::{NOW, Store, change, dump, event, full_change, run};
use crate::storage::Database;

contract! {
    each_digest_is_what_the_documentation_says
    events_of_before_the_chain_are_sealed
    writers_at_once_make_one_chain
    what_was_changed_is_named
    a_head_that_was_written_down_tells_what_a_new_chain_hides
    what_cannot_be_recorded_is_not_done
}

static OLD: &[Migration] = &[MIGRATIONS[0], MIGRATIONS[1]];

/// The first event that does not belong, if there is one.
async fn broken(database: &Database, known: Option<&AuditHead>) -> Option<i64> {
    database.check_audit(known).await.unwrap().broken.map(|(number, _)| number)
}

async fn log(store: &Store, events: i64) -> &Database {
    let database = store.migrated().await;
    for number in 1..=events {
        database.record_event(&event(&format!("event {number}")), NOW + number).await.unwrap();
    }
    assert_eq!(database.check_audit(None).await.unwrap().rows, events);
    assert_eq!(broken(database, None).await, None);
    database
}

async fn each_digest_is_what_the_documentation_says(store: Store) {
    let database = log(&store, 2).await;
    let [second, first] = &database.events(i64::MAX, 2).await.unwrap()[..] else { panic!("two events") };
    let row = |number: i64, before: &str| {
        let of = event("");
        let detail = of.detail.to_string();
        let at = NOW + number;
        let row = format!(
            r#"{before}[{number},{at},"{}","event {number}","{}","{}",{}]"#,
            of.who,
            of.subject,
            of.outcome,
            serde_json::Value::from(detail)
        );
        Sha3_384::of(row.as_bytes()).to_hex()
    };
    assert_eq!(first.hash, row(1, &"0".repeat(96)));
    assert_eq!(second.hash, row(2, &first.hash));
    let head = database.audit_head().await.unwrap().expect("a head");
    assert_eq!(head, AuditHead { sequence: 2, hash: second.hash.clone() });
}

async fn events_of_before_the_chain_are_sealed(store: Store) {
    let database = &store.database;
    database.migrate_with(OLD, NOW).await.unwrap();
    run(
        database,
        "INSERT INTO audit (sequence, at, who, what, subject, outcome, detail) VALUES
         (1, 10, 'uid 0', 'config', 'a', 'done', '{}'), (2, 20, 'uid 0', 'config', 'b', 'done', '{}')",
    )
    .await;
    run(database, "UPDATE counters SET value = 2 WHERE name = 'audit'").await;
    store.migrated().await;
    assert_eq!(broken(database, None).await, None);
    database.record_event(&event("third"), NOW).await.unwrap();
    assert_eq!(database.check_audit(None).await.unwrap().rows, 3);
    assert_eq!(broken(database, None).await, None);
    run(database, "UPDATE audit SET subject = 'c' WHERE sequence = 1").await;
    assert_eq!(broken(database, None).await, Some(1));
}

async fn writers_at_once_make_one_chain(store: Store) {
    store.migrated().await;
    let mut writers = Vec::new();
    for writer in 0..4 {
        let database = store.another().await;
        writers.push(tokio::spawn(async move {
            for number in 0..10 {
                database.record_event(&event(&format!("{writer} {number}")), NOW).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(store.database.check_audit(None).await.unwrap().rows, 40);
    assert_eq!(broken(&store.database, None).await, None);
    let events = store.database.events(i64::MAX, 100).await.unwrap();
    assert_eq!(events.iter().map(|event| &event.hash).collect::<BTreeSet<_>>().len(), 40);
}

async fn what_was_changed_is_named(store: Store) {
    let database = log(&store, 5).await;
    run(database, "CREATE TABLE held AS SELECT * FROM audit").await;
    for (tampering, named) in [
        ("UPDATE audit SET who = 'uid 1' WHERE sequence = 2", 2),
        ("UPDATE audit SET what = 'nothing' WHERE sequence = 5", 5),
        ("UPDATE audit SET subject = '' WHERE sequence = 1", 1),
        ("UPDATE audit SET outcome = 'refused' WHERE sequence = 3", 3),
        ("UPDATE audit SET detail = '{}' WHERE sequence = 4", 4),
        ("UPDATE audit SET at = at + 1 WHERE sequence = 4", 4),
        ("UPDATE audit SET hash = '' WHERE sequence = 3", 3),
        ("DELETE FROM audit WHERE sequence = 1", 1),
        ("DELETE FROM audit WHERE sequence = 3", 3),
        ("DELETE FROM audit WHERE sequence >= 4", 4),
        ("DELETE FROM audit", 1),
        ("UPDATE audit SET sequence = 6 WHERE sequence = 2", 2),
        (
            "INSERT INTO audit (sequence, at, who, what, subject, outcome, detail, hash) VALUES (6, 1, '', '', '', '', '{}', '')",
            6,
        ),
    ] {
        run(database, tampering).await;
        assert_eq!(broken(database, None).await, Some(named), "{tampering}");
        run(database, "DELETE FROM audit").await;
        run(database, "INSERT INTO audit SELECT * FROM held").await;
        assert_eq!(broken(database, None).await, None, "{tampering}, undone");
    }
    // The log continues after losing its end, and does not hide the loss.
    run(database, "DELETE FROM audit WHERE sequence = 5").await;
    database.record_event(&event("sixth"), NOW).await.unwrap();
    assert_eq!(broken(database, None).await, Some(5));
}

async fn a_head_that_was_written_down_tells_what_a_new_chain_hides(store: Store) {
    let database = log(&store, 3).await;
    let written_down = database.audit_head().await.unwrap().expect("a head");
    run(database, "DELETE FROM audit").await;
    run(database, "DELETE FROM meta WHERE name = 'audit-head'").await;
    run(database, "UPDATE counters SET value = 0 WHERE name = 'audit'").await;
    for events in 1..=4 {
        database.record_event(&event("made up"), NOW).await.unwrap();
        assert_eq!(broken(database, None).await, None);
        let named = broken(database, Some(&written_down)).await;
        assert_eq!(named, Some(if events < 3 { events + 1 } else { 3 }), "{events} events");
    }
}

async fn what_cannot_be_recorded_is_not_done(store: Store) {
    let database = store.migrated().await;
    database.commit(&change("before"), &[], 0).await.unwrap();
    run(database, "ALTER TABLE audit RENAME TO elsewhere").await;
    assert!(database.commit(&full_change(), &[], 1).await.is_err());
    assert!(database.record_event(&event("refused"), NOW).await.is_err());
    run(database, "ALTER TABLE elsewhere RENAME TO audit").await;
    let held = dump(database).await;
    assert!(held["revisions"].is_empty() && held["audit"].len() == 1, "{held:?}");
    assert_eq!(database.generation().await.unwrap(), 1);
    database.commit(&full_change(), &[], 1).await.unwrap();
    assert_eq!(broken(database, None).await, None);
}
