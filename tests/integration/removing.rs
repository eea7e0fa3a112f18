//! Upkeep: releases by hand, closing, removing and pruning; each planned first, and refused while something needs it.

use schema::digest::Sha3_384;
use serde_json::{Value, json};
use tests::bundle::Bundle;
use tests::device::{Device, Snapd, Trouble};
use tests::http::Request;
use tests::server::{Server, Setup};
use tests::world::World;

/// A command whose plan changes nothing, done then.
fn planned_then_done(store: &Server, args: &[&str]) -> Vec<String> {
    let before = store.proxy(&["list-pushed-snaps", "--revisions"]).ok();
    let recorded = store.proxy(&["audit", "--json"]).ok();
    let plan = store.proxy(&[args, &["--json"]].concat()).json();
    assert_eq!(plan["applied"], json!(false), "{args:?}");
    assert_eq!(store.proxy(&["list-pushed-snaps", "--revisions"]).ok(), before, "{args:?}");
    assert_eq!(store.proxy(&["audit", "--json"]).ok(), recorded, "{args:?}: a plan is no event");
    let done = store.proxy(&[args, &["--apply", "--json"]].concat()).json();
    assert_eq!((&done["applied"], &done["steps"]), (&json!(true), &plan["steps"]), "{args:?}");
    let steps = done["steps"].as_array().expect("a list").iter();
    steps.map(|step| step.as_str().expect("a text").to_owned()).collect()
}

fn refused(store: &Server, args: &[&str], complaint: &str) {
    let refused = store.proxy(&[args, &["--apply"]].concat()).refused();
    assert!(refused.contains(complaint), "{args:?}: {refused}");
}

/// The revisions of a snap.
fn held(store: &Server, name: &str) -> Vec<u64> {
    let snaps = store.proxy(&["list-pushed-snaps", "--json"]).json();
    let snap = snaps["snaps"].as_array().expect("a list").iter().find(|snap| snap["name"] == name);
    let revisions = snap.and_then(|snap| snap["revisions"].as_array()).cloned().unwrap_or_default();
    revisions.iter().filter_map(|revision| revision["revision"].as_u64()).collect()
}

#[test]
fn releases_by_hand_and_closed_channels() {
    let world = World::new();
    let store = Setup::default().start();
    store.trust(&world);
    let hello = world.snap("hello");
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    store.push_pair(&hello.revision(2), &["latest/edge"], "ubuntu");
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    let mut got = |channel: &str| device.install("hello", channel).expect("an install").snap.revision;

    let steps = planned_then_done(&store, &["release", "hello", "2", "candidate"]);
    assert_eq!(steps, ["hello latest/candidate all none → 2"]);
    assert_eq!((got("stable"), got("candidate")), (1, 2));
    let steps = planned_then_done(&store, &["close-channel", "hello", "candidate"]);
    let closed =
        ["hello latest/candidate all 2 → none", "hello candidate: stays closed, whatever is imported"];
    assert_eq!(steps, closed);
    assert_eq!((got("candidate"), got("edge")), (1, 2));

    refused(&store, &["release", "hello", "7", "stable"], "revision 7 of hello is not held (held: 1, 2)");
    refused(&store, &["close-channel", "hello", "candidate"], "is not in the imported map");
    let _ = store.proxy(&["override", "hello", "edge=1"]).ok();
    refused(&store, &["close-channel", "hello", "edge"], "proxy delete-override hello edge");
    let warned = store.proxy(&["release", "hello", "1", "edge"]).stderr;
    assert!(warned.contains("An override of hello edge stays above it"), "{warned}");
}

#[test]
fn what_is_needed_stays_and_the_rest_goes() {
    let world = World::new();
    let store = Setup::default().start();
    store.trust(&world);
    let kit = world.snap("kit").component("extra", 9);
    store.push_pair(&kit.revision(1), &["latest/edge"], "ubuntu");
    store.push_pair(&kit.revision(2), &["latest/stable"], "ubuntu");
    refused(
        &store,
        &["remove-snap", "kit", "--revision", "1"],
        "channel latest/edge (all; `proxy close-channel kit latest/edge`)",
    );
    let _ = store.proxy(&["close-channel", "kit", "edge", "--apply"]).ok();
    let _ = store.proxy(&["override", "kit", "beta=1"]).ok();
    refused(
        &store,
        &["remove-snap", "kit", "--revision", "1"],
        "override of latest/beta (all; `proxy delete-override kit latest/beta`)",
    );
    let _ = store.proxy(&["delete-override", "kit", "beta"]).ok();
    refused(&store, &["remove-snap", "kit", "--revision", "5"], "revision 5 of kit is not held");

    // The component goes with the other revision too, and stays.
    let steps = planned_then_done(&store, &["remove-snap", "kit", "--revision", "1"]);
    assert_eq!(steps.len(), 1, "{steps:?}");
    let mut device = Device::anonymous(&store, Snapd::V2_77).trusting(&world);
    let outcome = device.install_for_good("kit", "stable").expect("an install");
    let component = outcome.snap.resources[0].download.clone().expect("a link");
    device.download(&component).expect("the component");

    refused(&store, &["remove-snap", "kit"], "channel latest/stable (all; `proxy close-channel");
    refused(
        &store,
        &["remove-snap", "kit", "--revision", "99"],
        "`proxy list-pushed-snaps --revisions` shows",
    );
    let _ = store.proxy(&["close-channel", "kit", "stable", "--apply"]).ok();
    store.push_store("AcmeStore", "acme", &[&kit]);
    refused(&store, &["remove-snap", "kit"], "store AcmeStore, which grants it");
    let steps = planned_then_done(&store, &["remove-store", "AcmeStore"]);
    assert_eq!(steps.len(), 1, "{steps:?}");
    refused(&store, &["remove-store", "AcmeStore"], "is not known here");
    planned_then_done(&store, &["remove-snap", "kit"]);
    let gone = device.install("kit", "stable").expect_err("nothing to install");
    assert!(matches!(&gone, Trouble::Snap { code, .. } if code == "name-not-found"), "{gone}");

    // The same after a start, and what went may come again.
    let store = store.stop().start();
    assert_eq!(held(&store, "kit"), [0; 0]);
    store.push_pair(&kit.revision(2), &["latest/stable"], "ubuntu");
    device.move_to(&store);
    device.installed.clear();
    device.install_for_good("kit", "stable").expect("an install");
}

#[test]
fn a_file_of_two_snaps_stays_until_both_are_gone() {
    let world = World::new();
    let store = Setup::default().start();
    store.trust(&world);
    let picture = b"\x89PNG picture";
    for name in ["one", "two"] {
        let snap = world.snap(name);
        let revision = snap.revision(1);
        let mut bundle = Bundle::new(&snap, &[(&revision, &["latest/stable"])]);
        bundle.icon = Some(picture.to_vec());
        store.push_bundle(&bundle);
        let _ = store.proxy(&["close-channel", name, "stable", "--apply"]).ok();
    }
    let target = format!("/icons/{}.png", Sha3_384::of(picture).to_hex());
    for (name, left) in [("one", 200), ("two", 404)] {
        planned_then_done(&store, &["remove-snap", name]);
        let _ = store.proxy(&["gc", "--now"]).ok();
        let shown = store.send(&Request::new("GET", &target, store.host()));
        assert_eq!(shown.status, left, "after the removal of {name}: {shown:?}");
    }
}

#[test]
fn a_base_stays_while_a_snap_needs_it() {
    let world = World::new();
    let store = Setup::default().start();
    store.trust(&world);
    store.push_pair(&world.snap("plinth").kind("base").revision(1), &["latest/stable"], "ubuntu");
    store.push_pair(&world.snap("statue").base("plinth").revision(1), &["latest/stable"], "ubuntu");
    for snap in ["plinth", "statue"] {
        let _ = store.proxy(&["close-channel", snap, "stable", "--apply"]).ok();
    }
    refused(
        &store,
        &["remove-snap", "plinth"],
        "needed by snap statue, whose base it is (`proxy remove-snap statue`)",
    );
    planned_then_done(&store, &["remove-snap", "statue"]);
    planned_then_done(&store, &["remove-snap", "plinth"]);
}

#[test]
fn prune_keeps_the_newest_and_what_something_leads_to() {
    let world = World::new();
    let store = Setup::default().start();
    store.trust(&world);
    let hello = world.snap("hello").architectures(&["amd64"]);
    for (revision, channel) in
        [(1, "latest/stable"), (2, "latest/edge"), (3, "latest/edge"), (4, "latest/edge")]
    {
        store.push_pair(&hello.revision(revision), &[channel], "ubuntu");
    }
    store.push_pair(&world.snap("hello").architectures(&["arm64"]).revision(5), &["latest/edge"], "ubuntu");
    let _ = store.proxy(&["override", "hello", "beta=2"]).ok();
    refused(&store, &["prune", "--keep", "0"], "at least one");
    let steps = planned_then_done(&store, &["prune", "--keep", "1"]);
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert_eq!(held(&store, "hello"), [1, 2, 4, 5]);
    let nothing = store.proxy(&["prune", "--keep", "1", "--apply"]).ok();
    assert_eq!(nothing, "There is nothing to do.\n");
}

#[test]
fn keys_and_the_record_of_it_all() {
    let world = World::new();
    let brand = world.brand("acme");
    let store = Setup::default().start();
    store.trust(&world);
    store.push_brand(&brand);
    store.push_store("AcmeStore", "acme", &[]);
    let key = brand.serial_key().public().id().to_owned();
    let model_key = brand.model_key().public().id().to_owned();
    let steps = planned_then_done(&store, &["remove-account-key", &key]);
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(!store.proxy(&["list-account-keys"]).ok().contains(&key));
    refused(&store, &["remove-account-key", &key], "is not held");
    if model_key != key {
        refused(&store, &["remove-account-key", &model_key], "store AcmeStore, whose brand has no other key");
    }
    let root = world.store_key();
    let signer = root.text("public-key-sha3-384").unwrap_or_default().to_owned();
    if store.proxy(&["list-account-keys"]).ok().contains(&signer) {
        refused(&store, &["remove-account-key", &signer], "needed by");
    }

    let log = store.proxy(&["audit", "--since", "1h", "--json"]).ok();
    let events: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("an event on each line")).collect();
    let numbers: Vec<i64> = events.iter().filter_map(|event| event["sequence"].as_i64()).collect();
    assert_eq!(numbers, (1..).take(numbers.len()).collect::<Vec<i64>>(), "newest last");
    let wanted = (&json!("remove-account-key"), &json!(key), &json!("done"));
    let done = |event: &&Value| (&event["what"], &event["subject"], &event["outcome"]) == wanted;
    let last: &Value = events.iter().rfind(done).expect("an event");
    assert!(last["who"].as_str().is_some_and(|who| who.starts_with("uid ")), "{last}");
    let table = store.proxy(&["audit"]).ok();
    let done = |line: &str| line.contains("remove-account-key") && line.ends_with("done");
    assert!(table.lines().any(done), "{table}");
    let refused = |event: &&Value| event["what"] == *wanted.0 && event["outcome"] == json!("refused");
    assert_eq!(events.iter().find(refused).expect("an event")["subject"], json!(key));
}
