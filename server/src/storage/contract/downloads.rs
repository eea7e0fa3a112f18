//! What devices were offered and downloaded.

use std::collections::BTreeMap;

use schema::store::{DeltaFormat, DeviceId};

use super::contract;
use super::fixture::{NOW, Store, run};
use crate::storage::Database;
use crate::storage::devices::Sighting;
use crate::storage::downloads::{Downloads, MOST_UPDATES, Step};

contract! {
    what_comes_later_is_added
    two_servers_add_up
    a_device_that_was_never_seen_leaves_nothing
    the_row_of_a_device_has_a_bound
}

fn device(serial: &str) -> DeviceId {
    DeviceId { brand: "acme".into(), model: "gateway".into(), serial: serial.into() }
}

async fn seen(database: &Database, serial: &str) {
    let sighting = Sighting {
        device: device(serial),
        seen_at_micros: NOW,
        address: String::new(),
        client: String::new(),
        snaps: None,
        missed: None,
        store: None,
        agent: String::new(),
        architecture: None,
        verified: true,
        follows: None,
    };
    let _ = database.record_sightings(vec![sighting]).await.unwrap();
}

fn of(serial: &str, target: u32, steps: &[Step], at: i64) -> BTreeMap<DeviceId, Downloads> {
    let mut all = Downloads::default();
    for step in steps {
        all.add("id", target, step, at);
    }
    BTreeMap::from([(device(serial), all)])
}

async fn rows(database: &Database) -> usize {
    run(database, "SELECT serial FROM device_downloads").await.len()
}

async fn what_comes_later_is_added(store: Store) {
    let database = store.migrated().await;
    seen(database, "1").await;
    assert_eq!(database.downloads(&device("1")).await.unwrap(), None);
    let first = [Step::Offered(1, vec![(DeltaFormat::Plain, 10), (DeltaFormat::Contents, 5)])];
    database.record_downloads(&of("1", 2, &first, NOW)).await.unwrap();
    let second = [Step::Delta(1, DeltaFormat::Contents, 5)];
    database.record_downloads(&of("1", 2, &second, NOW + 1)).await.unwrap();
    database.record_downloads(&of("1", 2, &[Step::FellBack(100)], NOW + 2)).await.unwrap();
    let held = database.downloads(&device("1")).await.unwrap().unwrap();

    let mut whole = Downloads::default();
    for (after, step) in first.iter().chain(&second).chain(&[Step::FellBack(100)]).enumerate() {
        whole.add("id", 2, step, NOW + after as i64);
    }
    assert_eq!(held, whole);
    assert_eq!((held.total.deltas_fallbacks, rows(database).await), (1, 1));
    assert_eq!(database.downloads(&device("2")).await.unwrap(), None, "of another device");
}

async fn two_servers_add_up(store: Store) {
    let one = store.migrated().await;
    seen(one, "1").await;
    let other = store.another().await;
    let write = async |database: &Database, from: i64| {
        for round in 0..10 {
            let news = of("1", 2, &[Step::Whole(10)], NOW + from + round);
            database.record_downloads(&news).await.unwrap();
        }
    };
    tokio::join!(write(one, 0), write(&other, 100));
    let held = one.downloads(&device("1")).await.unwrap().unwrap();
    assert_eq!((held.total.snaps_served_bytes, held.last[0].whole), (200, 200));
}

async fn a_device_that_was_never_seen_leaves_nothing(store: Store) {
    let database = store.migrated().await;
    database.record_downloads(&of("1", 2, &[Step::Whole(10)], NOW)).await.unwrap();
    assert_eq!((database.downloads(&device("1")).await.unwrap(), rows(database).await), (None, 0));
}

async fn the_row_of_a_device_has_a_bound(store: Store) {
    let database = store.migrated().await;
    seen(database, "1").await;
    for target in 1..100 {
        let at = NOW + i64::from(target);
        database.record_downloads(&of("1", target, &[Step::Whole(u64::MAX / 2)], at)).await.unwrap();
    }
    let held = database.downloads(&device("1")).await.unwrap().unwrap();
    assert_eq!((held.last.len(), held.last[0].target), (MOST_UPDATES, 99));
    assert_eq!((rows(database).await, held.total.snaps_served_bytes), (1, u64::MAX));
}
