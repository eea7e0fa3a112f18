//! A nonce is spent once, regardless of who asks, how often, and what happens meanwhile.

use super::contract;
use super::fixture::{NOW, Store, run};
use crate::storage::Settings;
use crate::storage::records::{NonceUse, Spending, Spent};

contract! {
    of_sixteen_requests_one_gets_the_nonce
    the_same_request_gets_the_same_session
    many_are_spent_together
    servers_that_spend_the_same_together_do_not_wait_for_each_other
    forgotten_nonces_stay_spent
    forgetting_revives_nothing_that_is_tried_meanwhile
    however_many_servers_turn_an_epoch_it_turns_once
    nothing_of_before_is_good_after_a_leap
    what_was_spent_here_last_must_be_known_there
    a_table_that_is_filled_anew_does_not_go_on
    only_a_digest_of_a_nonce_is_kept
}

async fn of_sixteen_requests_one_gets_the_nonce(store: Store) {
    store.migrated().await;
    let servers = [store.another().await, store.another().await];
    for round in 0..25 {
        let mut uses = Vec::new();
        for request in 0..16 {
            let database = servers[request % 2].clone();
            uses.push(tokio::spawn(async move {
                database.spend_nonce(&format!("nonce {round}"), 1, &format!("request {request}"), NOW).await
            }));
        }
        let mut won = 0;
        for outcome in uses {
            match outcome.await.unwrap().unwrap() {
                Spending::Spent { issued_at_micros: NOW, fresh: true } => won += 1,
                Spending::Replayed => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(won, 1);
    }
}

async fn the_same_request_gets_the_same_session(store: Store) {
    store.migrated().await;
    let mut uses = Vec::new();
    for attempt in 0..16 {
        let database = store.another().await;
        uses.push(tokio::spawn(
            async move { database.spend_nonce("nonce", 1, "request", NOW + attempt).await },
        ));
    }
    let mut times = Vec::new();
    let mut first = 0;
    for outcome in uses {
        match outcome.await.unwrap().unwrap() {
            Spending::Spent { issued_at_micros, fresh } => {
                times.push(issued_at_micros);
                first += i32::from(fresh);
            }
            Spending::Replayed => panic!("the same request was refused"),
        }
    }
    times.dedup();
    assert_eq!((first, times.len()), (1, 1));
}

async fn many_are_spent_together(store: Store) {
    let database = store.migrated().await;
    assert_eq!(database.turn_nonce_epoch(1).await.unwrap(), 2);
    database.spend_nonce("earlier", 2, "a", NOW - 1).await.unwrap();
    let spend = async |uses: &[(&str, i64, &str)]| -> Vec<Spending> {
        let uses: Vec<_> =
            uses.iter().map(|(nonce, epoch, request)| NonceUse::new(nonce, *epoch, request, NOW)).collect();
        database.spend_nonces(&uses, None).await.into_iter().map(Result::unwrap).collect()
    };
    let fresh = Spending::Spent { issued_at_micros: NOW, fresh: true };
    let again = Spending::Spent { issued_at_micros: NOW, fresh: false };
    assert_eq!(
        spend(&[("one", 2, "a"), ("two", 1, "a"), ("one", 2, "a"), ("two", 1, "b"), ("earlier", 2, "a")])
            .await,
        [
            fresh,
            fresh,
            again,
            Spending::Replayed,
            Spending::Spent { issued_at_micros: NOW - 1, fresh: false }
        ]
    );
    let of_no_epoch = [("three", 2, "a"), ("never", 7, "a"), ("four", 1, "a")];
    assert_eq!(spend(&of_no_epoch).await, [fresh, Spending::Replayed, fresh]);
    assert_eq!(spend(&[]).await, []);
}

async fn servers_that_spend_the_same_together_do_not_wait_for_each_other(store: Store) {
    store.migrated().await;
    let servers = [store.another().await, store.another().await, store.another().await];
    for round in 0..20 {
        let spend = |server: usize| {
            let database = servers[server].clone();
            // Each task has its own order.
            let of = |number: usize| {
                NonceUse::new(
                    &format!("{round}.{}", (number * (server * 2 + 5)) % 16),
                    1,
                    &server.to_string(),
                    NOW,
                )
            };
            let uses: Vec<NonceUse> = (1..16).map(of).collect();
            tokio::spawn(async move { database.spend_nonces(&uses, None).await })
        };
        let runs: Vec<_> = (0..servers.len()).map(spend).collect();
        let mut won = 0;
        for run in runs {
            let fresh = |outcome: Result<Spending, _>| {
                matches!(outcome.unwrap(), Spending::Spent { fresh: true, .. })
            };
            won += run.await.unwrap().into_iter().filter(|outcome| fresh(outcome.clone())).count();
        }
        assert_eq!(won, 15);
    }
}

async fn forgotten_nonces_stay_spent(store: Store) {
    let database = store.migrated().await;
    let spend = async |nonce, epoch, request| database.spend_nonce(nonce, epoch, request, NOW).await.unwrap();
    let fresh = Spending::Spent { issued_at_micros: NOW, fresh: true };
    let again = Spending::Spent { issued_at_micros: NOW, fresh: false };
    assert_eq!(database.nonce_epoch(None).await.unwrap(), Some(1));
    assert_eq!(spend("of another store", 2, "a").await, Spending::Replayed);
    assert_eq!(spend("old", 1, "a").await, fresh);

    assert_eq!(database.turn_nonce_epoch(1).await.unwrap(), 2);
    assert_eq!(database.nonce_epoch(None).await.unwrap(), Some(2));
    assert_eq!(spend("old", 1, "b").await, Spending::Replayed);
    assert_eq!(spend("old", 1, "a").await, again);
    assert_eq!(spend("old", 2, "b").await, Spending::Replayed);
    assert_eq!(spend("issued before the epoch changed", 1, "a").await, fresh);
    assert_eq!(spend("new", 2, "a").await, fresh);

    assert_eq!(database.turn_nonce_epoch(2).await.unwrap(), 3);
    assert_eq!(run(database, "SELECT count(*) FROM spent_nonces").await, [vec![1_i64.into()]]);
    for request in ["a", "b"] {
        assert_eq!(spend("old", 1, request).await, Spending::Replayed);
        assert_eq!(spend("never used in time", 1, request).await, Spending::Replayed);
    }
    assert_eq!(spend("new", 2, "a").await, again);
}

async fn forgetting_revives_nothing_that_is_tried_meanwhile(store: Store) {
    store.migrated().await;
    for epoch in 1..15 {
        // Spent in an epoch that the next advance forgets.
        if epoch > 1 {
            store.database.spend_nonce("nonce", epoch - 1, "the first", NOW).await.unwrap();
        }
        let mut tries = Vec::new();
        for request in 0..6 {
            let database = store.another().await;
            tries.push(tokio::spawn(async move {
                database.spend_nonce("nonce", epoch - 1, &format!("replay {request}"), NOW).await
            }));
        }
        store.database.turn_nonce_epoch(epoch).await.unwrap();
        for outcome in tries {
            assert_eq!(outcome.await.unwrap().unwrap(), Spending::Replayed, "epoch {epoch}");
        }
    }
}

async fn however_many_servers_turn_an_epoch_it_turns_once(store: Store) {
    let database = store.migrated().await;
    for epoch in 1..6 {
        let mut turns = Vec::new();
        for _ in 0..4 {
            let server = store.another().await;
            turns.push(tokio::spawn(async move { server.turn_nonce_epoch(epoch).await }));
        }
        for turn in turns {
            assert_eq!(turn.await.unwrap().unwrap(), epoch + 1);
        }
        assert_eq!(database.turn_nonce_epoch(epoch).await.unwrap(), epoch + 1, "a server that comes late");
    }
}

async fn nothing_of_before_is_good_after_a_leap(store: Store) {
    let database = store.migrated().await;
    let fresh = Spending::Spent { issued_at_micros: NOW, fresh: true };
    assert_eq!(database.spend_nonce("spent", 1, "a", NOW).await.unwrap(), fresh);
    assert_eq!(database.leap_nonce_epochs(None, 7).await.unwrap(), 1, "it goes on");
    run(database, "UPDATE meta SET value = 'another' WHERE name = 'nonce-life'").await;
    assert_eq!(database.nonce_epoch(None).await.unwrap(), None);
    for nonce in ["spent", "never used"] {
        assert_eq!(database.spend_nonce(nonce, 1, "b", NOW).await.unwrap(), Spending::Replayed, "{nonce}");
    }
    let epoch = database.leap_nonce_epochs(None, u32::MAX).await.unwrap();
    assert!(epoch > 10_000, "{epoch}");
    assert_eq!(store.another().await.leap_nonce_epochs(None, 5).await.unwrap(), epoch, "it was done");
    for (nonce, request) in [("spent", "a"), ("spent", "b"), ("never used", "a")] {
        assert_eq!(database.spend_nonce(nonce, 1, request, NOW).await.unwrap(), Spending::Replayed);
    }
    assert_eq!(database.spend_nonce("new", epoch, "a", NOW).await.unwrap(), fresh);
}

async fn what_was_spent_here_last_must_be_known_there(store: Store) {
    let database = store.migrated().await;
    let of = |nonce| NonceUse::new(nonce, 1, "a", NOW);
    assert!(database.spend_nonces(&[of("known")], None).await.remove(0).is_ok());
    let (known, forgotten) = (Spent::from(&of("known")), Spent::from(&of("forgotten")));
    assert_eq!(database.nonce_epoch(Some(&known)).await.unwrap(), Some(1));
    assert_eq!(database.nonce_epoch(Some(&forgotten)).await.unwrap(), None);
    let refused = database.spend_nonces(&[of("next")], Some(&forgotten)).await.remove(0).unwrap();
    assert_eq!(refused, Spending::Replayed);
    assert_eq!(run(database, "SELECT count(*) FROM spent_nonces").await, [vec![1_i64.into()]]);
    // Once its epoch is over, it is rightly forgotten.
    database.turn_nonce_epoch(1).await.unwrap();
    database.turn_nonce_epoch(2).await.unwrap();
    assert_eq!(database.nonce_epoch(Some(&known)).await.unwrap(), Some(3));
}

/// Refilling the tables in any way ends the database's life.
async fn a_table_that_is_filled_anew_does_not_go_on(store: Store) {
    let database = store.migrated().await;
    if !matches!(store.settings, Settings::Postgres(_)) {
        return;
    }
    for (text, goes_on) in [
        ("UPDATE meta SET value = value WHERE name = 'something else'", true),
        ("ANALYZE spent_nonces", true),
        ("UPDATE meta SET value = value WHERE name = 'nonce-life'", false),
        ("TRUNCATE spent_nonces", false),
    ] {
        database.begin_life().await;
        run(database, text).await;
        assert_eq!(database.nonce_epoch(None).await.unwrap().is_some(), goes_on, "{text}");
    }
}

async fn only_a_digest_of_a_nonce_is_kept(store: Store) {
    let database = store.migrated().await;
    database.spend_nonce("very-secret", 1, "request", NOW).await.unwrap();
    let rows = run(database, "SELECT nonce FROM spent_nonces").await;
    assert!(!format!("{rows:?}").contains("very-secret"));
}
