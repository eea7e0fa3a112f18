//! The history of grants and descriptions: whatever changes do, those of every generation can be read later.

use std::collections::BTreeMap;
use std::sync::Arc;

use schema::store::{SnapId, StoreId};
use serde_json::{Value, json};

use super::contract;
use super::fixture::{NOW, Store, change, dump, full_change, release, run, snap_id};
use super::history::Random;
use crate::storage::Database;
use crate::storage::grant_history::{Described, Home, StoreGrant};
use crate::storage::records::*;
use crate::storage::span::Span;

contract! {
    the_grants_and_descriptions_of_every_generation_are_read_back
    what_is_pushed_again_writes_no_history
    it_starts_with_what_is_held_at_the_upgrade
    what_was_written_past_it_is_taken_up
}

const SNAPS: [&str; 3] = ["snap-d", "snap-e", "snap-f"];
const STORES: [&str; 3] = ["one", "two", "three"];
const TABLES: [&str; 5] =
    ["grant_history", "store_history", "snap_history", "snap_store_history", "generations"];

/// Grants and descriptions in an order that compares.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    grants: Vec<StoreGrant>,
    stores: Vec<StoreRecord>,
    snaps: Vec<SnapRecord>,
    homes: Vec<Home>,
}

impl State {
    fn sorted(mut self) -> Self {
        self.grants.sort();
        self.stores.sort_by(|one, other| one.store_id.cmp(&other.store_id));
        self.snaps.sort_by(|one, other| one.snap_id.cmp(&other.snap_id));
        self.homes.sort();
        self
    }

    /// What is held.
    async fn now(database: &Database) -> State {
        let held = database.load().await.unwrap();
        let mut state = State::default();
        for mut store in held.stores {
            let grants = std::mem::take(&mut store.grants).into_iter();
            state.grants.extend(grants.map(|grant| StoreGrant { store_id: store.store_id.clone(), grant }));
            state.stores.push(store);
        }
        for mut snap in held.snaps {
            let stores = std::mem::take(&mut snap.stores).into_iter();
            state.homes.extend(stores.map(|store_id| Home { snap_id: snap.snap_id.clone(), store_id }));
            snap.text.as_object_mut().unwrap().remove(OF_REVISION);
            state.snaps.push(snap);
        }
        state.sorted()
    }

    /// What history says was in force after a generation.
    fn at(generation: i64, told: &Described) -> State {
        fn in_force<T: Clone>(generation: i64, spans: &[Span<T>]) -> Vec<T> {
            let is = |span: &&Span<T>| {
                span.began <= generation && span.ended.is_none_or(|ended| ended > generation)
            };
            spans.iter().filter(is).map(|span| span.held.clone()).collect()
        }
        let state = State {
            grants: in_force(generation, &told.grants),
            stores: in_force(generation, &told.stores),
            snaps: in_force(generation, &told.snaps),
            homes: in_force(generation, &told.homes),
        };
        state.sorted()
    }
}

/// Everything that is told of these generations: of each snap by itself, and of the stores.
async fn told(database: &Database, after: i64, up_to: i64) -> Described {
    let all = database.spans(after, up_to, None).await.unwrap().described;
    let mut told = Described { stores: all.stores, ..Described::default() };
    for snap in SNAPS {
        let one = database.spans(after, up_to, Some(&snap_id(snap))).await.unwrap().described;
        assert_eq!(one.stores, []);
        told.grants.extend(one.grants);
        told.snaps.extend(one.snaps);
        told.homes.extend(one.homes);
    }
    // The same but for texts, which are left out where they tell nothing.
    assert_eq!((told.grants.len(), told.homes.len()), (all.grants.len(), all.homes.len()));
    assert_eq!(told.snaps.len(), all.snaps.len());
    for one in &all.snaps {
        let times = told.snaps.iter().filter(|other| other.held.snap_id == one.held.snap_id).count();
        assert!(one.held.text.is_object() || times == 1, "{one:?}");
    }
    told
}

fn snap(random: &mut Random) -> SnapRecord {
    let id = random.of(&SNAPS);
    SnapRecord {
        snap_id: snap_id(id),
        name: format!("name-of-{id}").parse().unwrap(),
        kind: schema::store::SnapType::App,
        private: random.below(2) == 0,
        stores: vec![random.of(&STORES).parse().unwrap()],
        text: json!({ "title": random.of(&["One", "Two"]), OF_REVISION: random.below(1000) }),
    }
}

fn store(random: &mut Random) -> StoreRecord {
    let id = random.of(&STORES);
    let mut grants = Vec::new();
    for snap in SNAPS.iter().filter(|_| random.below(2) == 0).collect::<Vec<_>>() {
        let reason = random.of(&[Reason::Own, Reason::Included, Reason::Told]);
        let name = random.of(&["as-told", "otherwise"]).parse().unwrap();
        grants.push(Grant { snap_id: snap_id(snap), name, reason });
    }
    StoreRecord {
        store_id: id.parse().unwrap(),
        brand_id: "acme".into(),
        name: random.of(&["Acme", "Acme’s"]).into(),
        parent: random.of(&[None, Some("ubuntu")]).map(|parent| parent.parse().unwrap()),
        grants,
        document: json!({ "private": random.below(2) == 0 }).to_string(),
    }
}

/// One of the things that imports and operators do to grants and descriptions.
fn random_change(random: &mut Random) -> Change {
    let mut change = change("any");
    match random.below(8) {
        0 => change.removed.stores.push(random.of(&STORES).parse().unwrap()),
        1 => change.removed.snaps.push(snap_id(random.of(&SNAPS))),
        2 | 3 => change.snaps.push(snap(random)),
        4 => {
            change.snaps.push(snap(random));
            change.stores.push(Arc::new(store(random)));
        }
        _ => change.stores.push(Arc::new(store(random))),
    }
    change
}

async fn the_grants_and_descriptions_of_every_generation_are_read_back(store: Store) {
    let database = store.migrated().await;
    let mut random = Random(61);
    let mut states = vec![State::now(database).await];
    for generation in 0..100 {
        database.commit(&random_change(&mut random), &[], generation).await.unwrap();
        states.push(State::now(database).await);
    }
    let moved: Vec<i64> =
        (1..).zip(states.windows(2)).filter(|(_, pair)| pair[0] != pair[1]).map(|(at, _)| at).collect();
    assert!(moved.len() > 60, "{} of these changes moved something", moved.len());
    let all = told(database, 0, 100).await;
    for (generation, state) in (0..).zip(&states) {
        assert_eq!(State::at(generation, &all), *state, "{generation}");
    }
    let steps = database.steps(i64::MAX, 1000, None).await.unwrap();
    assert_eq!(steps.iter().rev().map(|step| step.generation).collect::<Vec<_>>(), moved);

    // What moved a snap is found by the snap.
    for snap in SNAPS {
        let of = |state: &State| {
            let mut state = state.clone();
            state.stores.clear();
            state.grants.retain(|one| one.grant.snap_id == snap_id(snap));
            state.snaps.retain(|one| one.snap_id == snap_id(snap));
            state.homes.retain(|one| one.snap_id == snap_id(snap));
            state
        };
        let moved = (1..).zip(states.windows(2)).filter(|(_, pair)| of(&pair[0]) != of(&pair[1]));
        let steps = database.steps(i64::MAX, 1000, Some(&snap_id(snap))).await.unwrap();
        let found: Vec<i64> = steps.iter().rev().map(|step| step.generation).collect();
        assert_eq!(found, moved.map(|(at, _)| at).collect::<Vec<i64>>(), "{snap}");
    }

    // What began or ended between two generations leads from one state to the other.
    for (from, to) in [(0, 100), (7, 8), (12, 77), (30, 30)] {
        let between = told(database, from, to).await;
        let (before, after) = (State::at(from, &between), State::at(to, &between));
        let [then, now] = [from, to].map(|at| &states[usize::try_from(at).unwrap()]);
        fn lead<T: Clone + PartialEq>(then: &[T], before: &[T], after: &[T]) -> Vec<T> {
            then.iter().filter(|one| !before.contains(one)).chain(after).cloned().collect()
        }
        let led = State {
            grants: lead(&then.grants, &before.grants, &after.grants),
            stores: lead(&then.stores, &before.stores, &after.stores),
            snaps: lead(&then.snaps, &before.snaps, &after.snaps),
            homes: lead(&then.homes, &before.homes, &after.homes),
        };
        assert_eq!(led.sorted(), *now, "{from} to {to}");
    }
}

/// A store with so many grants, and a snap.
fn large(count: usize) -> Change {
    let mut change = change("push-brand-store-metadata");
    let grants = (0..count).map(|number| Grant {
        snap_id: format!("snap{number:028}").parse().unwrap(),
        name: format!("snap-{number}").parse().unwrap(),
        reason: Reason::Included,
    });
    let mut random = Random(3);
    change.stores.push(Arc::new(StoreRecord { grants: grants.collect(), ..store(&mut random) }));
    change.snaps.push(snap(&mut random));
    change
}

async fn rows(database: &Database) -> BTreeMap<&'static str, Vec<Vec<crate::storage::engine::Value>>> {
    let mut rows = dump(database).await;
    rows.retain(|table, _| TABLES.contains(table));
    rows
}

async fn what_is_pushed_again_writes_no_history(store: Store) {
    let database = store.migrated().await;
    let mut all = large(3000);
    database.commit(&all, &[], 0).await.unwrap();
    let before = rows(database).await;
    assert_eq!(before["grant_history"].len(), 3000);
    database.commit(&all, &[], 1).await.unwrap();
    // The texts are those of another revision, and say the same.
    all.snaps[0].text[OF_REVISION] = json!(77_777);
    database.commit(&all, &[], 2).await.unwrap();
    assert_eq!(rows(database).await, before);

    // One of them is gone: one row ends.
    let gone = Arc::make_mut(&mut all.stores[0]).grants.remove(1234);
    database.commit(&all, &[], 3).await.unwrap();
    let spans = database.spans(3, 4, None).await.unwrap().described;
    let store_id: StoreId = all.stores[0].store_id.clone();
    let ended = Span { held: StoreGrant { store_id, grant: gone }, began: 1, ended: Some(4) };
    assert_eq!(spans, Described { grants: vec![ended], ..Described::default() });
    let after = rows(database).await;
    assert_eq!(after["generations"].len(), before["generations"].len() + 1);
    for table in ["store_history", "snap_history", "snap_store_history"] {
        assert_eq!(after[table], before[table], "{table}");
    }
}

/// What a version without this history leaves.
async fn forget(database: &Database) {
    for text in [
        "DROP TABLE grant_history",
        "DROP TABLE store_history",
        "DROP TABLE snap_history",
        "DROP TABLE snap_store_history",
        "DROP TABLE device_downloads",
        "DELETE FROM counters WHERE name = 'grants-since'",
        "DELETE FROM generations WHERE generation = 2",
        "DELETE FROM schema_migrations WHERE version >= 15",
    ] {
        run(database, text).await;
    }
}

async fn it_starts_with_what_is_held_at_the_upgrade(store: Store) {
    let database = store.migrated().await;
    let first = full_change();
    database.commit(&first, &[], 0).await.unwrap();
    let mut second = large(5);
    second.at_micros = NOW + 7;
    second.snaps[0].text = json!({ "title": "One", OF_REVISION: 5 });
    database.commit(&second, &[], 1).await.unwrap();
    forget(database).await;
    database.migrate(NOW + 99).await.unwrap();

    // Nothing began with the upgrade, and a moment after it is found.
    let spans = database.spans(0, 2, None).await.unwrap();
    assert_eq!((spans.since, &spans.described), (2, &Described::default()));
    assert_eq!(spans.releases.len(), 2);
    assert_eq!(database.generation_at(NOW + 8).await.unwrap(), Some(2));
    assert_eq!(database.history_start().await.unwrap().generation, 0);
    let of = async |snap: Option<SnapId>| {
        let steps = database.steps(i64::MAX, 10, snap.as_ref()).await.unwrap();
        steps.iter().map(|step| step.generation).collect::<Vec<_>>()
    };
    assert_eq!(of(None).await, [1]);
    assert_eq!(of(Some(snap_id("snap-a"))).await, [1]);

    // The texts of then still name their revision, which makes no difference.
    let before = rows(database).await;
    second.snaps[0].text = json!({ "title": "One", OF_REVISION: 6 });
    database.commit(&second, &[], 2).await.unwrap();
    assert_eq!(rows(database).await, before);

    // What is held since then is known when it ends.
    let held = State::now(database).await;
    let mut last = change("remove everything");
    last.removed.stores = held.stores.iter().map(|store| store.store_id.clone()).collect();
    last.snaps =
        vec![SnapRecord { text: json!({ "title": "Two" }), stores: Vec::new(), ..second.snaps[0].clone() }];
    database.commit(&last, &[], 3).await.unwrap();
    let spans = database.spans(0, 4, None).await.unwrap().described;
    let then = State::at(3, &spans);
    assert_eq!((&then.grants, &then.stores), (&held.grants, &held.stores));
    assert_eq!(then.snaps[0].text["title"], Value::from("One"));
    assert_eq!(State::at(4, &spans).snaps[0].text["title"], Value::from("Two"));
    assert_eq!(of(Some(second.snaps[0].snap_id.clone())).await, [4]);
    let mut release_again = change("release");
    release_again.releases = vec![release("snap-a", 2, Origin::Imported)];
    database.commit(&release_again, &[], 4).await.unwrap();
    assert_eq!(of(None).await, [5, 4, 1]);
}

/// A server of an earlier version that still runs during an upgrade knows no such history.
async fn what_was_written_past_it_is_taken_up(store: Store) {
    let database = store.migrated().await;
    database.commit(&large(5), &[], 0).await.unwrap();
    run(database, "DELETE FROM grants WHERE name = 'snap-3'").await;
    run(database, "UPDATE stores SET parent = NULL, document = '{}'").await;
    run(database, "UPDATE snaps SET private = 1 - private").await;
    run(database, "UPDATE counters SET value = 2 WHERE name = 'generation'").await;
    let mut last = large(5);
    let late = Arc::make_mut(&mut last.stores[0]);
    late.grants.retain(|grant| grant.name.as_str() != "snap-3");
    late.parent = None;
    "{}".clone_into(&mut late.document);
    last.snaps[0].private = !last.snaps[0].private;
    database.commit(&last, &[], 2).await.unwrap();
    let spans = database.spans(2, 3, None).await.unwrap().described;
    assert_eq!(spans.grants.len(), 1);
    assert_eq!((spans.stores.len(), spans.snaps.len(), spans.homes.len()), (2, 2, 0));
    assert_eq!(
        State::at(3, &database.spans(0, 3, None).await.unwrap().described),
        State::now(database).await
    );
}
