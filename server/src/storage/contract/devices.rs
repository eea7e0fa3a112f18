//! Sightings of devices.

use schema::store::DeviceId;

use super::contract;
use super::fixture::{NOW, Store};
use crate::storage::devices::{DevicesWhere, Missed, Running, Sighting};

contract! {
    the_newest_sighting_counts
    what_a_sighting_does_not_mention_is_kept
    a_list_is_written_when_it_changes
    servers_that_see_the_same_devices_do_not_block_each_other
}

fn sighting(serial: &str, after: i64) -> Sighting {
    Sighting {
        device: DeviceId { brand: "acme".into(), model: "gateway".into(), serial: serial.into() },
        seen_at_micros: NOW + after,
        address: format!("address {after}"),
        client: "snapd".into(),
        snaps: None,
        missed: None,
        store: Some("acme-store".parse().unwrap()),
        agent: "snapd/2.77".into(),
        architecture: Some("arm64".parse().unwrap()),
        verified: true,
        follows: None,
    }
}

async fn the_newest_sighting_counts(store: Store) {
    let database = store.migrated().await;
    let _ = database.record_sightings(Vec::new()).await.unwrap();
    let later = schema::store::Epoch::parse("1*").ok();
    let running = |epoch| Running {
        snap_id: "core".into(),
        revision: 7,
        channel: "edge".into(),
        epoch,
        sets: Vec::new(),
        cohort: None,
    };
    let kept = Running { cohort: Some("key".into()), ..running(None) };
    let snaps = Some(vec![running(None), running(later), kept]);
    let miss = Missed { name: "x".into(), wanted: "stable".into(), code: "no".into(), at_micros: NOW };
    let missed = Some(vec![miss]);
    let full = Sighting { snaps: snaps.clone(), missed: missed.clone(), ..sighting("one", 5) };
    let _ = database.record_sightings(vec![full, sighting("one", 4), sighting("two", 0)]).await.unwrap();
    // Late, then newer without a list of snaps.
    let _ = database.record_sightings(vec![sighting("one", 2)]).await.unwrap();
    let _ = database.record_sightings(vec![sighting("one", 9)]).await.unwrap();

    let devices = database.devices(DevicesWhere::default(), 10).await.unwrap();
    assert_eq!(devices.len(), 2);
    assert_eq!(devices[0].first_seen_micros, NOW + 5);
    assert_eq!(devices[0].last, Sighting { snaps, missed, ..sighting("one", 9) });
    assert_eq!(devices[1].last, sighting("two", 0));
    let one = |serial: &str| format!("acme/gateway/{serial}").parse().unwrap();
    assert_eq!(database.device(&one("one")).await.unwrap().as_ref(), Some(&devices[0]));
    assert_eq!(database.device(&one("three")).await.unwrap(), None);
    assert_eq!(database.devices(DevicesWhere::default(), 1).await.unwrap(), devices[..1]);
}

async fn what_a_sighting_does_not_mention_is_kept(store: Store) {
    let database = store.migrated().await;
    let nowhere = Sighting { store: None, ..sighting("two", 2) };
    let _ = database.record_sightings(vec![sighting("one", 1), nowhere, sighting("three", 3)]).await.unwrap();
    let _ =
        database.record_sightings(vec![Sighting { architecture: None, ..sighting("one", 4) }]).await.unwrap();
    let devices = database.devices(DevicesWhere::default(), 10).await.unwrap();
    assert_eq!(devices[0].last, sighting("one", 4));
    let count = async |since| database.count_by_store(NOW + since).await.unwrap();
    let named = |devices| vec![("acme".to_owned(), "acme-store".to_owned(), devices)];
    assert_eq!((count(0).await, count(4).await, count(5).await), (named(2), named(1), Vec::new()));
}

async fn a_list_is_written_when_it_changes(store: Store) {
    let database = store.migrated().await;
    let list = |revision| {
        let (snap_id, channel) = ("core".into(), "edge".into());
        Some(vec![Running { snap_id, revision, channel, epoch: None, sets: Vec::new(), cohort: None }])
    };
    let all = |after, revision| -> Vec<Sighting> {
        let seen = |serial: &str| Sighting { snaps: list(revision), ..sighting(serial, after) };
        ["one", "two", "three"].map(seen).into()
    };
    let held = async || {
        let seen = database.devices(DevicesWhere::default(), 10).await.unwrap();
        let one = seen.into_iter().find(|record| record.last.device.serial == "one").unwrap().last;
        (one.seen_at_micros - NOW, one.snaps)
    };
    // The first time, again and again, one of them changed, a late one, and one that says nothing of its snaps.
    assert_eq!(database.record_sightings(all(1, 7)).await.unwrap(), 3);
    for after in [2, 3] {
        assert_eq!(database.record_sightings(all(after, 7)).await.unwrap(), 0);
        assert_eq!(held().await, (after, list(7)));
    }
    let mut changed = all(4, 7);
    changed[0].snaps = list(8);
    assert_eq!(database.record_sightings(changed).await.unwrap(), 1);
    assert_eq!(
        database.record_sightings(vec![Sighting { snaps: list(6), ..sighting("one", 2) }]).await.unwrap(),
        0
    );
    assert_eq!(database.record_sightings(vec![sighting("one", 5)]).await.unwrap(), 0);
    assert_eq!(held().await, (5, list(8)));
    // Another server wrote something else meanwhile.
    let other = store.another().await;
    assert_eq!(
        other.record_sightings(vec![Sighting { snaps: list(9), ..sighting("one", 6) }]).await.unwrap(),
        1
    );
    assert_eq!(
        database.record_sightings(vec![Sighting { snaps: list(8), ..sighting("one", 7) }]).await.unwrap(),
        1
    );
    assert_eq!(held().await, (7, list(8)));
}

async fn servers_that_see_the_same_devices_do_not_block_each_other(store: Store) {
    store.migrated().await;
    let mut batches = Vec::new();
    for server in 0..6 {
        let database = store.another().await;
        batches.push(tokio::spawn(async move {
            for round in 0..5 {
                let mut seen: Vec<_> = (0..50).map(|n| sighting(&format!("serial {n}"), round)).collect();
                if server % 2 == 0 {
                    seen.reverse();
                }
                let _ = database.record_sightings(seen).await?;
            }
            Ok::<_, crate::storage::error::StorageError>(())
        }));
    }
    for batch in batches {
        batch.await.unwrap().unwrap();
    }
    assert_eq!(store.database.devices(DevicesWhere::default(), 100).await.unwrap().len(), 50);
}
