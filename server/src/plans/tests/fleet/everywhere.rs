//! What is decided about many devices: the same wherever the database is read, and quickly.

use std::hint::black_box;
use std::slice::from_ref;

use rustix::time::{ClockId, clock_gettime};
use schema::api::device::Installed;
use schema::assertion::{AssertionType, Builder, HeaderValue};
use schema::digest::Sha3_384;
use schema::rollout::{GroupRules, Windows};
use schema::store::DeviceId;

use super::devices::{NEW, OLD};
use super::{NAME, compile, record, size, with};
use crate::catalog::{Ask, Catalog, Layer, Scope, Target, unheard};
use crate::fleet::progress::tests::course;
use crate::imports::tests::world::{JQ, STORE_KEY, World, bundle, context};
use crate::imports::{SnapOptions, plan_snaps};
use crate::storage::Database;
use crate::storage::contract::fixture::Store;
use crate::storage::records::{AssertionRecord, Origin, ReleaseRecord, Snapshot};
use crate::storage::rollouts::{RolloutRecord, group_fact};
use crate::storage::trains::{Departure, TrainRecord};

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
        ignore_validation: false,
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

/// A catalog with so many rollouts more, of other snaps.
fn beside(base: &Snapshot, rollouts: usize) -> Catalog {
    let mut snapshot = base.clone();
    snapshot.meta.extend((0..rollouts).map(|number| {
        let other = record(&format!("snap{number:028}"), 2, &["10%", "100%"]);
        other.fact(&format!("other-{number}"))
    }));
    compile(&snapshot)
}

/// A validation set that names the new revision, on its way in two waves.
fn with_train(mut base: Snapshot) -> Snapshot {
    let names = [("name", "jq"), ("id", JQ), ("presence", "required"), ("revision", "5")];
    let names = names.map(|(name, value)| (name.to_owned(), HeaderValue::from(value)));
    let set = Builder::new(AssertionType::ValidationSet)
        .header("authority-id", "vector-authority")
        .header("series", "16")
        .header("account-id", "vector-authority")
        .header("name", "line7")
        .header("sequence", "2")
        .header("snaps", HeaderValue::List(vec![HeaderValue::Map(names.into())]))
        .header("timestamp", "2026-01-01T00:00:00Z")
        .sign(&STORE_KEY);
    base.assertions.push(AssertionRecord(set.bytes().into()));
    let departed = Departure { sequence: 2, rules: vec![None, None], course: course(&["10%", "100%"]) };
    let record = TrainRecord { arrived: 1, departed: Some(departed), ..TrainRecord::default() };
    base.meta.extend([record.fact("vector-authority/line7")]);
    base
}

/// What a refresh asks about each device and its snap: the revision, and what is to be noted. Answers how much is noted.
fn asked(catalog: &Catalog, devices: &[DeviceId]) -> usize {
    let (view, installed) = (catalog.view(Scope::anonymous()), installed());
    let notes = devices.iter().map(|device| {
        let target = Target {
            device: Some(device),
            architecture: Some("amd64"),
            installed: &installed,
            ..Target::anyone(0)
        };
        let ask = Ask { snap_id: Some(JQ), own: Some(&installed[0]), ..Ask::default() };
        let offer = view.resolve(&target, &ask, &mut unheard).expect("an offer");
        let lifted = offer.layer == Layer::Rollout;
        view.contacts(&target, if lifted { from_ref(&offer.snap.id) } else { &[] }).len()
    });
    notes.sum()
}

/// The processor time of this thread: while it waits for its turn, nothing is counted.
fn processor_nanos() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// The middle of these figures, and how far the quartiles are apart, in percent of it.
fn middle(mut figures: Vec<f64>) -> (f64, f64) {
    figures.sort_by(f64::total_cmp);
    let at = |part: usize| figures[(figures.len() - 1) * part / 4];
    (at(2), (at(3) - at(1)) / at(2) * 100.0)
}

#[test]
fn a_decision_costs_little() {
    let devices = devices();
    let base = super::snapshot(&[("amd64", OLD as u32)]);
    let with = |rollout: RolloutRecord, serial: &str| {
        let group = GroupRules { serial: Some(serial.into()), ..GroupRules::default() };
        let mut snapshot = base.clone();
        snapshot.meta.extend([rollout.fact(NAME), group_fact("lab", Some(&group))]);
        snapshot
    };
    let in_windows = || {
        let nights =
            ["mon-fri 22:00-04:00", "sat 00:00-24:00"].map(|window| window.parse().expect("a window"));
        let mut record = rollout();
        record.course.windows = Some(Windows::new("Europe/Vienna", nights.into()).expect("a zone"));
        record
    };
    let all = with_train(with(in_windows(), "SN-*1"));
    let cases = [
        ("no rollout", compile(&base), 0),
        ("a rollout to a group and shares", compile(&with(rollout(), "XX-*")), 1),
        ("a group of each tenth device, and windows", compile(&with(in_windows(), "SN-*1")), 1),
        ("the same, and a train on its way", compile(&all), 1),
        ("the same, beside 100 rollouts", beside(&all, 100), 1),
    ];
    let rounds = if cfg!(debug_assertions) { 5 } else { 31 };
    let mut nanos = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        // Turn by turn, so that what else this computer does falls on all.
        for (at, (what, catalog, notes)) in cases.iter().enumerate() {
            let begun = processor_nanos();
            let noted = black_box(asked(catalog, &devices));
            nanos[at].push((processor_nanos() - begun) / devices.len() as f64);
            assert_eq!(noted > 0, *notes > 0, "{what}");
        }
    }
    let (alone, spread) = middle(nanos[0].clone());
    println!(
        "{} devices, {rounds} rounds; with {}: {alone:.0} ns, spread {spread:.0} %",
        devices.len(),
        cases[0].0
    );
    for ((what, ..), figures) in cases.iter().zip(&nanos).skip(1) {
        let more = figures.iter().zip(&nanos[0]).map(|(with, without)| with - without).collect();
        let (more, spread) = middle(more);
        println!("{what}: {more:.0} ns more, spread {spread:.0} %");
        let most = if cfg!(debug_assertions) { 100_000.0 } else { 2000.0 };
        assert!(more <= most, "{what}: {more} ns");
    }
}
