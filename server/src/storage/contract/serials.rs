//! Serials: reserved once for each device key, kept once.

use schema::signing::ListedSerial;
use schema::store::DeviceId;

use super::contract;
use super::fixture::{NOW, Store, change};
use crate::storage::policies::SerialList;
use crate::storage::records::{AuditEvent, Change};
use crate::storage::serials::{Asking, Reserved, SerialsWhere, Wanted};

contract! {
    a_device_key_keeps_its_serial
    another_device_takes_the_place_of_one
    devices_at_once_share_a_list
}

pub(super) fn asking(device_key: &str) -> Asking {
    Asking {
        brand: "acme".into(),
        model: "gateway".into(),
        device_key: device_key.into(),
        signed_by: "factory".into(),
        request_digest: "digest".into(),
        at_micros: NOW,
    }
}

fn serial_of(reserved: &Reserved) -> &str {
    match reserved {
        Reserved::Held(held) => &held.device.serial,
        other => panic!("{other:?}"),
    }
}

async fn a_device_key_keeps_its_serial(store: Store) {
    let database = store.migrated().await;
    let exactly = |serial: &str| Wanted::Exactly(serial.into());
    let first = database.reserve_serial(&asking("a"), &exactly("S-1")).await.unwrap();
    assert_eq!(serial_of(&first), "S-1");
    let again = database.reserve_serial(&asking("a"), &exactly("S-2")).await.unwrap();
    assert_eq!(again, first);
    let taken = database.reserve_serial(&asking("b"), &exactly("S-1")).await.unwrap();
    assert_eq!(taken, Reserved::Taken("S-1".into()));
    // The first document stays.
    let event = AuditEvent::new("proxyd", "issue-serial", "acme/gateway/S-1");
    for document in ["one", "two"] {
        let kept = database.keep_serial(&asking("a"), "S-1", None, document, &event).await.unwrap();
        assert_eq!(kept.as_deref(), Some("one"));
    }
    let events = database.events(i64::MAX, 100).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.event.what == "issue-serial").count(), 1);
    let other = database.keep_serial(&asking("z"), "S-1", Some("one"), "three", &event).await.unwrap();
    assert_eq!(other, None, "of another device");
    let second = database.reserve_serial(&asking("b"), &exactly("S-2")).await.unwrap();
    assert_eq!(serial_of(&second), "S-2");
    let all = database.serials(SerialsWhere::default(), 10).await.unwrap();
    assert_eq!(all.iter().map(|row| row.device.serial.as_str()).collect::<Vec<_>>(), ["S-1", "S-2"]);
    let after: DeviceId = "acme/gateway/S-1".parse().unwrap();
    let rest =
        database.serials(SerialsWhere { after: Some(after), ..SerialsWhere::default() }, 10).await.unwrap();
    assert_eq!(rest, all[1..]);
    assert_eq!(
        database
            .serials(SerialsWhere { model: Some("x".into()), ..SerialsWhere::default() }, 10)
            .await
            .unwrap(),
        []
    );
    let counts = database.serial_counts().await.unwrap();
    assert_eq!(counts.by_key, [("factory".to_owned(), 1)]);
    assert_eq!(counts.by_model, [(("acme".to_owned(), "gateway".to_owned()), 1)], "one is reserved only");
}

async fn another_device_takes_the_place_of_one(store: Store) {
    let database = store.migrated().await;
    let exactly = |serial: &str| Wanted::Exactly(serial.into());
    let event = AuditEvent::new("operator", "reissue-serial", "acme/gateway/S-1");
    let of: DeviceId = "acme/gateway/S-1".parse().unwrap();
    let give_up = async || {
        let change = Change { serial_given_up: Some(of.clone()), ..Change::new(event.clone(), NOW) };
        let generation = database.generation().await.unwrap();
        database.commit(&change, &[], generation).await.unwrap();
    };
    let _ = database.reserve_serial(&asking("a"), &exactly("S-1")).await.unwrap();
    give_up().await;
    let held = database.serial_of_key(&asking("a")).await.unwrap();
    assert!(held.is_some(), "it is not signed yet");
    let _ = database.keep_serial(&asking("a"), "S-1", None, "one", &event).await.unwrap();
    let taken = database.reserve_serial(&asking("b"), &exactly("S-1")).await.unwrap();
    assert_eq!(taken, Reserved::Taken("S-1".into()));
    for _ in 0..2 {
        give_up().await;
        let back = database.reserve_serial(&asking("a"), &exactly("S-1")).await.unwrap();
        assert_eq!(back, Reserved::Taken("S-1".into()), "not to the device that had it");
    }
    let counts = database.serial_counts().await.unwrap();
    assert_eq!(counts.by_model, [], "it is free");
    // Of many that ask for it, one gets it; the others, and the one that had it, do not.
    let mut tasks = Vec::new();
    for device in ["b", "c", "d", "e"] {
        let server = store.another().await;
        tasks.push(tokio::spawn(async move {
            (device, server.reserve_serial(&asking(device), &Wanted::Exactly("S-1".into())).await.unwrap())
        }));
    }
    let mut heirs = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            (device, Reserved::Held(held)) => heirs.push((device, held.document)),
            (_, other) => assert_eq!(other, Reserved::Taken("S-1".into())),
        }
    }
    let [(heir, before)] = &heirs[..] else { panic!("{heirs:?}") };
    assert_eq!(before.as_deref(), Some("one"), "what the next revision follows");
    let kept = database.keep_serial(&asking(heir), "S-1", Some("one"), "two", &event).await.unwrap();
    assert_eq!(kept.as_deref(), Some("two"));
    let late = database.keep_serial(&asking(heir), "S-1", Some("one"), "three", &event).await.unwrap();
    assert_eq!(late.as_deref(), Some("two"), "the first document stays");
    let again = database.reserve_serial(&asking("a"), &exactly("S-1")).await.unwrap();
    assert_eq!(again, Reserved::Taken("S-1".into()));
}

async fn devices_at_once_share_a_list(store: Store) {
    let database = store.migrated().await;
    let serials =
        (0..6).map(|number| ListedSerial { serial: format!("L-{number}"), hardware_id: String::new() });
    let mut list = change("list");
    list.serial_list =
        Some(SerialList { brand: "acme".into(), model: "gateway".into(), serials: serials.collect() });
    let generation = database.generation().await.unwrap();
    database.commit(&list, &[], generation).await.unwrap();
    let mut tasks = Vec::new();
    for device in 0..8 {
        let server = store.another().await;
        tasks.push(tokio::spawn(async move {
            let wanted = Wanted::Listed { proposed: None, hardware: None };
            server.reserve_serial(&asking(&format!("device-{device}")), &wanted).await.unwrap()
        }));
    }
    let (mut given, mut used_up) = (Vec::new(), 0);
    for task in tasks {
        match task.await.unwrap() {
            Reserved::UsedUp => used_up += 1,
            reserved => given.push(serial_of(&reserved).to_owned()),
        }
    }
    given.sort();
    assert_eq!((given, used_up), ((0..6).map(|number| format!("L-{number}")).collect(), 2));
    assert_eq!(database.serial_counts().await.unwrap().free, []);
    // One that was taken from its device goes to the next other one.
    let of: DeviceId = "acme/gateway/L-3".parse().unwrap();
    let all = database.serials(SerialsWhere::default(), 10).await.unwrap();
    let had = all.iter().find(|row| row.device == of).unwrap().device_key.clone();
    let event = AuditEvent::new("operator", "reissue-serial", "acme/gateway/L-3");
    let _ = database.keep_serial(&asking(&had), "L-3", None, "one", &event).await.unwrap();
    let change = Change { serial_given_up: Some(of), ..Change::new(event, NOW) };
    let generation = database.generation().await.unwrap();
    database.commit(&change, &[], generation).await.unwrap();
    assert_eq!(
        database.serial_counts().await.unwrap().free,
        [(("acme".to_owned(), "gateway".to_owned()), 1)]
    );
    let wanted = Wanted::Listed { proposed: None, hardware: None };
    assert_eq!(database.reserve_serial(&asking(&had), &wanted).await.unwrap(), Reserved::UsedUp);
    let next = database.reserve_serial(&asking("another"), &wanted).await.unwrap();
    assert_eq!(serial_of(&next), "L-3");
}
