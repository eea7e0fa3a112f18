//! What `train lint` finds, and `train depart` refuses: each thing for which devices pass a sequence over without a word.

use schema::assertion::HeaderValue;
use tests::device::{Action, Installed, Wanted};
use tests::world::map;

use super::{SET, Scene, says};

impl Scene {
    /// Brings a sequence with one entry, and tells what is wrong with it.
    fn lint(&self, sequence: u32, entry: &[(&str, &str)]) -> String {
        let set = self.brand.validation_set("line7", sequence, vec![map(entry)]);
        let _ = self.store.try_push_assertions(set.bytes()).ok();
        self.train(&["lint", SET, &sequence.to_string()])
    }
}

#[test]
fn what_is_not_here_for_every_reader_is_found() {
    let scene = Scene::new();
    scene.push(1, 1);
    let _ = scene.train(&["hold", SET]);
    let (world, store) = (&scene.world, &scene.store);
    let entry =
        |id, revision| [("name", "app"), ("id", id), ("presence", "optional"), ("revision", revision)];
    let app = world.snap("app").publisher("acme").base("core99");
    store.push_pair(&app.revision(1), &["latest/edge"], "AcmeStore");
    let wrong = scene.lint(2, &entry(&app.id, "1"));
    assert!(
        wrong.contains("revision 1 of app needs base core99, which is not here: `proxy push-snap`"),
        "{wrong}"
    );

    // The base is here, but not for the architecture of a device and of a model that names the set.
    let base = world.snap("core99").yaml("type: base\n").architectures(&["arm64"]);
    store.push_pair(&base.revision(1), &["latest/stable"], "ubuntu");
    let mut device = scene.follower("in-1", 1, 1);
    let wrong = scene.lint(3, &entry(&app.id, "1"));
    assert!(wrong.contains("needs base core99, which is not here for amd64"), "{wrong}");
    store.push_store("AcmeStore", "acme", &[&scene.hello, &app]);
    let base = world.snap("core99").yaml("type: base\n");
    store.push_pair(&base.revision(2), &["latest/stable"], "ubuntu");
    assert!(scene.lint(4, &entry(&app.id, "1")).contains("Nothing is wrong with it"));
    let set = map(&[("name", "line7"), ("mode", "enforce")]);
    let model = scene.brand.model_of("arm").header("architecture", "arm64");
    let model = model.header("validation-sets", vec![HeaderValue::from(set)]).sign(&scene.brand.model_key());
    let _ = store.try_push_assertions(model.bytes()).ok();
    let only = world.snap("app").publisher("acme").architectures(&["amd64"]);
    store.push_pair(&only.revision(2), &["latest/edge"], "AcmeStore");
    let wrong = scene.lint(5, &entry(&app.id, "2"));
    assert!(
        wrong.contains(
            "revision 2 of app does not run on arm64, as needed by model acme/arm, which names the set"
        ),
        "{wrong}"
    );

    // A snap that the device's store does not list, and one that the set forbids while devices run it.
    let other = world.snap("other").publisher("acme");
    store.push_pair(&other.revision(1), &["latest/stable"], "BoltStore");
    let hidden = [("name", "other"), ("id", &*other.id), ("presence", "optional"), ("revision", "1")];
    let wrong = scene.lint(6, &hidden);
    assert!(wrong.contains("acme/gateway/in-1 follows the set and does not see other"), "{wrong}");
    let forbidden = [("name", "hello"), ("id", &*scene.hello.id), ("presence", "invalid")];
    let wrong = scene.lint(7, &forbidden);
    assert!(wrong.contains("1 devices that follow the set run hello, which it forbids"), "{wrong}");

    // Data that the older revision cannot read.
    let later = world.snap("hello").publisher("acme").yaml("epoch: 1*\n");
    store.push_pair(&later.revision(9), &["latest/edge"], "AcmeStore");
    device.installed[0].epoch = serde_json::from_str(r#"{"read":[0,1],"write":[1]}"#).expect("an epoch");
    says(&mut device, 1, 9);
    let older = [("name", "hello"), ("id", &*scene.hello.id), ("presence", "required"), ("revision", "1")];
    let wrong = scene.lint(8, &older);
    assert!(wrong.contains("revision 1 of hello does not read the data of what 1 devices"), "{wrong}");
}

#[test]
fn other_sets_that_say_otherwise_are_found() {
    let scene = Scene::new();
    scene.push(1, 1);
    let _ = scene.train(&["hold", SET]);
    // Another set of the account, which counts once it has a train, and one of another account that a device has beside it.
    let entry = |revision| {
        let id = &*scene.hello.id;
        map(&[("name", "hello"), ("id", id), ("presence", "required"), ("revision", revision)])
    };
    let own = scene.brand.validation_set("base", 4, vec![entry("3")]);
    let _ = scene.store.try_push_assertions(own.bytes()).ok();
    let bolt = scene.world.brand("bolt");
    scene.store.push_brand(&bolt);
    let theirs = bolt.validation_set("tools", 6, vec![entry("2")]);
    let _ = scene.store.try_push_assertions(theirs.bytes()).ok();
    scene.push(2, 1);
    let wrong = scene.train(&["lint", SET, "2"]);
    assert!(wrong.contains("Nothing is wrong with it"), "no device has any of them beside it: {wrong}");
    let _ = scene.train(&["hold", "acme/base"]);
    let wrong = scene.train(&["lint", SET, "2"]);
    assert!(wrong.contains("acme/base=4 says otherwise of hello") && !wrong.contains("bolt"), "{wrong}");

    let mut device = scene.device("in-1");
    let own: &mut Installed = &mut device.installed[0];
    own.validation_sets = [["16", "acme", "line7", "1"], ["16", "bolt", "tools", "6"]]
        .map(|key| key.map(str::to_owned))
        .to_vec();
    let action = Action::Refresh(own.instance_key.clone(), Wanted::default());
    let _ = device.act_on_one(action).expect("a refresh");
    let wrong = scene.train(&["lint", SET, "2"]);
    assert!(wrong.contains("bolt/tools=6 says otherwise of hello"), "{wrong}");
    let refused = scene.refused(&["depart", SET, "2", "--wave", "100%"]);
    assert!(refused.contains("bolt/tools=6 says otherwise of hello"), "{refused}");
}
