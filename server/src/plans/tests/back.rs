//! The way back leads to exactly the map of then, whatever happened since.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use schema::api::admin::Task;
use schema::store::{Channel, SnapId, SnapName};
use time::OffsetDateTime;

use crate::catalog::Catalog;
use crate::imports::tests::world::{World, bundle, context};
use crate::imports::{SnapOptions, plan_snaps};
use crate::plans::By;
use crate::plans::back::Then;
use crate::plans::upkeep::{Past, UpkeepError, plan_upkeep};
use crate::storage::Database;
use crate::storage::contract::fixture::{Store, change, snap_id};
use crate::storage::contract::history::{Random, now, random_change, with_snaps};
use crate::storage::records::{
    Change, Origin, ReleaseKey, ReleaseRecord, Removed, RevisionRecord, SnapRecord,
};

/// Releases and overrides with their revisions.
type Map = BTreeMap<ReleaseKey, u32>;
type Channels = BTreeSet<(SnapId, Channel)>;

fn map(rows: &[ReleaseRecord]) -> Map {
    let rows = rows.iter().filter(|row| row.origin != Origin::Closed);
    rows.map(|row| (row.key(), row.revision)).collect()
}

fn channels(rows: &[ReleaseRecord], origin: Origin) -> Channels {
    let rows = rows.iter().filter(|row| row.origin == origin);
    rows.map(|row| (row.snap_id.clone(), row.channel.clone())).collect()
}

async fn plan(database: &Database, generation: i64) -> (i64, Result<Change, UpkeepError>) {
    let catalog = read(database).await;
    (catalog.position.generation, plan_on(&catalog, database, generation).await)
}

async fn read(database: &Database) -> Catalog {
    let snapshot = database.load().await.expect("a snapshot");
    Catalog::compile(snapshot, "http://store.test", None).expect("a catalog")
}

/// The way back as a server plans it that holds this catalog.
async fn plan_on(catalog: &Catalog, database: &Database, generation: i64) -> Result<Change, UpkeepError> {
    let releases = database.maps_at(&[generation]).await.expect("a map").remove(0);
    let past = Past { then: Then { generation, releases, ..Then::default() }, ..Past::default() };
    let task = Task::Back { to: generation.to_string(), snap: None };
    let by = By { who: "operator".into(), now: OffsetDateTime::UNIX_EPOCH };
    plan_upkeep(catalog, &task, &by, &past).map(|(change, _)| change)
}

async fn every_generation_comes_back(store: Store) {
    let database = with_snaps(&store).await;
    let mut random = Random(2026);
    let mut known = vec![Vec::new(), Vec::new()];
    for _ in 0..60 {
        let before = known.last().cloned().unwrap_or_default();
        let current = i64::try_from(known.len() - 1).expect("few");
        if random.below(3) > 0 {
            database.commit(&random_change(&mut random), &[], current).await.expect("committed");
            known.push(now(database).await);
            continue;
        }
        let target = usize::try_from(random.below(known.len() as u64)).expect("few");
        let (generation, planned) = plan(database, i64::try_from(target).expect("few")).await;
        assert_eq!(generation, current);
        database.commit(&planned.expect("nothing is missing"), &[], current).await.expect("committed");
        let (then, after) = (&known[target], now(database).await);
        assert_eq!(map(&after), map(then), "back from {current} to {target}");
        // A channel stays closed if the operator closed it, or the way back did, and it is not open now.
        let mut shut: Channels = channels(&before, Origin::Closed);
        shut.extend(channels(&before, Origin::Imported));
        shut.extend(channels(then, Origin::Closed));
        let open = channels(&after, Origin::Imported);
        let expected: Channels = shut.difference(&open).cloned().collect();
        assert_eq!(channels(&after, Origin::Closed), expected, "back from {current} to {target}");
        known.push(after);
    }
    assert!(map(&now(database).await).len() + known.len() > 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_generation_comes_back_with_the_embedded_database() {
    every_generation_comes_back(Store::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_generation_comes_back_with_postgresql() {
    every_generation_comes_back(Store::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_and_nothing_is_planned() {
    let store = Store::sqlite().await;
    let database = with_snaps(&store).await;
    let mut random = Random(7);
    let released = loop {
        let change = random_change(&mut random);
        if change.releases.iter().any(|row| row.origin == Origin::Imported) {
            break change;
        }
    };
    database.commit(&released, &[], 1).await.expect("committed");
    let mut removal = change("remove everything");
    let rows = now(database).await;
    removal.releases_closed = rows.iter().map(ReleaseRecord::key).collect();
    let gone: BTreeSet<(SnapId, u32)> =
        map(&rows).into_iter().map(|(key, revision)| (key.snap_id, revision)).collect();
    removal.removed = Removed { revisions: gone.iter().cloned().collect(), ..Removed::default() };
    database.commit(&removal, &[], 2).await.expect("committed");
    let (_, planned) = plan(database, 2).await;
    let Err(UpkeepError::Gone { generation: 2, gone: named }) = planned else { panic!("{planned:?}") };
    let name = |(id, revision): &(SnapId, u32)| {
        let snap = ["snap-a", "snap-b", "snap-c"].into_iter().find(|name| snap_id(name) == *id);
        format!("name-of-{} revision {revision}", snap.expect("one of them"))
    };
    assert_eq!(named, gone.iter().map(name).collect::<Vec<_>>());
    let (_, planned) = plan(database, 1).await;
    assert!(planned.is_ok(), "the empty map misses nothing: {planned:?}");
}

/// So many snaps with revisions 1 and 2, of which the first is released.
fn many(count: usize) -> Change {
    let bundle = bundle(&[1, 2]);
    let (first, _) =
        plan_snaps(&World::new(), &bundle, &SnapOptions::default(), &context()).expect("accepted");
    let mut all = Change { snaps: Vec::new(), revisions: Vec::new(), releases: Vec::new(), ..first.clone() };
    for number in 0..count {
        let snap_id: SnapId = format!("snap{number:028}").parse().expect("an id");
        let name: SnapName = format!("snap-{number}").parse().expect("a name");
        let named =
            |snap: &SnapRecord| SnapRecord { snap_id: snap_id.clone(), name: name.clone(), ..snap.clone() };
        all.snaps.extend(first.snaps.iter().map(named));
        let of = |revision: &RevisionRecord| RevisionRecord { snap_id: snap_id.clone(), ..revision.clone() };
        all.revisions.extend(first.revisions.iter().map(of));
    }
    released(&mut all, count, 1);
    all
}

/// Releases this revision of each snap.
fn released(change: &mut Change, count: usize, revision: u32) {
    let release = |number: usize| ReleaseRecord {
        snap_id: format!("snap{number:028}").parse().expect("an id"),
        channel: "stable".parse().expect("a channel"),
        architecture: "amd64".parse().expect("an architecture"),
        revision,
        released_at: "2026-08-01T00:00:00Z".into(),
        origin: Origin::Imported,
    };
    change.releases.extend((0..count).map(release));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_snaps_go_back_in_one_change() {
    #[expect(clippy::disallowed_methods, reason = "a longer run of this test")]
    let count = if std::env::var_os("AIRLOCK_LONG").is_some() { 10_000 } else { 200 };
    let store = Store::sqlite().await;
    let database = store.migrated().await;
    database.commit(&many(count), &[], 0).await.expect("committed");
    let then = now(database).await;
    let mut newer = change("release");
    released(&mut newer, count, 2);
    database.commit(&newer, &[], 1).await.expect("committed");

    let catalog = read(database).await;
    let begun = Instant::now();
    let planned = plan_on(&catalog, database, 1).await.expect("nothing is missing");
    let planning = begun.elapsed();
    let begun = Instant::now();
    let after = database.commit(&planned, &[], catalog.position.generation).await.expect("committed");
    let committing = begun.elapsed();
    assert_eq!((catalog.position.generation, after), (2, 3), "one generation");
    let begun = Instant::now();
    let moved = database.load_since(catalog.position).await.expect("read").expect("known");
    drop(catalog.advance(moved).expect("a catalog").expect("no anchor changed"));
    let publishing = begun.elapsed();
    assert_eq!(map(&now(database).await), map(&then));
    println!(
        "{count} snaps went back in one generation: planned in {planning:?}, committed in {committing:?}, published in {publishing:?}"
    );

    // Forward again, and two of the revisions of then are removed.
    let (generation, planned) = plan(database, 2).await;
    database.commit(&planned.expect("nothing is missing"), &[], generation).await.expect("committed");
    let mut removal = change("remove two");
    let gone = [3, 7].map(|number| (format!("snap{number:028}").parse().expect("an id"), 1));
    removal.removed = Removed { revisions: gone.into(), ..Removed::default() };
    database.commit(&removal, &[], 4).await.expect("committed");
    let (_, planned) = plan(database, 1).await;
    let Err(UpkeepError::Gone { gone: named, .. }) = planned else { panic!("{planned:?}") };
    assert_eq!(named, ["snap-3 revision 1", "snap-7 revision 1"]);
    println!("missing: {named:?}");
}
