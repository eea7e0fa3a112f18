//! Committing changes and reading them back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::contract;
use super::fixture::{
    NOW, Store, account, add_revision, block, change, dump, event, full_change, release, run, snap_id,
};
use crate::storage::engine::{Lane, Mode, Sql};
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::*;
use crate::storage::{Database, Increment, Touched};

contract! {
    what_was_committed_is_read_back
    a_stale_change_is_a_conflict_and_leaves_nothing
    of_changes_at_once_one_wins
    only_a_higher_revision_replaces_an_assertion
    overrides_and_imported_releases_stand_side_by_side
    a_snap_keeps_the_stores_it_was_pushed_for
    a_release_of_nothing_is_refused_whole
    a_store_is_replaced_with_its_grants
    what_is_removed_is_gone_and_nothing_else
    what_something_refers_to_is_not_removed
    blocks_and_anchors_can_be_taken_back
    text_with_nul_is_refused
    a_dropped_transaction_leaves_nothing
    a_failed_transaction_cannot_be_committed
    a_row_that_cannot_be_right_is_named
    what_changed_is_read_and_nothing_else
    what_was_written_without_a_note_is_read_whole
    every_action_is_recorded
    a_change_is_announced
}

async fn what_was_committed_is_read_back(store: Store) {
    let database = store.migrated().await;
    assert_eq!(database.load().await.unwrap().position.generation, 0);
    let change = full_change();
    assert_eq!(database.commit(&change, &[], 0).await.unwrap(), 1);

    let mut snapshot = database.load().await.unwrap();
    assert_eq!((snapshot.position.generation, database.generation().await.unwrap()), (1, 1));
    snapshot.assertions.sort_by_key(|assertion| assertion.decode().unwrap().reference());
    let texts: Vec<_> = snapshot.assertions.iter().map(|assertion| &*assertion.0).collect();
    assert_eq!(texts, change.assertions.iter().map(|assertion| assertion.bytes()).collect::<Vec<_>>());
    assert_eq!(snapshot.anchors, change.anchors_added);
    snapshot.blobs.sort_by_key(|blob| change.blobs.iter().position(|other| other.digest == blob.digest));
    assert_eq!(snapshot.blobs, change.blobs);
    snapshot.snaps.sort_by_key(|snap| snap.snap_id.clone());
    assert_eq!(snapshot.snaps, change.snaps);
    snapshot.revisions.sort_by_key(|revision| (revision.snap_id.clone(), revision.revision));
    assert_eq!(snapshot.revisions, change.revisions);
    assert_eq!(snapshot.components, change.components);
    assert_eq!(snapshot.pairs, change.pairs);
    // Imported ones first, so that the override wins.
    assert_eq!(snapshot.releases, [change.releases[1].clone(), change.releases[0].clone()]);
    snapshot.stores[0].grants.sort();
    assert_eq!(snapshot.stores, [(*change.stores[0]).clone()]);
    assert_eq!(snapshot.blocked, ["acme/gateway/serial-1".parse().unwrap()]);
    assert_eq!(snapshot.meta, change.meta.into_iter().collect());

    // Committing it again changes nothing but the generation.
    assert_eq!(database.commit(&full_change(), &[], 1).await.unwrap(), 2);
    let again = database.load().await.unwrap();
    assert_eq!((again.revisions.len(), again.releases.len(), again.blobs.len()), (3, 2, 3));
}

async fn a_stale_change_is_a_conflict_and_leaves_nothing(store: Store) {
    let database = store.migrated().await;
    database.commit(&change("first"), &[], 0).await.unwrap();
    let before = dump(database).await;
    for expected in [0, 2] {
        let refused = database.commit(&full_change(), &[], expected).await;
        assert!(matches!(refused, Err(CommitError::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(dump(database).await, before);
}

async fn of_changes_at_once_one_wins(store: Store) {
    store.migrated().await;
    for round in 0..5 {
        let mut commits = Vec::new();
        for _ in 0..8 {
            let database = store.another().await;
            commits.push(tokio::spawn(async move { database.commit(&full_change(), &[], round).await }));
        }
        let mut won = 0;
        for commit in commits {
            match commit.await.unwrap() {
                Ok(generation) => {
                    assert_eq!(generation, round + 1);
                    won += 1;
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(won, 1);
    }
    assert_eq!(store.database.events(i64::MAX, 100).await.unwrap().len(), 5);
}

async fn only_a_higher_revision_replaces_an_assertion(store: Store) {
    let database = store.migrated().await;
    let held = [(2, "first"), (1, "older"), (2, "same revision"), (3, "newer"), (2, "older again")];
    for (generation, (revision, name)) in (0..).zip(held) {
        let mut change = change("push");
        change.assertions.push(account("acme", revision, name));
        database.commit(&change, &[], generation).await.unwrap();
        let snapshot = database.load().await.unwrap();
        let [assertion] = &snapshot.assertions[..] else { panic!("one assertion") };
        let expected = if generation < 3 { "first" } else { "newer" };
        assert_eq!(assertion.decode().unwrap().text("display-name"), Some(expected), "after {name}");
    }
}

async fn releases(database: &Database) -> Vec<(u32, Origin)> {
    let snapshot = database.load().await.unwrap();
    snapshot.releases.iter().map(|release| (release.revision, release.origin)).collect()
}

async fn overrides_and_imported_releases_stand_side_by_side(store: Store) {
    let database = store.migrated().await;
    let mut first = change("import");
    for revision in [1, 2, 3] {
        add_revision(&mut first, "snap", revision);
    }
    first.releases = vec![release("snap", 1, Origin::Imported), release("snap", 2, Origin::Override)];
    database.commit(&first, &[], 0).await.unwrap();
    assert_eq!(releases(database).await, [(1, Origin::Imported), (2, Origin::Override)]);

    let mut import = change("import again");
    import.replace_channel_map_of = vec![snap_id("snap")];
    import.releases = vec![release("snap", 3, Origin::Imported)];
    database.commit(&import, &[], 1).await.unwrap();
    assert_eq!(releases(database).await, [(3, Origin::Imported), (2, Origin::Override)]);

    let mut close = change("delete-override");
    close.releases_closed = vec![ReleaseKey {
        snap_id: snap_id("snap"),
        channel: "stable".parse().unwrap(),
        architecture: "amd64".parse().unwrap(),
        origin: Origin::Override,
    }];
    database.commit(&close, &[], 2).await.unwrap();
    assert_eq!(releases(database).await, [(3, Origin::Imported)]);

    let mut empty = change("import an empty map");
    empty.replace_channel_map_of = vec![snap_id("snap")];
    database.commit(&empty, &[], 3).await.unwrap();
    assert_eq!(releases(database).await, []);
}

async fn a_snap_keeps_the_stores_it_was_pushed_for(store: Store) {
    let database = store.migrated().await;
    for (generation, stores) in (0..).zip([vec!["one"], vec!["two", "three"], vec![]]) {
        let mut change = change("push");
        add_revision(&mut change, "snap", 1);
        change.snaps[0].stores = stores.into_iter().map(|id: &str| id.parse().unwrap()).collect();
        database.commit(&change, &[], generation).await.unwrap();
    }
    assert_eq!(database.load().await.unwrap().snaps[0].stores, ["one", "three", "two"]);
}

async fn a_release_of_nothing_is_refused_whole(store: Store) {
    let database = store.migrated().await;
    let before = dump(database).await;
    let mut change = full_change();
    change.releases.push(release("snap-b", 7, Origin::Imported));
    let refused = database.commit(&change, &[], 0).await;
    assert!(matches!(refused, Err(CommitError::Storage(StorageError::Constraint(_)))), "{refused:?}");
    assert_eq!(dump(database).await, before);
    database.commit(&full_change(), &[], 0).await.unwrap();
}

async fn a_store_is_replaced_with_its_grants(store: Store) {
    let database = store.migrated().await;
    database.commit(&full_change(), &[], 0).await.unwrap();
    let mut change = change("push-brand-stores");
    change.stores = full_change().stores;
    let store = Arc::make_mut(&mut change.stores[0]);
    store.grants =
        vec![Grant { snap_id: snap_id("new"), name: "new".parse().unwrap(), reason: Reason::Included }];
    store.parent = None;
    database.commit(&change, &[], 1).await.unwrap();
    assert_eq!(database.load().await.unwrap().stores, [(*change.stores[0]).clone()]);
}

async fn what_is_removed_is_gone_and_nothing_else(store: Store) {
    let database = store.migrated().await;
    let full = full_change();
    database.commit(&full, &[], 0).await.unwrap();
    let mut pushed = change("push for a store");
    pushed.snaps = full.snaps[..1].to_vec();
    pushed.snaps[0].stores = vec!["acme-store".parse().unwrap()];
    database.commit(&pushed, &[], 1).await.unwrap();
    let mut removal = change("remove");
    removal.releases_closed = full.releases.iter().map(ReleaseRecord::key).collect();
    removal.removed = Removed {
        revisions: vec![(snap_id("snap-a"), 2), (snap_id("snap-b"), u32::MAX)],
        components: vec![(snap_id("snap-a"), "extra".into(), 5)],
        snaps: vec![snap_id("snap-b")],
        blobs: full.blobs[1..].iter().map(|blob| blob.digest).collect(),
        stores: vec!["acme-store".parse().unwrap()],
        assertions: vec![full.assertions[1].assertion().reference()],
    };
    database.commit(&removal, &[], 2).await.unwrap();
    let left = database.load().await.unwrap();
    assert_eq!(left.revisions, full.revisions[..1]);
    assert_eq!((left.components, left.pairs, left.releases), (vec![], vec![], vec![]));
    assert_eq!(left.snaps, full.snaps[..1]);
    assert_eq!(left.blobs, full.blobs[..1]);
    assert_eq!(left.stores, []);
    assert_eq!(left.assertions.len(), 1);
    assert_eq!(*left.assertions[0].0, *full.assertions[0].bytes());
}

async fn what_something_refers_to_is_not_removed(store: Store) {
    let database = store.migrated().await;
    let full = full_change();
    database.commit(&full, &[], 0).await.unwrap();
    let before = dump(database).await;
    for removed in [
        Removed { revisions: vec![(snap_id("snap-a"), 1)], ..Removed::default() },
        Removed { components: vec![(snap_id("snap-a"), "extra".into(), 5)], ..Removed::default() },
        Removed { snaps: vec![snap_id("snap-b")], ..Removed::default() },
        Removed { blobs: vec![full.blobs[0].digest], ..Removed::default() },
    ] {
        let mut removal = change("remove");
        removal.removed = removed;
        let refused = database.commit(&removal, &[], 1).await;
        assert!(matches!(refused, Err(CommitError::Storage(StorageError::Constraint(_)))), "{refused:?}");
        assert_eq!(dump(database).await, before);
    }
}

async fn blocks_and_anchors_can_be_taken_back(store: Store) {
    let database = store.migrated().await;
    database.commit(&full_change(), &[], 0).await.unwrap();
    let mut change = change("unblock");
    change.device_blocks = vec![block("serial-1", false), block("serial-2", true), block("serial-3", false)];
    change.anchors_removed = vec!["fingerprint".into()];
    database.commit(&change, &[], 1).await.unwrap();
    let snapshot = database.load().await.unwrap();
    assert_eq!(snapshot.blocked, ["acme/gateway/serial-2".parse().unwrap()]);
    assert_eq!(snapshot.anchors, []);
}

async fn text_with_nul_is_refused(store: Store) {
    let database = store.migrated().await;
    let mut change = change("push");
    change.meta = vec![("name".into(), "a\0b".into())];
    let refused = database.commit(&change, &[], 0).await;
    assert!(matches!(refused, Err(CommitError::Storage(StorageError::Statement { .. }))), "{refused:?}");
    assert_eq!(database.generation().await.unwrap(), 0);
}

const SET: Sql = Sql::new("TEST", "UPDATE counters SET value = 77 WHERE name = 'generation'");

async fn a_dropped_transaction_leaves_nothing(store: Store) {
    let database = store.migrated().await;
    // More often than there are connections.
    for _ in 0..10 {
        let mut transaction = database.engine.begin(Lane::Operator, Mode::Write).await.unwrap();
        transaction.query(SET, Vec::new()).await.unwrap();
        drop(transaction);
        assert_eq!(database.generation().await.unwrap(), 0);
    }
    database.commit(&change("works"), &[], 0).await.unwrap();
}

async fn a_failed_transaction_cannot_be_committed(store: Store) {
    let database = store.migrated().await;
    let mut transaction = database.engine.begin(Lane::Operator, Mode::Write).await.unwrap();
    transaction.query(SET, Vec::new()).await.unwrap();
    let broken = Sql::new("TEST", "INSERT INTO counters (name, value) VALUES ('generation', 1)");
    let failed = transaction.query(broken, Vec::new()).await;
    assert!(matches!(failed, Err(StorageError::Constraint(_))), "{failed:?}");
    assert!(transaction.commit().await.is_err());
    assert_eq!(database.generation().await.unwrap(), 0);
}

async fn what_changed_is_read_and_nothing_else(store: Store) {
    let database = store.migrated().await;
    database.commit(&full_change(), &[], 0).await.unwrap();
    let known = database.load().await.unwrap().position;
    let mut second = change("second");
    add_revision(&mut second, "snap-b", 7);
    // Already held in revision 3.
    second.assertions.push(account("acme", 3, "Acme"));
    second.removed.stores.push("acme-store".parse().unwrap());
    database.commit(&second, &[], 1).await.unwrap();
    let Increment { touched, rows } = database.load_since(known).await.unwrap().unwrap();
    assert_eq!(touched.snaps, BTreeSet::from([snap_id("snap-b").to_string()]));
    assert_eq!(touched.stores, BTreeSet::from(["acme-store".into()]));
    assert!(touched.assertions.is_empty() && !touched.anchors, "{touched:?}");
    assert_eq!(rows.position, database.load().await.unwrap().position);
    let numbers: BTreeSet<u32> = rows.revisions.iter().map(|row| row.revision).collect();
    assert_eq!((rows.snaps.len(), numbers), (1, BTreeSet::from([7, u32::MAX])));
    assert_eq!((rows.stores.len(), rows.blobs.len(), rows.assertions.len()), (0, 1, 0));
    let nothing = database.load_since(rows.position).await.unwrap().unwrap();
    assert_eq!(nothing.touched, Touched::default());
}

async fn what_was_written_without_a_note_is_read_whole(store: Store) {
    let database = store.migrated().await;
    let known = database.load().await.unwrap().position;
    run(database, "UPDATE counters SET value = value + 1 WHERE name = 'generation'").await;
    assert!(database.load_since(known).await.unwrap().is_none(), "a change that noted nothing");
    let known = database.load().await.unwrap().position;
    assert!(database.load_since(known).await.unwrap().is_some(), "it is known by now");
    run(database, "UPDATE counters SET value = value - 1 WHERE name = 'generation'").await;
    assert!(database.load_since(known).await.unwrap().is_none(), "a database that went back");
}

async fn a_row_that_cannot_be_right_is_named(store: Store) {
    let database = store.migrated().await;
    database.commit(&full_change(), &[], 0).await.unwrap();
    let damages = [
        ("UPDATE releases SET origin = 'else' WHERE origin = 'override'", "releases", "origin"),
        ("UPDATE releases SET risk = 'wild' WHERE origin = 'imported'", "releases", "risk"),
        ("UPDATE revisions SET kind = 'else' WHERE snap_id LIKE 'snapb%'", "revisions", "kind"),
        ("UPDATE revisions SET confinement = 'none' WHERE snap_id LIKE 'snapb%'", "revisions", "confinement"),
        ("UPDATE revisions SET epoch = '{' WHERE snap_id LIKE 'snapb%'", "revisions", "epoch"),
        ("UPDATE revisions SET revision = -5 WHERE snap_id LIKE 'snapb%'", "revisions", "revision"),
    ];
    for (damage, its_table, its_column) in damages {
        run(database, damage).await;
        match database.load().await {
            Err(StorageError::Corrupt { table, column, .. }) => {
                // What was damaged last is read first.
                assert_eq!((table, column), (its_table, its_column));
            }
            other => panic!("{damage}: {other:?}"),
        }
    }
}

async fn every_action_is_recorded(store: Store) {
    let database = store.migrated().await;
    assert_eq!(database.find_import("digest-of-file").await.unwrap(), None);
    database.commit(&full_change(), &[], 0).await.unwrap();
    database.record_event(&event("refused"), NOW + 1).await.unwrap();
    database.commit(&change("third"), &[], 1).await.unwrap();
    let recorded: Vec<_> = database.events(i64::MAX, 10).await.unwrap();
    let short: Vec<_> = recorded.iter().map(|r| (r.sequence, r.at_micros, r.event.what.as_str())).collect();
    assert_eq!(short, [(3, NOW, "third"), (2, NOW + 1, "refused"), (1, NOW, "push-snap")]);
    assert_eq!(recorded[1].event, event("refused"));
    assert_eq!(database.events(3, 1).await.unwrap(), recorded[1..2]);

    let mut again = change("import again");
    again.import = full_change().import.map(|import| ImportRecord { summary: json!("again"), ..import });
    database.commit(&again, &[], 2).await.unwrap();
    assert_eq!(database.find_import("digest-of-file").await.unwrap(), again.import);
}

async fn a_change_is_announced(store: Store) {
    let database = store.migrated().await.clone();
    let other = store.another().await;
    // Waits for an announcement, not for the slow poll.
    let waiter = tokio::spawn(async move {
        while database.generation().await.unwrap() == 0 {
            database.engine.announced(Duration::from_secs(3600)).await;
        }
        database.wait_for_change(0).await.unwrap()
    });
    other.commit(&change("something"), &[], 0).await.unwrap();
    let seen = timeout(Duration::from_secs(60), waiter).await.expect("an announcement");
    assert_eq!(seen.unwrap(), 1);
}
