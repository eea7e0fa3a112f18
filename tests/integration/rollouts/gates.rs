//! What stops a rollout, what brings it to its end, and how it is given up (M18, M20).

use serde_json::json;
use tests::device::Device;
use tests::server::Setup;
use tests::world::{map, stream};

use super::{Clock, Scene, all_come, refreshed, takes};

#[test]
fn failures_stop_it_and_going_on_is_the_operators_word() {
    let folder = tempfile::tempdir().expect("there is room");
    let clock = Clock(&folder.path().join("clock"));
    clock.set(0.0);
    let scene = Scene::new(Setup::default().clock(clock.0));
    let mut fleet: Vec<Device> = (1..=4).map(|number| scene.device(&format!("in-{number}"))).collect();
    let mut outside = scene.device("out-1");
    scene.group("lab", "in-*");
    scene.start(&["group=lab", "100%"], &["--soak", "1h", "--max-failed", "25%", "--max-silent", "25%"]);

    // One in four may fail: the first went back, the second never takes what it is offered.
    clock.set(0.5);
    assert_eq!(takes(&mut fleet[0]), 2);
    clock.set(1.0);
    fleet[0].installed[0].revision = 1;
    assert_eq!(refreshed(&mut fleet[0]), 2, "it is offered again");
    for device in &mut fleet[2..] {
        assert_eq!(takes(device), 2);
    }
    let rollout = scene.until(|rollout| rollout["waves"][0]["failed"] == 1);
    assert_eq!(rollout["state"], "running", "one of four is a quarter: {rollout}");
    for hours in [1.5, 2.0, 2.5] {
        clock.set(hours);
        assert_eq!(refreshed(&mut fleet[1]), 2);
    }
    let rollout = scene.until(|rollout| rollout["state"] == "paused");
    let why = "2 of 4 devices of wave 1 (group=lab) failed: more than 25%";
    assert_eq!(rollout["why"], why, "{rollout}");
    assert_eq!(rollout["stopped-by"], json!(["acme/gateway/in-1", "acme/gateway/in-2"]));
    let audit = scene.store.proxy(&["audit", "--json"]).ok();
    let stop = audit.lines().find(|line| line.contains("rollout-stop")).unwrap_or_else(|| panic!("{audit}"));
    assert!(stop.contains(why) && stop.contains("acme/gateway/in-2") && stop.contains("proxyd"), "{stop}");
    assert_eq!(refreshed(&mut fleet[1]), 1, "nobody new is offered it");
    assert_eq!(refreshed(&mut fleet[2]), 2, "who has it keeps it");
    assert_eq!(refreshed(&mut outside), 1);

    // The operator knows of the two, and it goes on without them.
    let _ = scene.store.proxy(&["rollout", "resume", "spring"]).ok();
    clock.set(3.5);
    all_come(&mut fleet);
    let rollout = scene.until(|rollout| rollout["waves"][1]["opened"].is_string());
    assert_eq!(
        (&rollout["waves"][0]["done"], &rollout["waves"][0]["excused"]),
        (&json!(2), &json!(2)),
        "{rollout}"
    );
    assert_eq!(refreshed(&mut outside), 2);
}

#[test]
fn silence_stops_it() {
    let folder = tempfile::tempdir().expect("there is room");
    let clock = Clock(&folder.path().join("clock"));
    clock.set(0.0);
    let mut scene = Scene::new(Setup::default().clock(clock.0));
    let mut fleet: Vec<Device> = (1..=3).map(|number| scene.device(&format!("in-{number}"))).collect();
    scene.note();
    // They come every two hours, and then once a day later.
    for hours in [2.0, 4.0] {
        clock.set(hours);
        all_come(&mut fleet);
        scene.note();
    }
    let mut absent = scene.device("in-4");
    scene.note();
    clock.set(30.0);
    all_come(&mut fleet);
    scene.note();
    scene.group("lab", "in-*");
    scene.start(&["group=lab", "100%"], &["--soak", "1000h", "--max-silent", "30%"]);
    for device in &mut fleet {
        assert_eq!(takes(device), 2);
    }
    let rollout = scene.until(|rollout| rollout["waves"][0]["done"] == 3);
    assert_eq!(
        (&rollout["state"], &rollout["waves"][0]["absent"]),
        (&json!("running"), &json!(1)),
        "{rollout}"
    );

    // While nobody listens, nobody is silent.
    let stopped = scene.store.kill();
    clock.set(60.0);
    scene.store = stopped.start_as_it_was();
    fleet.iter_mut().chain([&mut absent]).for_each(|device| device.move_to(&scene.store));
    all_come(&mut fleet[..2]);
    assert_eq!(scene.rollout()["waves"][0]["silent"], 0, "{}", scene.rollout());
    // The third does not come back.
    clock.set(95.0);
    all_come(&mut fleet[..2]);
    let rollout = scene.until(|rollout| rollout["state"] == "paused");
    assert_eq!(rollout["why"], "1 of 3 devices of wave 1 (group=lab) fell silent: more than 30%");
    assert_eq!(rollout["stopped-by"], json!(["acme/gateway/in-3"]));
}

#[test]
fn it_goes_to_its_end_by_itself() {
    let folder = tempfile::tempdir().expect("there is room");
    let clock = Clock(&folder.path().join("clock"));
    clock.set(0.0);
    let scene = Scene::new(Setup::default().clock(clock.0));
    let (mut inside, mut outside) = (scene.device("in-1"), scene.device("out-1"));
    let _ = scene.store.proxy(&["device", "tag", "in-1", "lab"]).ok();
    let _ = scene.store.proxy(&["group", "add", "lab", "--tag", "lab", "--apply"]).ok();
    scene.start(&["group=lab", "100%"], &["--soak", "1h"]);
    let refused = scene.store.proxy(&["device", "tag", "in-1", "lab", "--remove"]).refused();
    assert!(refused.contains("rollout spring takes devices by tag lab"), "{refused}");
    assert_eq!(takes(&mut inside), 2);
    let rollout = scene.until(|rollout| rollout["waves"][0]["done"] == 1);
    assert!(rollout["why"].as_str().is_some_and(|why| why.contains("it soaks until")), "{rollout}");
    assert_eq!(refreshed(&mut outside), 1);
    clock.set(2.0);
    let _ = refreshed(&mut inside);
    let _ = scene.until(|rollout| rollout["waves"][1]["opened"].is_string());
    assert_eq!(takes(&mut outside), 2);
    clock.set(4.0);
    let _ = (refreshed(&mut inside), refreshed(&mut outside));
    let _ = scene.until(|rollout| rollout["state"] == "finished");
    let log = scene.store.proxy(&["log", "hello", "--last", "1"]).ok();
    assert!(log.contains("rollout-finish") && log.contains("hello latest/stable all 1 → 2"), "{log}");
    assert_eq!(takes(&mut inside), 2);
    // What devices do later does not change how it went.
    scene.store.push_pair(&scene.hello.revision(3), &["latest/stable"], "AcmeStore");
    assert_eq!([&mut inside, &mut outside].map(takes), [3, 3]);
    scene.note();
    let rollout = scene.rollout();
    assert_eq!([0, 1].map(|wave| rollout["waves"][wave]["done"].clone()), [1, 1], "{rollout}");
}

#[test]
fn what_comes_before_a_rollout_does_not_hold_it_up() {
    let folder = tempfile::tempdir().expect("there is room");
    let clock = Clock(&folder.path().join("clock"));
    clock.set(0.0);
    let scene = Scene::new(Setup::default().clock(clock.0));
    let pin = map(&[("name", "hello"), ("id", &scene.hello.id), ("revision", "1")]);
    let set = scene.brand.validation_set("pins", 1, vec![pin]);
    let _ = scene.store.try_push_assertions(&stream(&[set])).ok();
    let mut fleet = ["plain", "kept", "pinned"].map(|serial| scene.device(serial));
    let cohort = fleet[1].cohort("hello").expect("a cohort");
    fleet[1].installed[0].cohort_key = Some(cohort);
    fleet[2].installed[0].validation_sets = vec![["16", "acme", "pins", "1"].map(str::to_owned)];
    all_come(&mut fleet);
    scene.start(&["100%"], &["--soak", "1h"]);
    let outcomes: Vec<u32> = fleet[..2].iter_mut().map(takes).collect();
    assert_eq!(outcomes, [2, 1]);
    for (serial, told) in [
        ("plain", "from latest/stable it gets revision 2"),
        ("kept", "decided by its cohort"),
        ("pinned", "decided by set acme/pins=1"),
    ] {
        let why = scene.store.proxy(&["rollout", "why", &format!("acme/gateway/{serial}")]).ok();
        assert!(why.contains(told), "{why}");
    }
    let why = || scene.store.proxy(&["rollout", "why", "acme/gateway/plain"]).ok();
    for (done, undone, told) in [
        (
            &["override", "hello", "stable=1"][..],
            &["delete-override", "hello", "stable"][..],
            "An override of latest/stable",
        ),
        (
            &["block-device", "acme/gateway/plain"],
            &["unblock-device", "acme/gateway/plain"],
            "The device is blocked",
        ),
    ] {
        let _ = scene.store.proxy(done).ok();
        assert!(why().contains(told), "{}", why());
        let _ = scene.store.proxy(undone).ok();
        assert!(why().contains("it gets revision 2"), "{}", why());
    }
    let unseen = scene.store.proxy(&["rollout", "why", "acme/gateway/typo"]).ok();
    assert!(unseen.contains("The device was never seen here"), "{unseen}");
    clock.set(2.0);
    all_come(&mut fleet);
    let rollout = scene.until(|rollout| rollout["state"] == "finished");
    assert_eq!(rollout["waves"][0]["devices"], 1, "{rollout}");
}

#[test]
fn it_is_given_up_where_devices_can_follow() {
    let scene = Scene::new(Setup::default());
    let (mut inside, mut outside) = (scene.device("in-1"), scene.device("out-1"));
    scene.group("lab", "in-*");
    scene.start(&["group=lab", "100%"], &[]);
    assert_eq!(takes(&mut inside), 2);
    let other = ["rollout", "plan", "summer", "--snap", "hello", "--revision", "2", "--wave", "100%"];
    let refused = scene.store.proxy(&other).refused();
    assert!(refused.contains("rollout spring of hello is under way"), "{refused}");
    let _ = scene.store.proxy(&["rollout", "back", "spring"]).ok();
    assert_eq!((refreshed(&mut inside), refreshed(&mut outside)), (1, 1));
    for action in ["start", "pause", "resume", "next", "back"] {
        let refused = scene.store.proxy(&["rollout", action, "spring"]).refused();
        assert!(refused.contains("rollout spring is back"), "{refused}");
    }

    // A revision of the next epoch writes what the old one cannot read.
    let later = scene.world.snap("hello").publisher("acme").yaml("epoch: 1*\n");
    scene.store.push_pair(&later.revision(4), &["latest/edge"], "AcmeStore");
    let mut plan = other;
    plan[6] = "4";
    let _ = scene.store.proxy(&plan).ok();
    let _ = scene.store.proxy(&["rollout", "start", "summer"]).ok();
    let refused = scene.store.proxy(&["rollout", "back", "summer"]).refused();
    assert!(
        refused.contains("revision 1 does not read the data that revision 4 of hello writes"),
        "{refused}"
    );
}
