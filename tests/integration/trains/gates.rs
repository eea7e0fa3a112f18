//! Trains go on and stop by themselves, offer in their windows, and go back by one command.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::device::Device;
use tests::server::Setup;

use super::{SET, Scene, bulk, latest, says, under};
use crate::approvals::Voter;

/// How long something may take that happens by itself: the job that does it comes each minute.
const SOON: Duration = Duration::from_secs(150);

/// A clock that a test sets ahead.
struct Clock<'a>(&'a Path);

impl Clock<'_> {
    fn set(&self, hours: f64) {
        fs::write(self.0, format!("{}", (hours * 3600.0) as i64)).expect("a file");
    }
}

impl Scene {
    /// Lets sequence 2 with revision 2 depart, of which devices `in-*` are the first.
    fn departs(&self, more: &[&str]) {
        let _ = self.store.proxy(&["group", "add", "lab", "--serial", "in-*", "--apply"]).ok();
        self.push(2, 2);
        let _ = self.train(&[&["depart", SET, "2", "--wave", "group=lab", "--wave", "100%"], more].concat());
    }

    fn shown(&self) -> Value {
        self.store.proxy(&["train", "show", SET, "--json"]).json()
    }

    /// Waits until the train is as it should be by itself.
    fn until(&self, is: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let train = self.shown();
            if is(&train) {
                return train;
            }
            assert!(begun.elapsed() < SOON, "it never came: {train}");
        }
    }
}

#[test]
fn it_goes_on_and_stops_by_itself() {
    let folder = tempfile::tempdir().expect("there is room");
    let clock = Clock(&folder.path().join("clock"));
    clock.set(0.0);
    let scene = Scene::of(Setup::default().clock(clock.0));
    scene.push(1, 1);
    let _ = scene.train(&["hold", SET]);
    let mut fleet: Vec<Device> =
        (1..=4).map(|number| scene.follower(&format!("in-{number}"), 1, 1)).collect();
    let mut outside = scene.follower("out-1", 1, 1);
    scene.departs(&["--soak", "1h", "--max-failed", "25%", "--max-silent", "25%"]);
    assert_eq!(latest(&mut fleet[0], 1), [Some(2), Some(2)]);

    // One in four may fail. The first takes the set and its revision, and goes back to the older revision; the second never
    // takes the set.
    clock.set(0.5);
    says(&mut fleet[0], 2, 2);
    clock.set(1.0);
    says(&mut fleet[0], 2, 1);
    for device in &mut fleet[2..] {
        says(device, 2, 2);
    }
    let train = scene.until(|train| train["journey"]["waves"][0]["failed"] == 1);
    assert_eq!(train["journey"]["state"], "running", "one of four is a quarter: {train}");
    for hours in [1.5, 2.0, 2.5] {
        clock.set(hours);
        says(&mut fleet[1], 1, 1);
    }
    let train = scene.until(|train| train["journey"]["state"] == "paused");
    let why = "2 of 4 devices of wave 1 (group=lab) failed: more than 25%";
    assert_eq!(train["journey"]["why"], why, "{train}");
    assert_eq!(train["journey"]["stopped-by"], json!(["acme/gateway/in-1", "acme/gateway/in-2"]));
    let audit = scene.store.proxy(&["audit", "--json"]).ok();
    let stop = audit.lines().find(|line| line.contains("train-stop")).unwrap_or_else(|| panic!("{audit}"));
    assert!(stop.contains(why) && stop.contains("acme/gateway/in-2") && stop.contains("proxyd"), "{stop}");
    // Nobody new is answered it, and nobody less than what it has.
    assert_eq!(latest(&mut fleet[1], 1), [Some(1), None]);
    assert_eq!(bulk(&mut fleet[2], Some(2)), None);
    assert_eq!(under(&mut fleet[2], 2), 2);
    assert_eq!(latest(&mut outside, 1), [Some(1), None]);

    // The operator knows of the two, and it goes on without them, to its end.
    let _ = scene.train(&["resume", SET]);
    assert_eq!(latest(&mut fleet[1], 1), [Some(2), Some(2)]);
    clock.set(3.5);
    says(&mut fleet[0], 2, 1);
    says(&mut fleet[1], 1, 1);
    says(&mut fleet[2], 2, 2);
    says(&mut fleet[3], 2, 2);
    let train = scene.until(|train| train["journey"]["waves"][1]["opened"].is_string());
    assert_eq!(train["journey"]["waves"][0]["excused"], 2, "{train}");
    assert_eq!(latest(&mut outside, 1), [Some(2), Some(2)]);
    says(&mut outside, 2, 2);
    clock.set(5.0);
    for (device, sequence, revision) in [(0, 2, 1), (1, 1, 1), (2, 2, 2), (3, 2, 2)] {
        says(&mut fleet[device], sequence, revision);
    }
    says(&mut outside, 2, 2);
    let train = scene.until(|train| train["arrived"] == 2);
    assert_eq!(train["journey"], Value::Null);
}

#[test]
fn it_pauses_and_offers_in_its_windows_only() {
    let folder = tempfile::tempdir().expect("there is room");
    let clock = Clock(&folder.path().join("clock"));
    clock.set(0.0);
    let scene = Scene::of(Setup::default().clock(clock.0));
    scene.push(1, 1);
    let _ = scene.train(&["hold", SET]);
    let (mut first, mut second) = (scene.follower("in-1", 1, 1), scene.follower("in-2", 1, 1));
    // The hour that comes five hours from now, in a zone that has no clock changes.
    let hour = |ahead: u64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        (now / 3600 + ahead + 4) % 24
    };
    let window = format!("daily {:02}:00-{:02}:00", hour(5), (hour(5) + 2) % 24);
    let zone = ["--window", &window, "--zone", "Asia/Dubai", "--max-failed", "100%", "--max-silent", "100%"];
    scene.departs(&zone);
    let shown = scene.shown();
    assert_eq!(shown["journey"]["windows"], format!("{window} (Asia/Dubai)"));
    assert!(shown["journey"]["next-window"].is_string(), "{shown}");
    for device in [&mut first, &mut second] {
        assert_eq!(latest(device, 1), [Some(1), None], "before the window");
    }
    clock.set(6.0);
    assert_eq!(latest(&mut first, 1), [Some(2), Some(2)], "in the window");
    let _ = scene.train(&["pause", SET]);
    assert_eq!(latest(&mut first, 1), [Some(1), None], "paused");
    assert!(scene.refused(&["next", SET]).contains("sequence 2 of acme/line7 is paused"));
    let _ = scene.train(&["resume", SET]);
    assert_eq!(latest(&mut first, 1), [Some(2), Some(2)], "resumed");
    says(&mut first, 2, 2);
    clock.set(9.0);
    assert_eq!(latest(&mut second, 1), [Some(1), None], "after the window");
    assert_eq!(bulk(&mut first, Some(2)), None, "it keeps it");
}

#[test]
fn one_command_brings_devices_back() {
    let scene = Scene::new();
    scene.push(1, 1);
    let _ = scene.train(&["hold", SET]);
    let (mut inside, mut outside) = (scene.follower("in-1", 1, 1), scene.follower("out-1", 1, 1));
    assert!(scene.refused(&["back", SET]).contains("name an earlier one with --to"));
    // What never departed is no way back, whatever waits here.
    scene.push(2, 2);
    for to in ["1", "2", "7"] {
        let refused = scene.refused(&["back", SET, "--to", to]);
        assert!(refused.contains("is not earlier than 1, the latest that devices may have"), "{refused}");
    }
    scene.departs(&["--window", "daily 00:00-24:00"]);
    says(&mut inside, 2, 2);
    // Without a key of this store the command says how to make one, and nothing has changed.
    let refused = scene.refused(&["back", SET]);
    assert!(refused.contains("`proxy keys create NAME --for validation-set --account acme`"), "{refused}");
    assert_eq!(scene.shown()["departed"], 2);
    scene.store.make_key_for(&scene.world, "sets-1", "validation-set", "acme", &[]);
    let _ = scene.train(&["back", SET]);
    let shown = scene.shown();
    assert_eq!((&shown["departed"], &shown["journey"]["windows"]), (&json!(3), &Value::Null), "{shown}");
    assert_eq!(latest(&mut inside, 2), [Some(3), Some(3)]);
    assert_eq!(latest(&mut outside, 1), [Some(1), None]);
    assert_eq!(under(&mut inside, 3), 1, "a lower revision");

    // One that was signed elsewhere and waits here departs, and none is signed.
    scene.push(4, 2);
    let _ = scene.train(&["depart", SET, "4"]);
    scene.push(5, 1);
    let _ = scene.train(&["back", SET]);
    let shown = scene.shown();
    assert_eq!((&shown["departed"], &shown["held"]), (&json!(5), &json!([1, 2, 3, 4, 5])), "{shown}");
    let refused = scene.refused(&["back", SET, "--to", "5"]);
    assert!(refused.contains("sequence 5 of acme/line7 is not earlier than 5"), "{refused}");
    let events = scene.store.proxy(&["audit", "--json"]).json_lines();
    let backs: Vec<_> = events.iter().filter(|event| event["what"] == "train-back").collect();
    assert!(backs.iter().all(|event| event["subject"] == SET), "{backs:?}");
    let done: Vec<_> = backs.iter().filter(|event| event["outcome"] == "done").collect();
    assert_eq!(done.iter().map(|event| &event["detail"]["to"]).collect::<Vec<_>>(), [&json!(1), &json!(1)]);
}

#[test]
fn attack_after_an_arrival_the_way_back_takes_as_many_approvals() {
    let scene = Scene::new();
    for sequence in [1, 2] {
        scene.push(sequence, sequence);
    }
    let _ = scene.train(&["hold", SET]);
    scene.push(3, 3);
    let voter = Voter::new(&scene.store);
    let approved = |request: i64, step: &[&str]| {
        let waits = scene.refused(step);
        assert!(waits.contains(&format!("waits as request {request} ")), "{waits}");
        voter.approve(&scene.store, request);
        let _ = scene.train(step);
    };
    approved(1, &["depart", SET, "3", "--wave", "100%", "--approvals", "1"]);
    approved(2, &["next", SET]);
    assert_eq!(scene.shown()["arrived"], 3);
    scene.push(4, 1);
    approved(3, &["back", SET, "--to", "1"]);
    assert_eq!(scene.shown()["departed"], 4);
}
