//! The history of releases: whatever changes do, the releases of every generation can be read later.

use schema::store::Architecture;

use super::contract;
use super::fixture::{NOW, Store, add_revision, change, dump, release, run, snap_id};
use crate::storage::Database;
use crate::storage::error::CommitError;
use crate::storage::records::*;

contract! {
    the_releases_of_every_generation_are_read_back
    history_starts_with_what_is_released_at_the_upgrade
    a_change_that_fails_leaves_no_history
    generations_are_found_by_time_and_by_snap
    what_was_written_past_history_is_taken_up
}

const SNAPS: [&str; 3] = ["snap-a", "snap-b", "snap-c"];

/// A repeatable sequence of numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        let at = self.below(all.len() as u64);
        all[usize::try_from(at).unwrap()]
    }
}

/// One of the things that operators and imports do to releases.
pub(crate) fn random_change(random: &mut Random) -> Change {
    let mut change = change("any");
    for _ in 0..=random.below(3) {
        let snap = random.of(&SNAPS);
        let origin = random.of(&[Origin::Imported, Origin::Imported, Origin::Override, Origin::Closed]);
        let row = ReleaseRecord {
            channel: random.of(&["stable", "edge", "2/beta/fix"]).parse().unwrap(),
            architecture: random.of(&["amd64", "arm64", Architecture::ALL]).parse().unwrap(),
            revision: u32::try_from(1 + random.below(3)).unwrap(),
            released_at: random.of(&["2026-01-02T03:04:05Z", "2026-02-02T03:04:05Z"]).into(),
            ..release(snap, 1, origin)
        };
        match random.below(5) {
            0 => change.replace_channel_map_of.push(row.snap_id),
            1 => change.releases_closed.push(row.key()),
            2 => {
                change.replace_channel_map_of.push(row.snap_id.clone());
                change.releases.push(row);
            }
            _ => change.releases.push(row),
        }
    }
    change
}

/// The releases now, in an order that compares.
pub(crate) async fn now(database: &Database) -> Vec<ReleaseRecord> {
    sorted(database.load().await.unwrap().releases)
}

fn sorted(mut map: Vec<ReleaseRecord>) -> Vec<ReleaseRecord> {
    map.sort_by_key(ReleaseRecord::key);
    map
}

/// A database with revisions 1 to 3 of each snap, at generation 1.
pub(crate) async fn with_snaps(store: &Store) -> &Database {
    let database = store.migrated().await;
    let mut first = change("push");
    for snap in SNAPS {
        for revision in 1..=3 {
            add_revision(&mut first, snap, revision);
        }
    }
    database.commit(&first, &[], 0).await.unwrap();
    database
}

async fn the_releases_of_every_generation_are_read_back(store: Store) {
    let database = with_snaps(&store).await;
    let mut random = Random(16);
    let mut maps = vec![vec![], now(database).await];
    for generation in 1..60 {
        database.commit(&random_change(&mut random), &[], generation).await.unwrap();
        maps.push(now(database).await);
    }
    let moved = maps.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(moved > 30, "{moved} of these changes moved something");
    let all: Vec<i64> = (0..).take(maps.len()).collect();
    let read: Vec<_> = database.maps_at(&all).await.unwrap().into_iter().map(sorted).collect();
    assert_eq!(read, maps);
    // Only generations that moved something have a row, the first one, and the one that brought the snaps.
    assert_eq!(database.steps(i64::MAX, 1000, None).await.unwrap().len(), moved + 1);

    // What began and ended between two generations leads from one map to the other.
    for (from, to) in [(0, 60), (7, 8), (12, 47), (30, 30)] {
        let spans = database.spans(from, to, None).await.unwrap().releases;
        let mut map = maps[usize::try_from(from).unwrap()].clone();
        map.retain(|row| !spans.iter().any(|span| span.held == *row && span.began <= from));
        map.extend(
            spans
                .into_iter()
                .filter(|span| span.began > from && span.ended.is_none_or(|ended| ended > to))
                .map(|span| span.held),
        );
        assert_eq!(sorted(map), maps[usize::try_from(to).unwrap()], "{from} to {to}");
    }
}

async fn history_starts_with_what_is_released_at_the_upgrade(store: Store) {
    let database = with_snaps(&store).await;
    let mut last = change("release");
    last.at_micros = NOW + 7;
    last.releases = vec![release("snap-a", 2, Origin::Imported), release("snap-a", 3, Origin::Override)];
    database.commit(&last, &[], 1).await.unwrap();
    // What a version without history leaves.
    run(database, "DROP TABLE release_history").await;
    run(database, "DROP TABLE generations").await;
    run(database, "DROP TABLE listed_serials").await;
    run(database, "DROP TABLE issued_serials").await;
    run(database, "DROP TABLE rollout_devices").await;
    for table in [
        "DROP TABLE approvals",
        "DROP TABLE approval_votes",
        "DROP TABLE waiting_registrations",
        "DROP TABLE measures",
        "DROP TABLE device_snaps",
        "DROP TABLE key_days",
        "DROP TABLE audit_spans",
        "DROP TABLE grant_history",
        "DROP TABLE store_history",
        "DROP TABLE snap_history",
        "DROP TABLE snap_store_history",
        "DROP TABLE device_downloads",
    ] {
        run(database, table).await;
    }
    run(database, "ALTER TABLE devices ADD COLUMN snaps TEXT").await;
    run(database, "ALTER TABLE devices DROP COLUMN follows").await;
    for index in [
        "DROP INDEX audit_by_who",
        "DROP INDEX audit_by_what",
        "DROP INDEX audit_by_who_and_what",
        "DROP INDEX audit_by_subject",
        "DROP INDEX audit_by_time",
        "DROP INDEX audit_by_who_and_subject",
        "DROP INDEX audit_by_what_and_subject",
        "DROP INDEX audit_by_all",
        "DROP INDEX audit_by_refusal",
        "DROP INDEX devices_by_time",
        "DROP INDEX devices_by_miss",
        "DROP INDEX devices_by_serial",
    ] {
        run(database, index).await;
    }
    run(database, "DELETE FROM counters WHERE name IN ('approval', 'grants-since')").await;
    run(database, "ALTER TABLE devices DROP COLUMN pace").await;
    run(database, "DELETE FROM schema_migrations WHERE version >= 6").await;
    database.migrate(NOW + 99).await.unwrap();

    let start = database.history_start().await.unwrap();
    assert_eq!((start.generation, start.at_micros, start.what.as_str()), (2, NOW + 7, "release"));
    assert_eq!(database.generation_at(NOW + 6).await.unwrap(), None);
    assert_eq!(database.generation_at(NOW + 7).await.unwrap(), Some(2));
    assert_eq!(database.steps(i64::MAX, 10, None).await.unwrap(), []);
    database.commit(&change("nothing"), &[], 2).await.unwrap();
    let map = database.maps_at(&[2]).await.unwrap().remove(0);
    assert_eq!(sorted(map), now(database).await);
}

async fn a_change_that_fails_leaves_no_history(store: Store) {
    let database = with_snaps(&store).await;
    let before = dump(database).await;
    let mut broken = change("release");
    broken.releases = vec![release("snap-a", 1, Origin::Imported), release("snap-b", 99, Origin::Imported)];
    assert!(database.commit(&broken, &[], 1).await.is_err());
    let mut stale = change("release");
    stale.releases = vec![release("snap-a", 1, Origin::Imported)];
    assert!(matches!(database.commit(&stale, &[], 0).await, Err(CommitError::Conflict { .. })));
    assert_eq!(dump(database).await, before);
}

async fn generations_are_found_by_time_and_by_snap(store: Store) {
    let database = with_snaps(&store).await;
    for (generation, snap) in [(1, "snap-a"), (2, "snap-b"), (3, "snap-a")] {
        let mut change = change("release");
        change.at_micros = NOW + 10 * generation;
        change.releases = vec![release(snap, u32::try_from(generation).unwrap(), Origin::Imported)];
        database.commit(&change, &[], generation).await.unwrap();
    }
    for (after, expected) in [(9, 1), (10, 2), (29, 3), (30, 4), (99, 4)] {
        assert_eq!(database.generation_at(NOW + after).await.unwrap(), Some(expected), "{after}");
    }
    let of = async |before, limit, snap: Option<&str>| {
        let steps = database.steps(before, limit, snap.map(snap_id).as_ref()).await.unwrap();
        steps.iter().map(|step| step.generation).collect::<Vec<_>>()
    };
    assert_eq!(of(i64::MAX, 10, None).await, [4, 3, 2, 1]);
    assert_eq!(of(4, 1, None).await, [3]);
    assert_eq!(of(i64::MAX, 10, Some("snap-a")).await, [4, 2, 1]);
    assert_eq!(of(i64::MAX, 10, Some("snap-c")).await, [1]);
    assert_eq!(of(i64::MAX, 10, Some("snap-d")).await, Vec::<i64>::new());
    let step = database.steps(i64::MAX, 1, None).await.unwrap().remove(0);
    assert_eq!((step.at_micros, step.who.as_str(), step.what.as_str()), (NOW + 30, "operator", "release"));
}

/// A server of an earlier version that still runs during an upgrade knows no history.
async fn what_was_written_past_history_is_taken_up(store: Store) {
    let database = with_snaps(&store).await;
    let mut first = change("release");
    first.releases = vec![release("snap-a", 1, Origin::Imported)];
    database.commit(&first, &[], 1).await.unwrap();
    run(database, "UPDATE releases SET revision = 2").await;
    run(database, "UPDATE counters SET value = 3 WHERE name = 'generation'").await;
    let mut last = change("override");
    last.releases = vec![release("snap-a", 3, Origin::Override)];
    database.commit(&last, &[], 3).await.unwrap();
    let maps: Vec<_> = database.maps_at(&[2, 4]).await.unwrap().into_iter().map(sorted).collect();
    assert_eq!(maps[0], first.releases);
    assert_eq!(maps[1], now(database).await);
}
