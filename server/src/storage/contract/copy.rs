//! Moving from one engine to the other.

use std::collections::BTreeMap;

use schema::store::{DeltaFormat, DeviceId};

use super::approvals::asked;
use super::fixture::{NOW, Store, change, dump, full_change};
use super::serials::asking;
use crate::storage::approvals::{ApprovalState, Vote};
use crate::storage::devices::{Running, Sighting};
use crate::storage::downloads::{Downloads, Step};
use crate::storage::error::StorageError;
use crate::storage::measures::{Measure, Meeting};
use crate::storage::records::Spending;
use crate::storage::rollouts::Contact;
use crate::storage::serials::{Reserved, Wanted};

#[tokio::test(flavor = "multi_thread")]
async fn a_round_trip_changes_nothing() {
    let (origin, middle, end) = (Store::sqlite().await, Store::postgres().await, Store::sqlite().await);
    let database = origin.migrated().await;
    database.commit(&full_change(), &[], 0).await.unwrap();
    database.commit(&change("second"), &[], 1).await.unwrap();
    database.turn_nonce_epoch(1).await.unwrap();
    database.turn_nonce_epoch(2).await.unwrap();
    database.spend_nonce("nonce", 3, "request", NOW).await.unwrap();
    let sighting = Sighting {
        device: DeviceId { brand: "acme".into(), model: "gateway".into(), serial: "one".into() },
        seen_at_micros: NOW,
        address: "fe80::1".into(),
        client: "snapd".into(),
        snaps: Some(vec![Running {
            snap_id: "ü".into(),
            revision: -1,
            channel: String::new(),
            epoch: None,
            sets: vec!["acme/line7=3".into()],
            cohort: Some("key".into()),
        }]),
        missed: None,
        store: Some("acme-store".parse().unwrap()),
        agent: "snapd/2.77".into(),
        architecture: Some("arm64".parse().unwrap()),
        verified: true,
        follows: Some(vec!["acme/line7=3".into()]),
    };
    let device = sighting.device.clone();
    let _ = database.record_sightings(vec![sighting]).await.unwrap();
    let wanted = Wanted::Listed { proposed: None, hardware: None };
    let reserved = database.reserve_serial(&asking("device"), &wanted).await.unwrap();
    assert!(matches!(reserved, Reserved::Held(_)), "{reserved:?}");
    let (rollout, at_micros) = ("spring".to_owned(), NOW);
    let contact = Contact { rollout, at_micros, has: false, offered: true, held: false };
    database.record_contacts(vec![(device.clone(), contact)]).await.unwrap();
    let mut downloads = Downloads::default();
    downloads.add("ü", 2, &Step::Offered(1, vec![(DeltaFormat::Plain, 10)]), NOW);
    database.record_downloads(&BTreeMap::from([(device, downloads)])).await.unwrap();
    let approval = database.ask_approval(&asked("digest"), 9).await.unwrap().unwrap();
    let vote = Vote { who: "uid 1".into(), approves: true, at_micros: NOW, why: None };
    let _ =
        database.vote(approval.id, &vote, |_| Ok::<_, StorageError>(ApprovalState::Waiting)).await.unwrap();
    database.await_approval("request", approval.id).await.unwrap();
    let counted = Measure { metric: "visits".into(), label: "well".into(), value: 7 };
    database.record_measures(&[counted], Meeting::Sum, NOW).await.unwrap();

    assert!(database.count_signature("factory", 20_000, 9).await.unwrap());

    let before = dump(database).await;
    for (table, rows) in &before {
        assert!(!rows.is_empty(), "{table} has nothing to compare");
    }
    database.copy_to(&middle.database, NOW).await.unwrap();
    assert_eq!(dump(&middle.database).await, before);
    middle.database.copy_to(&end.database, NOW).await.unwrap();
    assert_eq!(dump(&end.database).await, before);

    // The copy continues where the original was.
    let replay = middle.database.spend_nonce("nonce", 3, "another request", NOW).await.unwrap();
    assert_eq!(replay, Spending::Replayed);
    assert_eq!(middle.database.commit(&change("third"), &[], 2).await.unwrap(), 3);
    assert_eq!(middle.database.events(i64::MAX, 1).await.unwrap()[0].sequence, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_use_is_not_copied_over() {
    let (origin, target) = (Store::sqlite().await, Store::postgres().await);
    origin.migrated().await.commit(&full_change(), &[], 0).await.unwrap();
    target.migrated().await.commit(&change("something"), &[], 0).await.unwrap();
    let before = dump(&target.database).await;
    let refused = origin.database.copy_to(&target.database, NOW).await;
    assert!(matches!(refused, Err(StorageError::NotEmpty)), "{refused:?}");
    assert_eq!(dump(&target.database).await, before);
}
