//! The way back leads to exactly the map of then, whatever happened since.

use std::collections::{BTreeMap, BTreeSet};

use schema::api::admin::Task;
use schema::store::{Channel, SnapId};
use time::OffsetDateTime;

use crate::catalog::Catalog;
use crate::plans::By;
use crate::plans::back::Then;
use crate::plans::upkeep::{Past, UpkeepError, plan_upkeep};
use crate::storage::Database;
use crate::storage::contract::fixture::{Store, change, snap_id};
use crate::storage::contract::history::{Random, now, random_change, with_snaps};
use crate::storage::records::{Change, Origin, ReleaseKey, ReleaseRecord, Removed};

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
    let snapshot = database.load().await.expect("a snapshot");
    let catalog = Catalog::compile(snapshot, "http://store.test", None).expect("a catalog");
    let releases = database.maps_at(&[generation]).await.expect("a map").remove(0);
    let past = Past { then: Then { generation, releases }, ..Past::default() };
    let task = Task::Back { to: generation.to_string(), snap: None };
    let by = By { who: "operator".into(), now: OffsetDateTime::UNIX_EPOCH };
    let planned = plan_upkeep(&catalog, &task, &by, &past);
    (catalog.position.generation, planned.map(|(change, _)| change))
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
