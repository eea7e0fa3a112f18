//! A cohort keeps what the channels of a snap held when its key was made (hazard M11).

use std::fs;

use tests::device::{Action, Device, Installed, Snapd, Wanted};
use tests::server::Setup;
use tests::world::World;

/// What a device of the cohort `key` is given from a channel.
fn given(device: &mut Device, channel: &str, key: Option<&str>) -> u32 {
    let wanted = Wanted { cohort_key: key.map(str::to_owned), ..Wanted::channel(channel) };
    let outcome = device.act_on_one(Action::Install("hello".to_owned(), wanted));
    outcome.expect("a revision").snap.revision
}

#[test]
fn a_cohort_keeps_its_channel_map_while_the_channels_move() {
    let (world, store) = (World::new(), Setup::default().start());
    store.trust(&world);
    let hello = world.snap("hello");
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    store.push_pair(&world.snap("other").revision(9), &["latest/stable"], "ubuntu");
    let mut device = Device::anonymous(&store, Snapd::V2_77).trusting(&world);
    let key = device.cohort("hello").expect("a key");
    let others = device.cohort("other").expect("a key");
    for revision in [2, 3] {
        store.push_pair(&hello.revision(revision), &["latest/stable"], "ubuntu");
    }

    assert_eq!(given(&mut device, "stable", None), 3);
    assert_eq!(given(&mut device, "stable", Some(&key)), 1);
    // No other risk was open then, so all of them ended there.
    assert_eq!(given(&mut device, "edge", Some(&key)), 1);
    // A key of another snap, an altered one and one of another store mean nothing.
    let altered = format!("{}{}", if key.starts_with('A') { 'B' } else { 'A' }, &key[1..]);
    for foreign in [&others, &altered, "MSBmTG93bWV0ZXI", ""] {
        assert_eq!(given(&mut device, "stable", Some(foreign)), 3, "{foreign}");
    }

    // Installed in the cohort: the timer's refresh leaves the device where it is, until it leaves the cohort.
    device.installed = vec![Installed::new("hello", &hello.id, 1, "latest/stable")];
    device.installed[0].cohort_key = Some(key.clone());
    assert_eq!(device.refresh_all().expect("an answer").len(), 0);
    device.installed[0].cohort_key = None;
    assert_eq!(device.refresh_all().expect("an answer")[0].snap.revision, 3);
    let store = store.stop().start();
    let mut device = Device::anonymous(&store, Snapd::V2_77).trusting(&world);
    assert_eq!(given(&mut device, "stable", Some(&key)), 1, "after a restart");

    // The operator's word for a channel is for everybody in it.
    let _ = store.proxy(&["override", "hello", "stable=2"]).ok();
    assert_eq!(given(&mut device, "stable", Some(&key)), 2);
    let later = device.cohort("hello").expect("a key");
    let _ = store.proxy(&["delete-override", "hello", "stable"]).ok();
    assert_eq!(given(&mut device, "stable", Some(&key)), 1);
    assert_eq!(given(&mut device, "stable", Some(&later)), 2, "what the override said is kept");

    // What is not held any more cannot be kept.
    let _ = store.proxy(&["remove-snap", "hello", "--revision", "1", "--apply"]).ok();
    assert_eq!(given(&mut device, "stable", Some(&key)), 3);
}

#[test]
fn what_a_cohort_keeps_is_frozen_anew_each_90_days() {
    let folder = tempfile::tempdir().expect("there is room");
    let clock = folder.path().join("clock");
    let days = |days: f64| fs::write(&clock, format!("{}", (days * 86_400.0) as i64)).expect("a file");
    days(0.0);
    let (world, store) = (World::new(), Setup::default().clock(&clock).start());
    store.trust(&world);
    let (brand, hello) = (world.brand("acme"), world.snap("hello").publisher("acme"));
    store.push_brand(&brand);
    store.push_pair(&hello.revision(1), &["latest/stable"], "AcmeStore");
    store.push_store("AcmeStore", "acme", &[&hello]);
    let identity = brand.device(&brand.model_in("gateway", "AcmeStore"), "SN-1");
    let mut device = Device::new(&store, Snapd::V2_77, &identity).trusting(&world);
    let key = device.cohort("hello").expect("a key");
    days(30.0);
    store.push_pair(&hello.revision(2), &["latest/stable"], "AcmeStore");
    days(89.9);
    assert_eq!(given(&mut device, "stable", Some(&key)), 1);
    // From here on it keeps what the channels held when the 90 days were over.
    days(91.0);
    store.push_pair(&hello.revision(3), &["latest/stable"], "AcmeStore");
    days(95.0);
    device.installed = vec![Installed::new("hello", &hello.id, 1, "latest/stable")];
    device.installed[0].cohort_key = Some(key.clone());
    assert_eq!(given(&mut device, "stable", Some(&key)), 2);
    assert_eq!(given(&mut device, "stable", None), 3);
    assert_eq!(device.refresh_all().expect("an answer")[0].snap.revision, 2);
    let explained = store.proxy(&["explain", "acme/gateway/SN-1", "hello", "--json"]).json();
    assert_eq!(
        (&explained["gets"]["revision"], &explained["gets"]["layer"]),
        (&2.into(), &"cohort".into()),
        "{explained}"
    );

    // The same after a restart, and another map 90 days later.
    let store = store.stop().start_as_it_was();
    device.move_to(&store);
    assert_eq!(given(&mut device, "stable", Some(&key)), 2);
    days(180.5);
    store.push_pair(&hello.revision(4), &["latest/stable"], "AcmeStore");
    assert_eq!(given(&mut device, "stable", Some(&key)), 3);
}
