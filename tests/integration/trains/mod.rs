//! Trains on the wire: which sequence of a validation set a device is answered, by every route.

mod gates;
mod lint;
mod plans;

use schema::assertion::{Assertion, AssertionType};
use serde_json::{Value, json};
use tests::device::{Action, Device, Installed, Snapd, Wanted};
use tests::server::{Server, Setup};
use tests::world::{Brand, Snap, World, map};

const SET: &str = "acme/line7";

struct Scene {
    world: World,
    brand: Brand,
    hello: Snap,
    store: Server,
}

impl Scene {
    /// A store of `hello` with three revisions, of which the first is in stable.
    fn new() -> Self {
        Self::of(Setup::default())
    }

    fn of(setup: Setup) -> Self {
        let (world, store) = (World::new(), setup.start());
        store.trust(&world);
        let (brand, hello) = (world.brand("acme"), world.snap("hello").publisher("acme"));
        store.push_brand(&brand);
        store.push_pair(&hello.revision(1), &["latest/stable"], "AcmeStore");
        for number in [2, 3] {
            store.push_pair(&hello.revision(number), &["latest/edge"], "AcmeStore");
        }
        store.push_store("AcmeStore", "acme", &[&hello]);
        Self { world, brand, hello, store }
    }

    fn device(&self, serial: &str) -> Device {
        let identity = self.brand.device(&self.brand.model_in("gateway", "AcmeStore"), serial);
        let mut device = Device::new(&self.store, Snapd::V2_77, &identity).trusting(&self.world);
        device.installed = vec![Installed::new("hello", &self.hello.id, 1, "latest/stable")];
        device
    }

    /// Brings a sequence that requires a revision.
    fn push(&self, sequence: u32, revision: u32) {
        let (id, revision) = (&*self.hello.id, revision.to_string());
        let entry = map(&[("name", "hello"), ("id", id), ("presence", "required"), ("revision", &revision)]);
        let set = self.brand.validation_set("line7", sequence, vec![entry]);
        let _ = self.store.try_push_assertions(set.bytes()).ok();
    }

    /// A device that is under a sequence which names the revision that it runs, and was seen.
    fn follower(&self, serial: &str, sequence: u32, revision: u32) -> Device {
        let mut device = self.device(serial);
        says(&mut device, sequence, revision);
        device
    }

    fn train(&self, args: &[&str]) -> String {
        self.store.proxy(&[&["train"], args].concat()).ok()
    }

    fn refused(&self, args: &[&str]) -> String {
        self.store.proxy(&[&["train"], args].concat()).refused()
    }
}

fn number(set: &Assertion) -> u32 {
    set.text("sequence").and_then(|text| text.parse().ok()).expect("a sequence")
}

/// The sequence that a device is answered by the single route, if any.
fn single(device: &mut Device) -> Option<u32> {
    device.sequence(AssertionType::ValidationSet, &["16", "acme", "line7"], None).ok().as_ref().map(number)
}

/// The sequence that a device is answered that has one, or none; `None` for nothing newer.
fn bulk(device: &mut Device, own: Option<u32>) -> Option<u32> {
    let mut entry = json!({ "type": "validation-set", "sequence-key": ["16", "acme", "line7"] });
    if let Some(own) = own {
        entry["if-sequence-equal-or-newer-than"] = json!(own);
        entry["if-newer-than"] = json!(0);
    }
    let answered: Vec<(_, Vec<Assertion>)> =
        device.fetch_assertions(&[("sets", vec![entry])]).expect("an answer");
    answered[0].1.iter().find(|one| one.kind() == AssertionType::ValidationSet).map(number)
}

/// Both routes, for a device that is on a sequence.
fn latest(device: &mut Device, own: u32) -> [Option<u32>; 2] {
    [single(device), bulk(device, Some(own))]
}

/// The revision of `hello` that a device gets under a sequence that it enforces.
fn under(device: &mut Device, sequence: u32) -> u32 {
    let set = ["16", "acme", "line7", &sequence.to_string()].map(str::to_owned);
    let wanted = Wanted { validation_sets: vec![set], ..Wanted::default() };
    let id = device.installed[0].instance_key.clone();
    device.act_on_one(Action::Refresh(id, wanted)).expect("a refresh").snap.revision
}

/// A device comes, and says that it is under this sequence and runs this revision.
fn says(device: &mut Device, sequence: u32, revision: u32) {
    let own = &mut device.installed[0];
    own.validation_sets = vec![["16", "acme", "line7", &sequence.to_string()].map(str::to_owned)];
    own.revision = revision;
    let _ = under(device, sequence);
}

#[test]
fn attack_a_sequence_reaches_devices_of_open_waves_only_by_any_route() {
    let mut scene = Scene::new();
    let (mut inside, mut outside) = (scene.device("in-1"), scene.device("out-1"));
    let _ = scene.store.proxy(&["group", "add", "lab", "--serial", "in-*", "--apply"]).ok();
    scene.push(1, 1);
    assert_eq!(bulk(&mut outside, None), Some(1), "without a train it is there for all");
    let _ = scene.train(&["hold", SET]);
    scene.push(2, 2);
    for device in [&mut inside, &mut outside] {
        assert_eq!(latest(device, 1), [Some(1), None], "it has not departed");
    }
    let _ = scene.train(&["depart", SET, "2", "--wave", "group=lab", "--wave", "100%"]);
    for when in ["departed", "restarted"] {
        assert_eq!(latest(&mut inside, 1), [Some(2), Some(2)], "{when}");
        assert_eq!(latest(&mut outside, 1), [Some(1), None], "{when}");
        let mut anonymous = Device::anonymous(&scene.store, Snapd::V2_77);
        assert!(single(&mut anonymous).is_none_or(|sequence| sequence == 1), "{when}");
        scene.store = scene.store.kill().start();
        inside.move_to(&scene.store);
        outside.move_to(&scene.store);
    }
    // A device keeps what it has, and its sets pin what no channel holds.
    assert_eq!(bulk(&mut outside, Some(2)), None);
    assert_eq!((under(&mut inside, 2), under(&mut outside, 1)), (2, 1));

    // The group changes, and the train does not.
    let _ = scene.store.proxy(&["group", "add", "lab", "--serial", "*", "--apply"]).ok();
    assert_eq!(latest(&mut outside, 1), [Some(1), None]);

    // Back: a higher sequence with the revisions of the first goes the same way.
    let refused = scene.refused(&["depart", SET, "1"]);
    assert!(refused.contains("`proxy train draft acme/line7 --back-to 1`"), "{refused}");
    let draft: Value = serde_json::from_str(&scene.train(&["draft", SET, "--back-to", "1"])).expect("JSON");
    assert_eq!((&draft["sequence"], &draft["snaps"][0]["revision"]), (&json!("3"), &json!("1")), "{draft}");
    scene.push(3, 1);
    assert_eq!(latest(&mut inside, 2), [Some(2), None], "it has not departed");
    let _ = scene.train(&["depart", SET, "3"]);
    assert_eq!(latest(&mut inside, 2), [Some(3), Some(3)]);
    assert_eq!(latest(&mut outside, 1), [Some(1), None]);
    inside.installed[0].revision = 2;
    assert_eq!(under(&mut inside, 3), 1, "a lower revision");

    // The last wave is everybody, and then it has arrived.
    for _ in 0..2 {
        let _ = scene.train(&["next", SET]);
        assert_eq!(latest(&mut outside, 1), [Some(3), Some(3)]);
    }
    assert!(scene.train(&["show", SET]).contains("acme/line7: every device gets sequence 3"));
    let refused = scene.refused(&["next", SET]);
    assert!(refused.contains("no sequence of acme/line7 is on its way"), "{refused}");
    let audit = scene.store.proxy(&["audit"]).ok();
    for what in ["train-hold", "train-depart", "train-wave", "train-arrive"] {
        assert!(audit.contains(what), "{what}: {audit}");
    }
}

#[test]
fn what_devices_would_pass_over_does_not_depart() {
    let scene = Scene::new();
    let mut device = scene.device("in-1");
    scene.push(1, 1);
    let draft: Value =
        serde_json::from_str(&scene.train(&["draft", SET, "--from-channel", "edge"])).expect("JSON");
    assert_eq!((&draft["sequence"], &draft["snaps"][0]["revision"]), (&json!("2"), &json!("3")), "{draft}");
    let refused = scene.refused(&["depart", SET, "1", "--wave", "100%"]);
    assert!(refused.contains("`proxy train hold acme/line7`"), "{refused}");
    let _ = scene.train(&["hold", SET]);
    scene.push(2, 7);
    assert!(scene.train(&["diff", SET, "1", "2"]).contains("hello required 1 → required 7"));
    assert!(scene.train(&["lint", SET, "2"]).contains("revision 7 of hello is not held"));
    let refused = scene.refused(&["depart", SET, "2", "--wave", "100%"]);
    assert!(refused.contains("would not be taken: revision 7 of hello is not held"), "{refused}");
    for (args, complaint) in [
        (&["depart", SET, "9", "--wave", "100%"][..], "sequence 9 of acme/line7 is not held"),
        (&["hold", "line7"], "as a validation set: write ACCOUNT/NAME"),
        (&["hold", SET], "there is a train of acme/line7 already"),
        (&["draft", "acme/other"], "name the snaps of acme/other"),
    ] {
        let refused = scene.refused(args);
        assert!(refused.contains(complaint), "{args:?}: {refused}");
    }
    scene.push(3, 3);
    assert!(scene.train(&["lint", SET, "3"]).contains("Nothing is wrong with it"));
    let refused = scene.refused(&["depart", SET, "3", "--wave", "group=lab"]);
    assert!(refused.contains("there is no group lab"), "{refused}");

    // Who is on which sequence is read from what devices say.
    device.installed[0].validation_sets = vec![["16", "acme", "line7", "1"].map(str::to_owned)];
    let _ = under(&mut device, 1);
    let shown = scene.store.proxy(&["train", "show", SET, "--json"]).json();
    assert_eq!(shown["devices"], json!([{ "sequence": 1, "devices": 1 }]), "{shown}");
    let other =
        map(&[("name", "extra"), ("id", "extraextraextraextraextraextra01"), ("presence", "required")]);
    let set = scene.brand.validation_set("line7", 4, vec![other]);
    let _ = scene.store.try_push_assertions(set.bytes()).ok();
    let problems = scene.train(&["lint", SET, "4"]);
    assert!(problems.contains("1 devices that follow the set do not run extra"), "{problems}");
}

#[test]
fn a_key_of_the_store_signs_the_next_sequence() {
    let scene = Scene::new();
    let mut device = scene.device("in-1");
    let sign = ["sign", SET, "--snap", "hello"];
    assert!(scene.refused(&sign).contains("`proxy train hold acme/line7`"), "devices would get it at once");
    let _ = scene.train(&["hold", SET]);
    assert!(scene.refused(&sign).contains("`proxy keys create NAME --for validation-set --account acme`"));
    scene.store.make_key_for(&scene.world, "sets-1", "validation-set", "acme", &[]);
    let signed = scene.train(&sign);
    assert!(
        signed.contains("hello none → required 1") && signed.contains("sequence 1 of acme/line7 with sets-1")
    );
    assert_eq!(latest(&mut device, 0), [None, None], "it has not departed");
    // Not twice, and nothing that devices would refuse; the key's count and the log say the same.
    let twice = scene.refused(&sign);
    assert!(
        twice.contains("sequence 1 of acme/line7, the newest one that is held, names exactly this")
            && twice.contains("`proxy train depart acme/line7 1 --wave …`"),
        "{twice}"
    );
    for what in ["sign", "draft"] {
        let refused = scene.refused(&[what, SET, "--snap", "hello", "--snap", "hello"]);
        assert!(refused.contains("--snap hello is given twice"), "{refused}");
    }
    assert_eq!(crate::signing::state(&scene.store, "sets-1")["signed"], 1);
    let events = scene.store.proxy(&["audit", "--json"]).json_lines();
    let signed: Vec<_> = events.iter().filter(|event| event["what"] == "train-sign").collect();
    assert!(signed.len() > 2 && signed.iter().all(|event| event["subject"] == SET), "{signed:?}");
    let done: Vec<_> = signed.iter().filter(|event| event["outcome"] == "done").collect();
    assert_eq!(done.len(), 1, "{signed:?}");
    assert_eq!((&done[0]["detail"]["sequence"], &done[0]["detail"]["key"]), (&json!(1), &json!("sets-1")));
    let _ = scene.train(&["depart", SET, "1", "--wave", "100%"]);
    let export: Value = serde_json::from_str(&scene.train(&["export", SET])).expect("JSON");
    let steps = export["audit"].as_array().expect("a list").iter().map(|event| &event["what"]);
    assert!(steps.clone().any(|what| what == "train-sign"), "{:?}", steps.collect::<Vec<_>>());
    assert_eq!(latest(&mut device, 0), [Some(1), Some(1)]);
    assert_eq!(under(&mut device, 1), 1);

    // A key that takes approvals keeps the sequence back, and signs what was approved, once.
    scene.store.make_key_for(&scene.world, "sets-2", "validation-set", "acme", &["--approvals", "1"]);
    let edge = ["sign", SET, "--from-channel", "edge"];
    assert!(scene.refused(&edge).contains("name one with --key"));
    let edge = [&edge[..], &["--key", "sets-2"]].concat();
    let waits = scene.refused(&edge);
    assert!(waits.contains("waits as request 1 until one other person"), "{waits}");
    assert!(!scene.train(&["show", SET]).contains("Held here: 1, 2"));
    let others = scene.store.proxy(&["keys", "create", "factory-1", "--for", "serial", "--account", "acme"]);
    let _ = others.ok();
    assert!(
        scene
            .refused(&["sign", SET, "--from-channel", "edge", "--key", "factory-1"])
            .contains("there is no key factory-1")
    );
}
