//! What is decided about many devices: the same wherever the database is read, and quickly.

use std::hint::black_box;
use std::time::Instant;

use schema::api::device::Installed;
use schema::digest::Sha3_384;
use schema::rollout::GroupRules;
use schema::store::DeviceId;

use super::devices::{NEW, OLD};
use super::{NAME, compile, record, size, with};
use crate::catalog::{Ask, Catalog, Scope, Target, unheard};
use crate::imports::tests::world::{JQ, World, bundle, context};
use crate::imports::{SnapOptions, plan_snaps};
use crate::storage::Database;
use crate::storage::contract::fixture::Store;
use crate::storage::records::{Origin, ReleaseRecord};
use crate::storage::rollouts::{RolloutRecord, group_fact};

/// How many devices an ordinary run asks about.
const ORDINARY: u64 = 4000;

fn devices() -> Vec<DeviceId> {
    let count = size("AIRLOCK_FLEET_DEVICES", ORDINARY);
    (0..count).map(|number| format!("acme/gateway/SN-{number}").parse().expect("a device")).collect()
}

fn rollout() -> RolloutRecord {
    with(record(JQ, NEW as u32, &["group=lab", "10%", "100%"]), |course| course.opened = vec![0, 0])
}

fn installed() -> [Installed<'static>; 1] {
    [Installed {
        snap_id: JQ.into(),
        instance_key: JQ.into(),
        revision: OLD,
        tracking_channel: "latest/stable".into(),
        epoch: None,
        cohort_key: None,
        held: None,
        validation_sets: Vec::new(),
    }]
}

/// Which of the devices are offered the new revision: how many, and the digest of all answers.
fn decided(catalog: &Catalog, devices: &[DeviceId]) -> (usize, Sha3_384) {
    let (view, installed) = (catalog.view(Scope::anonymous()), installed());
    let answer = |device: &DeviceId| {
        let target = Target {
            device: Some(device),
            architecture: Some("amd64"),
            installed: &installed,
            ..Target::anyone(0)
        };
        let ask = Ask { snap_id: Some(JQ), own: Some(&installed[0]), ..Ask::default() };
        view.resolve(&target, &ask, &mut unheard).expect("an offer").revision.number
    };
    let answers: Vec<u8> =
        devices.iter().map(|device| u8::try_from(answer(device)).expect("small")).collect();
    let new = answers.iter().filter(|answer| i64::from(**answer) == NEW).count();
    (new, Sha3_384::of_parts([&answers[..]]))
}

/// A database with the snap and its release.
async fn filled() -> Store {
    let store = Store::sqlite().await;
    let bundle = bundle(&[1, 2, 5]);
    let (mut change, _) =
        plan_snaps(&World::new(), &bundle, &SnapOptions::default(), &context()).expect("accepted");
    change.releases = vec![ReleaseRecord {
        snap_id: JQ.parse().expect("an id"),
        channel: "stable".parse().expect("a channel"),
        architecture: "amd64".parse().expect("an architecture"),
        revision: OLD as u32,
        released_at: "2026-08-01T00:00:00Z".into(),
        origin: Origin::Imported,
    }];
    store.migrated().await.commit(&change, &[], 0).await.expect("committed");
    store
}

async fn read(database: &Database) -> Catalog {
    compile(&database.load().await.expect("a snapshot"))
}

#[tokio::test]
async fn every_server_decides_the_same_before_and_after_a_restart_and_a_restore() {
    let (devices, store) = (devices(), filled().await);
    let (postgres, restored) = (Store::postgres().await, Store::sqlite().await);
    let started = read(&store.database).await;
    assert_eq!(decided(&started, &devices).0, 0, "nothing before it starts");

    let mut change =
        crate::storage::records::Change::new(crate::storage::contract::fixture::event("rollout-start"), 1);
    let lab = GroupRules { serial: Some("SN-?7".into()), ..GroupRules::default() };
    change.meta = vec![rollout().fact(NAME), group_fact("lab", Some(&lab))];
    store.database.commit(&change, &[], 1).await.expect("committed");
    // The server that ran meanwhile follows; others read everything.
    let increment = store.database.load_since(started.position).await.expect("read").expect("known");
    let followed = started.advance(increment).expect("a catalog").expect("no anchor changed");
    let expected = decided(&followed, &devices);
    let share = expected.0 as f64 / devices.len() as f64;
    assert!((0.08..0.12).contains(&share), "{share}");

    store.database.copy_to(&postgres.database, 2).await.expect("copied");
    store.database.copy_to(&restored.database, 2).await.expect("copied");
    // One process opens an embedded database.
    let Store { database, settings, _folder: folder } = store;
    drop(database);
    let reopened = Database::open(&settings).await.expect("opened");
    for (place, database) in [
        ("after a restart", &reopened),
        ("with PostgreSQL", &postgres.database),
        ("at a second server", &postgres.another().await),
        ("after a restore", &restored.database),
    ] {
        assert_eq!(decided(&read(database).await, &devices), expected, "{place}");
    }
    drop(folder);
    println!(
        "{} devices, {} of them in open waves: the same answers after a restart, with PostgreSQL, at a second server and after a \
         restore; their digest is {}",
        devices.len(),
        expected.0,
        &expected.1.to_hex()[..16],
    );
}

#[test]
fn a_decision_costs_little() {
    let devices = devices();
    let base = super::snapshot(&[("amd64", OLD as u32)]);
    let mut rolling = base.clone();
    let lab = GroupRules { serial: Some("XX-*".into()), ..GroupRules::default() };
    rolling.meta.extend([rollout().fact(NAME), group_fact("lab", Some(&lab))]);
    let catalogs = [compile(&base), compile(&rolling)];
    // The fastest of some rounds: what else this computer does is not counted.
    let nanos = catalogs.map(|catalog| {
        let rounds = (0..7).map(|_| {
            let begun = Instant::now();
            black_box(decided(&catalog, &devices));
            begun.elapsed().as_nanos() as f64 / devices.len() as f64
        });
        rounds.fold(f64::MAX, f64::min)
    });
    let more = nanos[1] - nanos[0];
    println!("a decision takes {:.0} ns, and {more:.0} ns more with a rollout of three waves", nanos[0]);
    // Optimised, `tests/fleet/run` shows less than 2 µs.
    assert!(more < 100_000.0, "{more} ns");
}
