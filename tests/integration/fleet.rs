//! The fleet view: what the operator sees of devices, and their failed requests.

use serde_json::{Value, json};
use tests::device::{Action, Device, Installed, Snapd, Trouble, Wanted};
use tests::server::{Server, Setup};
use tests::world::World;

/// The serials of the devices that a question picks.
fn picked(store: &Server, question: &[&str]) -> Vec<String> {
    let listed = store.proxy(&[&["list-devices", "--json"], question].concat()).json();
    let serial = |device: &Value| device["serial"].as_str().expect("a serial").to_owned();
    listed["devices"].as_array().expect("a list").iter().map(serial).collect()
}

#[test]
fn devices_are_listed_shown_and_picked() {
    let world = World::new();
    let brand = world.brand("acme");
    let (gateway, panel) = (brand.model_in("gateway", "AcmeStore"), brand.model("panel"));
    let hello = world.snap("hello").publisher("acme");
    let store = Setup::default().start();
    store.trust(&world);
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    store.push_pair(&world.snap("other").revision(1), &["latest/stable"], "ubuntu");
    store.push_store("AcmeStore", "acme", &[&hello]);
    store.push_brand(&brand);

    let mut first = Device::new(&store, Snapd::V2_77, &brand.device(&gateway, "SN-1")).trusting(&world);
    first.install_for_good("hello", "stable").expect("an install");
    first.refresh_all().expect("a refresh that tells what is installed");
    store.push_pair(&hello.revision(2), &["latest/stable"], "ubuntu");
    let mut second = Device::new(&store, Snapd::V2_57, &brand.device(&panel, "SN-2")).trusting(&world);
    second.install_for_good("hello", "stable").expect("an install");
    second.refresh_all().expect("a refresh that tells what is installed");
    let mut third = Device::new(&store, Snapd::V2_57, &brand.device(&panel, "SN-3")).trusting(&world);
    third.install_for_good("other", "stable").expect("an install");
    third.refresh_all().expect("a refresh that tells what is installed");

    let listed = store.proxy(&["list-devices"]).ok();
    let row: Vec<&str> = listed.lines().nth(1).expect("a first device").split_whitespace().collect();
    assert_eq!(
        (row[0], row[1], row[3]),
        ("acme/gateway/SN-1", "AcmeStore", "snapd/2.77+g75.bee548f"),
        "{listed}"
    );
    let shown = store.proxy(&["show-device", "acme/gateway/SN-1"]).ok();
    for line in ["Device: acme/gateway/SN-1", "Store: AcmeStore", "State: served", "Address: 127.0.0.1"] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
    }
    let runs =
        |shown: &str| shown.lines().find(|line| line.starts_with("  hello")).unwrap_or_default().to_owned();
    assert_eq!(runs(&shown).split_whitespace().collect::<Vec<_>>(), ["hello", "1", "stable"], "{shown}");

    assert_eq!(picked(&store, &[]), ["SN-1", "SN-2", "SN-3"]);
    assert_eq!(picked(&store, &["--model", "panel"]), ["SN-2", "SN-3"]);
    assert_eq!(picked(&store, &["--brand", "other"]), [""; 0]);
    assert_eq!(picked(&store, &["--store", "AcmeStore"]), ["SN-1"]);
    assert_eq!(picked(&store, &["--store", "ubuntu", "--missing", "hello"]), ["SN-3"]);
    assert_eq!(picked(&store, &["--below", "hello=2"]), ["SN-1"]);
    assert_eq!(picked(&store, &["--below", "hello=3"]), ["SN-1", "SN-2"]);
    assert_eq!(picked(&store, &["--stale", "1d"]), [""; 0]);

    store.block(&brand.device(&panel, "SN-3"));
    let shown = store.proxy(&["show-device", "acme/panel/SN-3", "--json"]).json();
    assert_eq!(shown["blocked"], json!(true));
    let refused = store.proxy(&["list-devices", "--missing", "never-was"]).refused();
    assert!(refused.contains("there is no snap never-was"), "{refused}");
    let refused = store.proxy(&["list-devices", "--below", "hello"]).refused();
    assert!(refused.contains("SNAP=REVISION"), "{refused}");
    let refused = store.proxy(&["show-device", "acme/panel/SN-9"]).refused();
    assert!(refused.contains("was not seen"), "{refused}");

    // What is known of devices outlives the server.
    let store = store.stop().start();
    assert_eq!(picked(&store, &["--below", "hello=2"]), ["SN-1"]);
}

#[test]
fn a_device_is_seen_with_its_first_session() {
    let world = World::new();
    let brand = world.brand("acme");
    let store = Setup::default().start();
    store.trust(&world);
    store.push_pair(&world.snap("hello").revision(1), &["latest/stable"], "ubuntu");
    store.push_store("AcmeStore", "acme", &[]);
    store.push_brand(&brand);
    let mut device = Device::new(&store, Snapd::V2_57, &brand.device(&brand.model("panel"), "SN-1"));
    device.ensure_session().expect("a session");
    assert_eq!(picked(&store, &[]), ["SN-1"]);
    let shown = || store.proxy(&["show-device", "acme/panel/SN-1"]).ok();
    for line in ["Address: 127.0.0.1", "Client: snapd/2.57"] {
        assert!(shown().contains(line), "{line} in {}", shown());
    }
    // What a refresh told outlives the next session.
    device.install_for_good("hello", "stable").expect("an install");
    device.refresh_all().expect("a refresh that tells what is installed");
    device.renew().expect("a session");
    for line in ["Architecture: amd64", "  hello "] {
        assert!(shown().contains(line), "{line} in {}", shown());
    }
    let _ = store.proxy(&["block-device", "acme/panel/SN-1"]).ok();
}

#[test]
fn a_device_is_of_the_store_that_its_model_names_imported_or_not() {
    let world = World::new();
    let (acme, rig) = (world.brand("acme"), world.brand("rig"));
    let store = Setup::default().start();
    store.trust(&world);
    store.push_store("AcmeStore", "acme", &[]);
    store.push_brand(&acme);
    for (brand, name) in [(&rig, "RigStore"), (&rig, "AcmeStore"), (&acme, "AcmeLab"), (&acme, "ubuntu")] {
        let identity = brand.device(&brand.model_in("box", name), &format!("SN-{name}"));
        Device::new(&store, Snapd::V2_57, &identity).ensure_session().expect("a session");
    }
    assert_eq!(picked(&store, &["--store", "RigStore"]), ["SN-RigStore"]);
    assert_eq!(picked(&store, &["--store", "ubuntu"]), ["SN-ubuntu"]);
    let group = store.proxy(&["group", "add", "rigs", "--store", "RigStore"]).ok();
    assert!(group.contains("rig/box/SN-RigStore"), "{group}");
    let listed = store.proxy(&["list-devices"]).ok();
    let row = |line: &&str| line.starts_with("rig/box/SN-RigStore ") && line.contains("  RigStore ");
    assert!(listed.lines().any(|line| row(&line)), "{listed}");

    // A store of another brand has the name, but is not the one.
    let warned = || {
        let status = store.proxy(&["status", "--json"]).json();
        let warnings = status["warnings"].as_array().expect("a list").iter();
        let named = warnings.filter(|warning| warning.to_string().contains("was not imported"));
        named.map(ToString::to_string).collect::<Vec<_>>()
    };
    for (name, brand) in [("RigStore", "rig"), ("AcmeStore", "rig"), ("AcmeLab", "acme")] {
        let store = format!("store {name} of brand {brand} was not imported");
        assert!(warned().iter().any(|warning| warning.contains(&store)), "{store}: {:?}", warned());
    }
    assert_eq!(warned().len(), 3, "{:?}", warned());
    let explained = store.proxy(&["explain", "rig/box/SN-RigStore", "hello"]).stdout;
    assert!(explained.contains("nor of its store RigStore"), "{explained}");
    store.push_store("AcmeLab", "acme", &[]);
    assert_eq!(warned().len(), 2, "{:?}", warned());
}

#[test]
fn what_devices_miss_is_what_to_carry_in_next() {
    let world = World::new();
    let brand = world.brand("acme");
    let model = brand.model("panel");
    let store = Setup::default().start();
    store.trust(&world);
    store.push_pair(&world.snap("held").revision(1), &["2/stable"], "ubuntu");
    store.push_store("AcmeStore", "acme", &[]);
    store.push_brand(&brand);

    for serial in ["SN-1", "SN-2"] {
        let mut device = Device::new(&store, Snapd::V2_77, &brand.device(&model, serial));
        for _ in 0..2 {
            let missed = device.install("never-was", "edge").expect_err("nothing to install");
            assert!(matches!(missed, Trouble::Snap { .. }), "{missed}");
        }
    }
    let mut device = Device::new(&store, Snapd::V2_57, &brand.device(&model, "SN-2"));
    device.install("held", "3/stable").expect_err("no such track");
    // It is unknown whose request this is.
    let _ = Device::anonymous(&store, Snapd::V2_77).install("unknown-wish", "stable");

    let misses = store.proxy(&["list-misses", "--json"]).json();
    let short: Vec<Value> = misses["misses"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|miss| json!([miss["name"], miss["wanted"], miss["code"], miss["devices"], miss["held"]]))
        .collect();
    let expected = [
        json!(["never-was", "edge", "name-not-found", 2, false]),
        json!(["held", "3/stable", "revision-not-found", 1, true]),
    ];
    assert_eq!(short, expected);
    assert_eq!(misses["misses"][0]["models"], json!(["acme/panel"]));
    let listed = store.proxy(&["list-misses"]).ok();
    assert!(listed.lines().nth(1).is_some_and(|line| line.starts_with("never-was")), "{listed}");
    let shown = store.proxy(&["show-device", "acme/panel/SN-2"]).ok();
    assert!(shown.contains("Asked for and not given:") && shown.contains("revision-not-found"), "{shown}");
}

#[test]
fn a_snap_that_is_asked_for_by_its_id_is_told_by_its_name() {
    let world = World::new();
    let brand = world.brand("acme");
    let granted = world.snap("granted").publisher("acme");
    let store = Setup::default().start();
    store.trust(&world);
    store.push_store("AcmeStore", "acme", &[&granted]);
    store.push_brand(&brand);
    let unknown = world.snap("unknown").id;
    let model = brand.model_in("gateway", "AcmeStore");
    let mut device = Device::new(&store, Snapd::V2_57, &brand.device(&model, "SN-1"));
    device.install("granted", "latest/stable").expect_err("it is not pushed");
    for id in [&granted.id, &unknown] {
        device.installed = vec![Installed::new("x", id, 1, "latest/stable")];
        let _ =
            device.act_on_one(Action::Refresh(id.clone(), Wanted::default())).expect_err("it is not pushed");
    }
    let wanted = json!([["granted", granted.id], [unknown, unknown]]);
    let named = |told: &Value| {
        let misses = told["misses"].as_array().expect("a list").iter();
        let mut named: Vec<Value> = misses.map(|miss| json!([miss["name"], miss["snap-id"]])).collect();
        named.sort_by_key(|one| one != &wanted[0]);
        json!(named)
    };
    let listed = store.proxy(&["list-misses", "--json"]).json();
    assert_eq!(named(&listed), wanted, "{listed}");
    assert!(listed["misses"].as_array().expect("a list").iter().all(|miss| miss["devices"] == 1), "{listed}");
    let shown = store.proxy(&["show-device", "acme/gateway/SN-1", "--json"]).json();
    assert_eq!(named(&shown), wanted, "{shown}");
    for asked in ["granted", &granted.id] {
        let explained = store.proxy(&["explain", "acme/gateway/SN-1", asked]).stdout;
        for line in ["No snap granted was pushed", "Last failed request: granted from"] {
            assert!(explained.contains(line), "{asked}: {line} in {explained}");
        }
    }
}

#[test]
fn misses_close_themselves_and_can_be_cleared() {
    let world = World::new();
    let brand = world.brand("acme");
    let model = brand.model("panel");
    let store = Setup::default().start();
    store.trust(&world);
    store.push_store("AcmeStore", "acme", &[]);
    store.push_brand(&brand);
    let mut device = Device::new(&store, Snapd::V2_77, &brand.device(&model, "SN-1"));
    device.install("later", "stable").expect_err("not there yet");
    device.install("later", "edge").expect_err("not there yet");
    device.install("never-was", "stable").expect_err("not there yet");

    let listed = |args: &[&str]| -> Vec<Value> {
        let misses = store.proxy(&[&["list-misses", "--json"], args].concat()).json();
        let misses = misses["misses"].as_array().expect("a list");
        let mut short: Vec<Value> =
            misses.iter().map(|miss| json!([miss["name"], miss["wanted"], miss["answered-by"]])).collect();
        short.sort_by_key(ToString::to_string);
        short
    };
    let still = [
        json!(["later", "edge", null]),
        json!(["later", "stable", null]),
        json!(["never-was", "stable", null]),
    ];
    assert_eq!(listed(&[]), still);
    // Each is closed by what answers it, and by nothing else.
    store.push_pair(&world.snap("later").revision(1), &["latest/edge"], "ubuntu");
    assert_eq!(listed(&[]), still[1..]);
    let by = json!(["later", "edge", "revision 1 from latest/edge"]);
    assert!(listed(&["--all"]).contains(&by), "{:?}", listed(&["--all"]));
    store.push_pair(&world.snap("later").revision(2), &["latest/stable"], "ubuntu");
    assert_eq!(listed(&[]), still[2..]);
    // What the device would not get any more is open again.
    let _ = store.proxy(&["close-channel", "later", "latest/stable", "--apply"]).ok();
    assert_eq!(listed(&[]), still[1..]);

    let cleared = |args: &[&str]| store.proxy(&[&["list-misses", "--clear", "--json"], args].concat()).json();
    assert_eq!(cleared(&["--older-than", "1h"])["cleared"], json!(0));
    assert_eq!(listed(&["--all"]).len(), 3);
    assert_eq!(cleared(&[])["cleared"], json!(3));
    assert_eq!(listed(&["--all"]), [] as [Value; 0]);
    let log = store.proxy(&["audit"]).ok();
    assert_eq!(log.matches("clear-misses").count(), 2, "{log}");
    // It is listed again once a device asks again.
    device.install("never-was", "stable").expect_err("not there");
    assert_eq!(listed(&[]), [json!(["never-was", "stable", null])]);
}

#[test]
fn a_fleet_of_a_thousand_is_seen_whole() {
    const THREADS: usize = 4;
    const EACH: usize = 250;
    let world = World::new();
    let brand = world.brand("acme");
    let model = brand.model_in("gateway", "AcmeStore");
    let hello = world.snap("hello").publisher("acme");
    let store = Setup::default().start();
    store.trust(&world);
    for number in [1, 2] {
        store.push_pair(&hello.revision(number), &["latest/stable"], "AcmeStore");
    }
    store.push_store("AcmeStore", "acme", &[&hello]);
    store.push_brand(&brand);
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, brand, model, hello, world) = (&store, &brand, &model, &hello, &world);
            scope.spawn(move || {
                for number in thread * EACH..(thread + 1) * EACH {
                    let identity = brand.device(model, &format!("SN-{number:04}"));
                    let mut device = Device::new(store, Snapd::V2_77, &identity).trusting(world);
                    // Every second one runs the older revision, and every tenth wants what nobody carried in.
                    let revision = if number % 2 == 0 { 1 } else { 2 };
                    device.installed.push(Installed::new("hello", &hello.id, revision, "latest/stable"));
                    device.act(&[Action::Refresh(hello.id.clone(), Wanted::default())]).expect("an answer");
                    if number % 10 == 0 {
                        device.install("never-was", "stable").expect_err("nothing to install");
                    }
                }
            });
        }
    });
    let spoke = begun.elapsed();
    let begun = std::time::Instant::now();
    let listed = picked(&store, &[]);
    println!("1,000 devices logged in and refreshed in {spoke:.1?}; listed in {:.1?}", begun.elapsed());
    assert_eq!(listed.len(), THREADS * EACH);
    assert!(listed.is_sorted(), "in the order of their names");
    let behind = picked(&store, &["--below", "hello=2"]);
    assert_eq!(behind.len(), THREADS * EACH / 2);
    assert!(behind.iter().all(|serial| serial.ends_with(['0', '2', '4', '6', '8'])), "{behind:?}");
    assert_eq!(picked(&store, &["--missing", "hello"]), [""; 0]);
    let misses = store.proxy(&["list-misses", "--json"]).json();
    assert_eq!(
        (&misses["misses"][0]["name"], &misses["misses"][0]["devices"]),
        (&json!("never-was"), &json!(THREADS * EACH / 10))
    );
    for line in store.proxy(&["list-devices", "--below", "hello=2"]).ok().lines().take(4) {
        println!("{line}");
    }
    print!("{}", store.proxy(&["list-misses"]).ok());
    print!("{}", store.proxy(&["show-device", "acme/gateway/SN-0420"]).ok());
}
