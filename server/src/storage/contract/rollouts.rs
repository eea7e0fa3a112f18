//! How devices take to a rollout, and how often they come.

use schema::store::DeviceId;

use super::contract;
use super::fixture::{NOW, Store};
use crate::storage::devices::Sighting;
use crate::storage::rollouts::{Contact, Taken};

contract! {
    contacts_are_told_apart_by_visits
    the_pace_of_a_device_is_a_mean_of_its_visits
}

const MINUTE: i64 = 60_000_000;

fn device() -> DeviceId {
    DeviceId { brand: "acme".into(), model: "gateway".into(), serial: "one".into() }
}

async fn contacts_are_told_apart_by_visits(store: Store) {
    let database = store.migrated().await;
    // Minutes, whether it has the revision, was offered it, and holds; the outcome.
    let first = NOW;
    for (minutes, has, offered, held, offers, with, without, holds) in [
        (0, false, true, false, 1, None, 0, false),
        (9, false, true, false, 1, None, 9, false),
        (10, false, true, false, 2, None, 10, false),
        // Once more, and one that comes late.
        (10, false, true, false, 2, None, 10, false),
        (5, false, false, true, 2, None, 10, false),
        (30, false, false, true, 2, None, 30, true),
        (40, true, false, false, 2, Some(40), 30, false),
        (50, true, false, false, 2, Some(40), 30, false),
        (60, false, true, false, 3, Some(40), 60, false),
    ] {
        let at_micros = first + minutes * MINUTE;
        let contact = |rollout: &str| Contact { rollout: rollout.into(), at_micros, has, offered, held };
        let contacts = ["spring", "summer"].map(|rollout| (device(), contact(rollout)));
        database.record_contacts(contacts.into()).await.unwrap();
        let expected = Taken {
            offers,
            with_micros: with.map_or(0, |with: i64| first + with * MINUTE),
            without_micros: first + without * MINUTE,
            held: holds,
        };
        for rollout in ["spring", "summer"] {
            let found = database.contacts(rollout).await.unwrap();
            assert_eq!(found.get(&device()), Some(&expected), "{minutes}");
        }
    }
    assert!(database.contacts("autumn").await.unwrap().is_empty());
}

async fn the_pace_of_a_device_is_a_mean_of_its_visits(store: Store) {
    let database = store.migrated().await;
    for (minutes, pace) in [(0, 0), (9, 0), (69, 60), (70, 60), (169, 69), (100, 69), (269, 77)] {
        let sighting = Sighting {
            device: device(),
            seen_at_micros: NOW + minutes * MINUTE,
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
        let found = database.device(&device()).await.unwrap().expect("it was seen").pace_micros;
        assert_eq!(found / MINUTE, pace, "{minutes}");
    }
}
