//! The plan of a departure travels, is approved on site, and comes out again with what became of it.

use serde_json::{Value, json};
use tests::device::Device;

use super::{SET, Scene, latest, says};
use crate::approvals::Voter;

/// How many devices follow the set at each store.
const DEVICES: usize = 20;

impl Scene {
    /// Holds the set at sequence 1, and brings sequence 2.
    fn holds(&self) {
        self.push(1, 1);
        let _ = self.train(&["hold", SET]);
        self.push(2, 2);
    }

    fn followers(&self) -> Vec<Device> {
        (1..=DEVICES).map(|number| self.follower(&format!("SN-{number}"), 1, 1)).collect()
    }

    /// Another person; devices go on coming over plain HTTP.
    fn voter(&self) -> Voter {
        let url = format!("proxy.public-url=http://{}", self.store.address);
        let _ = self.store.proxy(&["config", &url]).ok();
        Voter::new(&self.store)
    }

    /// Takes a step that waits for another person, who approves it.
    fn approved(&self, voter: &Voter, request: i64, step: &[&str]) {
        let waits = self.refused(step);
        assert!(waits.contains(&format!("waits as request {request} until one other person")), "{waits}");
        voter.approve(&self.store, request);
        let _ = self.train(step);
    }
}

/// Which devices that are on sequence 1 are answered sequence 2, by both routes.
fn inside(fleet: &mut [Device]) -> Vec<bool> {
    let is_inside = |device: &mut Device| match latest(device, 1) {
        [Some(2), Some(2)] => true,
        [Some(1), None] => false,
        other => panic!("the routes differ: {other:?}"),
    };
    fleet.iter_mut().map(is_inside).collect()
}

#[test]
fn a_plan_travels_departs_once_it_is_approved_and_comes_out_as_a_report() {
    let there = Scene::new();
    there.holds();
    for step in ["depart", "export"] {
        let refused = there.refused(&[step, SET]);
        assert!(refused.contains("no departure of acme/line7 is planned: `proxy train plan"), "{refused}");
    }
    let refused = there.refused(&["plan", SET, "2", "--wave", "group=lab"]);
    assert!(refused.contains("there is no group lab"), "{refused}");
    let _ = there.train(&["plan", SET, "2", "--wave", "50%", "--wave", "100%", "--approvals", "1"]);
    let shown = there.train(&["show", SET]);
    assert!(shown.contains("Sequence 2 is planned in 50%, 100%: `proxy train depart acme/line7`"), "{shown}");
    let exported = there.train(&["export", SET]);

    let site = Scene::new();
    let import = || {
        let (name, bytes) = ("plan.json", exported.as_bytes());
        site.store.with_file(name, bytes, |file| site.store.proxy(&["train", "import", file]))
    };
    let refused = import().refused();
    assert!(refused.contains("there is no train of acme/line7: `proxy train hold"), "{refused}");
    site.push(1, 1);
    let _ = site.train(&["hold", SET]);
    let refused = import().refused();
    assert!(refused.contains("sequence 2 of acme/line7 is not held: sign it, and bring it"), "{refused}");
    site.push(2, 2);
    let _ = import().ok();
    let (mut fleet, voter) = (site.followers(), site.voter());
    assert_eq!(inside(&mut fleet), [false; DEVICES], "it is a plan");
    site.approved(&voter, 1, &["depart", SET]);
    let first = inside(&mut fleet);

    // The same devices are the first ones where it was planned.
    let mut others = there.followers();
    there.approved(&there.voter(), 1, &["depart", SET]);
    assert_eq!(inside(&mut others), first);
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");

    // It goes to its end, and what became of it can be read afterwards.
    site.approved(&voter, 2, &["next", SET]);
    fleet.iter_mut().for_each(|device| says(device, 2, 2));
    site.approved(&voter, 3, &["next", SET]);
    assert_eq!(site.store.proxy(&["train", "show", SET, "--json"]).json()["journey"], Value::Null);
    let report: Value = serde_json::from_str(&site.train(&["export", SET])).expect("JSON");
    let (plan, journey) = (&report["plan"], &report["outcome"]["journey"]);
    let planned: Value = serde_json::from_str(&exported).expect("JSON");
    assert_eq!((plan, &journey["state"]), (&planned["plan"], &json!("finished")), "{report}");
    let done = |wave: usize| journey["waves"][wave]["done"].as_u64().expect("a number");
    let inside = first.iter().filter(|inside| **inside).count() as u64;
    assert_eq!((done(0), done(1)), (inside, DEVICES as u64 - inside), "{report}");
    let audit = site.store.proxy(&["audit", "--json"]).ok();
    let entries = report["audit"].as_array().expect("a list");
    let done = entries.iter().filter(|entry| entry["outcome"] == "done");
    let steps: Vec<_> = done.map(|entry| entry["what"].as_str().expect("a word")).collect();
    assert_eq!(steps, ["train-hold", "train-plan", "train-depart", "train-wave", "train-arrive"]);
    for entry in entries {
        let hash = entry["hash"].as_str().expect("a digest");
        assert!(audit.contains(hash), "{entry} is in no row of {audit}");
    }
    let refused = import().refused();
    assert!(refused.contains("sequence 2 of acme/line7 is not higher than 2"), "{refused}");
    let no_export = |file: &str| site.store.proxy(&["train", "import", file]).refused();
    let refused = site.store.with_file("not.json", b"{}", no_export);
    assert!(refused.contains("is no export: `proxy train export ACCOUNT/NAME"), "{refused}");
}

#[test]
fn a_plan_is_replaced_and_ends_with_what_departs() {
    let scene = Scene::new();
    scene.holds();
    let planned = || scene.store.proxy(&["train", "show", SET, "--json"]).json()["planned"].clone();
    let _ = scene.train(&["plan", SET, "2", "--wave", "10%", "--wave", "100%"]);
    let salt = planned()["salt"].clone();
    let _ = scene.train(&["plan", SET, "2", "--wave", "20%", "--wave", "100%"]);
    let plan = planned();
    assert_eq!(plan["waves"], json!(["20%", "100%"]), "{plan}");
    assert_ne!(plan["salt"], salt);
    // A sequence that departs ends the plans of lower ones and its own, and keeps that of a higher one.
    scene.push(3, 3);
    let _ = scene.train(&["plan", SET, "3", "--wave", "30%", "--wave", "100%"]);
    let _ = scene.train(&["depart", SET, "2", "--wave", "100%"]);
    assert_eq!(planned()["sequence"], 3);
    let refused = scene.refused(&["depart", SET]);
    assert!(refused.contains("takes its waves: name the sequence, and leave --wave out"), "{refused}");
    let _ = scene.train(&["depart", SET, "3"]);
    assert_eq!(planned(), Value::Null);
    let mut device = scene.device("SN-1");
    assert_eq!(latest(&mut device, 1), [Some(3), Some(3)], "in the open wave of the other");
}
