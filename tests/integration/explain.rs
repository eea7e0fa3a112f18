//! `proxy explain` beside what the device gets on the wire.

use std::fs;

use schema::assertion::{AssertionType, Builder, HeaderValue};
use serde_json::{Value, json};
use tests::device::{Action, Device, Installed, Snapd, Trouble, Wanted};
use tests::server::{Server, Setup};
use tests::world::{Brand, Snap, World, stream};

use crate::verify::{blob, verify};

/// A revision, or the error code.
type Answer = Result<u64, String>;

/// What a device asks, and the words of `explain` for it.
struct Situation {
    name: &'static str,
    device: Device,
    action: Action,
    snap: String,
    more: Vec<String>,
    /// What the test means to try; the wire is compared with this as well.
    meant: Answer,
    /// The subject of a step that has to be among those that are told, and a part of what it says.
    told: (&'static str, &'static str),
}

/// What the device gets on the wire.
fn on_the_wire(device: &mut Device, action: &Action) -> Answer {
    match device.act_on_one(action.clone()) {
        Ok(outcome) => Ok(outcome.snap.revision.into()),
        Err(Trouble::Snap { code, .. }) => Err(code),
        Err(Trouble::Status(response) | Trouble::Session(response)) => {
            Err(response.json()["error-list"][0]["code"].as_str().unwrap_or_default().to_owned())
        }
        Err(other) => panic!("{other}"),
    }
}

/// A store in which every layer has something to say, and the brand of its devices.
struct Scene {
    world: World,
    brand: Brand,
    store: Server,
    serials: u32,
    situations: Vec<Situation>,
}

impl Scene {
    fn device(&mut self, model: &str, store: Option<&str>) -> Device {
        self.serials += 1;
        let model = match store {
            Some(store) => self.brand.model_in(model, store),
            None => self.brand.model(model),
        };
        let identity = self.brand.device(&model, &format!("SN-{}", self.serials));
        Device::new(&self.store, Snapd::V2_77, &identity).trusting(&self.world)
    }

    /// A device of a model without a store.
    fn panel(&mut self) -> Device {
        self.device("panel", None)
    }

    /// A device of a model without a store that runs these.
    fn panel_with(&mut self, snaps: &[(&Snap, u32, &str)]) -> Device {
        let mut device = self.panel();
        let installed = |(snap, revision, channel): &(&Snap, u32, &str)| {
            Installed::new(&snap.name, &snap.id, *revision, channel)
        };
        device.installed = snaps.iter().map(installed).collect();
        device
    }

    fn add(
        &mut self,
        name: &'static str,
        device: Device,
        action: Action,
        meant: Result<u64, &str>,
        told: (&'static str, &'static str),
    ) {
        let (snap, wanted) = match &action {
            Action::Install(snap, wanted) | Action::Download(snap, wanted) => (snap.clone(), wanted.clone()),
            Action::Refresh(id, wanted) => {
                let own = device.installed.iter().find(|own| own.instance_key == *id);
                (own.expect("it runs what it refreshes").name.clone(), wanted.clone())
            }
        };
        let channel = wanted.channel.iter().flat_map(|channel| ["--channel".to_owned(), channel.clone()]);
        let revision =
            wanted.revision.iter().flat_map(|number| ["--revision".to_owned(), number.to_string()]);
        let more = channel.chain(revision).collect();
        let meant = meant.map_err(str::to_owned);
        self.situations.push(Situation { name, device, action, snap, more, meant, told });
    }
}

fn install(snap: &str, channel: &str) -> Action {
    Action::Install(snap.to_owned(), Wanted::channel(channel))
}

fn refresh(snap: &Snap) -> Action {
    Action::Refresh(snap.id.clone(), Wanted::default())
}

fn approval(brand: &Brand, gate: &Snap, approved: &Snap, revision: u32) -> Vec<u8> {
    let document = Builder::new(AssertionType::Validation)
        .header("authority-id", &brand.id)
        .header("series", "16")
        .header("snap-id", &gate.id)
        .header("approved-snap-id", &approved.id)
        .header("approved-snap-revision", revision.to_string())
        .header("timestamp", "2026-06-01T00:00:00Z");
    stream(&[document.sign(&brand.model_key())])
}

fn damage(store: &Server, revision: &tests::world::Revision) {
    let path = blob(&store.data_dir, &revision.image.digest);
    let mut bytes = fs::read(&path).expect("a file");
    bytes[2000] ^= 1;
    fs::write(&path, bytes).expect("it can be damaged");
}

/// Snaps in every state, and the situations in which a device asks for them.
fn scene() -> Scene {
    let world = World::new();
    let brand = world.brand("acme");
    let store = Setup::default().start();
    store.trust(&world);
    let mut scene = Scene { world, brand, store, serials: 0, situations: Vec::new() };
    let snap = |name: &str| scene.world.snap(name);
    let (hello, moved, own) = (snap("hello"), snap("moved"), snap("own").publisher("acme"));
    let (arm, pinned, closed) = (snap("arm").architectures(&["arm64"]), snap("pinned"), snap("closed"));
    let (zero, one, three) =
        (snap("leaps"), snap("leaps").yaml("epoch: 1*\n"), snap("leaps").yaml("epoch: 3\n"));
    let (torn, lost, gated) = (snap("torn"), snap("lost"), snap("gated"));
    let gates = HeaderValue::List(vec![gated.id.as_str().into()]);
    let gate = snap("gate").publisher("acme").declared("refresh-control", gates);
    let store = &scene.store;
    let (based, base) = (snap("based").publisher("acme").base("own-base"), snap("own-base").kind("base"));
    store.push_store("AcmeStore", "acme", &[&own, &based]);
    store.push_brand(&scene.brand);
    for (revision, channel) in [
        (hello.revision(1), "latest/stable"),
        (hello.revision(2), "latest/beta"),
        (hello.revision(3), "latest/stable/fix-7"),
        (hello.revision(4), "2/stable"),
        (moved.revision(5), "latest/stable"),
        (moved.revision(6), "latest/stable"),
        (arm.revision(1), "latest/stable"),
        (pinned.revision(2), "latest/stable"),
        (pinned.revision(3), "latest/edge"),
        (closed.revision(1), "latest/stable"),
        (closed.revision(2), "latest/edge"),
        (zero.revision(1), "latest/stable"),
        (one.revision(2), "latest/stable"),
        (three.revision(3), "latest/stable"),
        (torn.revision(1), "latest/stable"),
        (torn.revision(2), "latest/stable"),
        (lost.revision(1), "latest/stable"),
        (gate.revision(1), "latest/stable"),
        (gated.revision(1), "latest/stable"),
        (gated.revision(2), "latest/stable"),
        (gated.revision(3), "latest/stable"),
    ] {
        store.push_pair(&revision, &[channel], "ubuntu");
    }
    store.push_pair(&own.revision(1), &["latest/stable"], "AcmeStore");
    store.push_pair(&based.revision(1), &["latest/stable"], "AcmeStore");
    store.push_pair(&base.revision(1), &["latest/stable"], "ubuntu");
    let _ = store.proxy(&["override", "moved", "stable=5"]).ok();
    let _ = store.proxy(&["override", "pinned", "stable=3"]).ok();
    let _ = store.proxy(&["close-channel", "closed", "edge", "--apply"]).ok();
    let pushed = store.try_push_assertions(&approval(&scene.brand, &gate, &gated, 2));
    let _ = pushed.ok();
    damage(store, &torn.revision(2));
    damage(store, &lost.revision(1));
    let _ = verify(store, 1);

    let panel = scene.panel();
    scene.add("the channel map", panel, install("hello", "stable"), Ok(1), ("channel-map", "revision 1"));
    let panel = scene.panel();
    scene.add(
        "no channel named",
        panel,
        Action::Install("hello".into(), Wanted::default()),
        Ok(1),
        ("channel", "latest/stable"),
    );
    let panel = scene.panel();
    scene.add(
        "a closed risk falls back",
        panel,
        install("hello", "edge"),
        Ok(2),
        ("channel", "Nothing is released in latest/edge"),
    );
    let panel = scene.panel();
    scene.add(
        "candidate falls past nothing",
        panel,
        install("hello", "candidate"),
        Ok(1),
        ("channel", "answers with latest/stable"),
    );
    let panel = scene.panel();
    scene.add(
        "a branch",
        panel,
        install("hello", "stable/fix-7"),
        Ok(3),
        ("channel", "answers with latest/stable/fix-7"),
    );
    let panel = scene.panel();
    scene.add(
        "a branch that is not there",
        panel,
        install("hello", "stable/fix-8"),
        Ok(1),
        ("channel", "Nothing is released in latest/stable/fix-8"),
    );
    let panel = scene.panel();
    scene.add("another track", panel, install("hello", "2"), Ok(4), ("channel", "2/stable"));
    let panel = scene.panel();
    scene.add(
        "no such track",
        panel,
        install("hello", "9/stable"),
        Err("revision-not-found"),
        ("channel-map", "nothing"),
    );
    let panel = scene.panel();
    scene.add(
        "no such snap",
        panel,
        install("never-was", "stable"),
        Err("name-not-found"),
        ("snap", "No snap never-was"),
    );
    let panel = scene.panel();
    scene.add(
        "a snap of a store",
        panel,
        install("own", "stable"),
        Err("name-not-found"),
        ("snap", "for devices of AcmeStore"),
    );
    let gateway = scene.device("gateway", Some("AcmeStore"));
    scene.add(
        "a snap that its store grants",
        gateway,
        install("own", "stable"),
        Ok(1),
        ("snap", "Store AcmeStore grants"),
    );
    let gateway = scene.device("gateway", Some("AcmeStore"));
    scene.add(
        "a public snap that its store does not grant",
        gateway,
        install("hello", "stable"),
        Err("name-not-found"),
        ("scope", "store AcmeStore"),
    );
    let gateway = scene.device("gateway", Some("AcmeStore"));
    scene.add(
        "a public base that its store does not grant",
        gateway,
        install("based", "stable"),
        Ok(1),
        ("snap", "does not see own-base, which is for devices without a brand store"),
    );
    let gateway = scene.device("gateway", Some("OtherStore"));
    scene.add(
        "a store whose metadata is missing",
        gateway,
        install("hello", "stable"),
        Err("name-not-found"),
        ("scope", "store OtherStore"),
    );
    let panel = scene.panel();
    scene.add("an override", panel, install("moved", "stable"), Ok(5), ("override", "revision 5"));
    let panel = scene.panel_with(&[(&moved, 6, "latest/stable")]);
    scene.add("an override sets back", panel, refresh(&moved), Ok(5), ("override", "revision 5"));
    let panel = scene.panel();
    scene.add(
        "an override where the request falls back",
        panel,
        install("pinned", "beta"),
        Ok(3),
        ("override", "revision 3"),
    );
    let panel = scene.panel();
    scene.add(
        "a channel that was closed",
        panel,
        install("closed", "edge"),
        Ok(1),
        ("channel", "Nothing is released in latest/edge"),
    );
    let panel = scene.panel();
    scene.add(
        "another architecture",
        panel,
        install("arm", "stable"),
        Err("revision-not-found"),
        ("channel", "for amd64"),
    );
    let mut panel = scene.panel();
    panel.architecture = "arm64".into();
    scene.add("its own architecture", panel, install("arm", "stable"), Ok(1), ("device", "arm64"));
    let panel = scene.panel();
    scene.add(
        "a revision by its number",
        panel,
        Action::Install("moved".into(), Wanted::revision(6)),
        Ok(6),
        ("asked-for", "revision 6"),
    );
    let panel = scene.panel();
    scene.add(
        "a revision that is not held",
        panel,
        Action::Download("hello".into(), Wanted::revision(99)),
        Err("revision-not-found"),
        ("revision", "99 is not held"),
    );
    let panel = scene.panel();
    scene.add(
        "a damaged revision by its number",
        panel,
        Action::Install("torn".into(), Wanted::revision(2)),
        Err("file-damaged"),
        ("file", "revision 2"),
    );
    let panel = scene.panel();
    scene.add(
        "an older file stands in",
        panel,
        install("torn", "stable"),
        Ok(1),
        ("file", "revision 2 is damaged"),
    );
    let panel = scene.panel_with(&[(&torn, 2, "latest/stable")]);
    scene.add("what it has is kept", panel, refresh(&torn), Ok(2), ("device", "keeps revision 2"));
    let panel = scene.panel();
    scene.add(
        "nothing whole",
        panel,
        install("lost", "stable"),
        Err("file-damaged"),
        ("file", "revision 1 is damaged"),
    );
    let panel = scene.panel_with(&[(&zero, 1, "latest/stable")]);
    scene.add("an epoch on the way", panel, refresh(&zero), Ok(2), ("epoch", "Revision 3"));
    let mut panel = scene.panel_with(&[(&zero, 2, "latest/stable")]);
    panel.installed[0].epoch = json!({ "read": [0, 1], "write": [1] });
    scene.add("no way over an epoch", panel, refresh(&zero), Ok(2), ("device", "keeps revision 2"));
    let mut panel = scene.panel_with(&[(&zero, 9, "latest/stable")]);
    panel.installed[0].epoch = json!({ "read": [7], "write": [7] });
    scene.add(
        "an epoch that nothing reads",
        panel,
        refresh(&zero),
        Err("revision-not-found"),
        ("epoch", "Revision 3"),
    );
    let panel = scene.panel_with(&[(&gated, 1, "latest/stable"), (&gate, 1, "latest/stable")]);
    scene.add(
        "a gate lets the approved one through",
        panel,
        refresh(&gated),
        Ok(2),
        ("gate", "Revision 3 has no validation by gate"),
    );
    let panel = scene.panel_with(&[(&gated, 2, "latest/stable"), (&gate, 1, "latest/stable")]);
    scene.add("a gate holds", panel, refresh(&gated), Ok(2), ("device", "keeps revision 2"));
    let panel = scene.panel_with(&[(&gated, 2, "latest/stable")]);
    scene.add(
        "no gate without the gating snap",
        panel,
        refresh(&gated),
        Ok(3),
        ("channel-map", "revision 3"),
    );
    let panel = scene.panel_with(&[(&hello, 1, "latest/stable")]);
    scene.add("nothing new", panel, refresh(&hello), Ok(1), ("channel-map", "revision 1"));
    let panel = scene.panel_with(&[(&hello, 1, "latest/stable")]);
    scene.add(
        "a switch of channels",
        panel,
        Action::Refresh(hello.id.clone(), Wanted::channel("2/stable")),
        Ok(4),
        ("channel", "2/stable"),
    );
    let panel = scene.panel_with(&[(&own, 1, "latest/stable")]);
    scene.add(
        "it runs what it does not see",
        panel,
        refresh(&own),
        Err("id-not-found"),
        ("snap", "for devices of AcmeStore"),
    );
    let other = scene.world.brand("other");
    let stranger = Device::new(&scene.store, Snapd::V2_57, &other.device(&other.model("box"), "X-1"));
    scene.add(
        "a device of a brand that is unknown",
        stranger,
        install("hello", "stable"),
        Ok(1),
        ("scope", "No metadata of its brand"),
    );
    let stranger =
        Device::new(&scene.store, Snapd::V2_57, &other.device(&other.model_in("box", "AcmeStore"), "X-2"));
    scene.add(
        "it names a store of somebody else",
        stranger,
        install("own", "stable"),
        Err("name-not-found"),
        ("snap", "for devices of AcmeStore"),
    );
    scene
}

#[test]
fn every_situation_is_explained_as_it_is_answered() {
    let Scene { store, brand, world: _world, mut serials, situations } = scene();
    println!("| {:<45} | {:<20} | {:<20} | explained by", "situation", "on the wire", "explained");
    let count = situations.len();
    for Situation { name, mut device, action, snap, more, meant, told } in situations {
        let wire = on_the_wire(&mut device, &action);
        let identity = device.identity.as_ref().expect("a registered device").name();
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let ran = store.proxy(&[&["explain", &identity, &snap, "--json"], &more[..]].concat());
        let explained: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{name}: {ran:?}"));
        let answer: Answer = match explained["gets"]["revision"].as_u64() {
            Some(number) => Ok(number),
            None => Err(explained["code"].as_str().unwrap_or_default().to_owned()),
        };
        let text = |answer: &Answer| match answer {
            Ok(number) => format!("revision {number}"),
            Err(code) => code.clone(),
        };
        println!("| {name:<45} | {:<20} | {:<20} | {}", text(&wire), text(&answer), explained["answer"]);
        assert_eq!(wire, meant, "{name}: the wire");
        assert_eq!(answer, wire, "{name}: {explained:#}");
        assert_eq!(ran.code, Some(i32::from(wire.is_err())), "{name}");
        let steps = explained["steps"].as_array().expect("steps");
        let says = |step: &&Value| {
            step["subject"] == told.0 && step["says"].as_str().is_some_and(|says| says.contains(told.1))
        };
        assert!(steps.iter().any(|step| says(&step)), "{name}: no {told:?} in {explained:#}");
        if let Err(code) = &wire {
            assert_eq!(explained["last-miss"]["code"], **code, "{name}: {explained:#}");
        }
    }
    assert!(count >= 20);

    // A device that is blocked after it was seen, and one that never was.
    serials += 1;
    let identity = brand.device(&brand.model("panel"), &format!("SN-{serials}"));
    let mut device = Device::new(&store, Snapd::V2_77, &identity);
    device.install("hello", "stable").expect("it is served");
    let explain = |serial: &str| store.proxy(&["explain", &format!("acme/panel/{serial}"), "hello"]);
    let serial = format!("SN-{serials}");
    assert_eq!(explain(&serial).code, Some(0));
    store.block(&identity);
    assert_eq!(on_the_wire(&mut device, &install("hello", "stable")), Err("device-blocked".into()));
    let told = explain(&serial);
    assert!(told.code == Some(1) && told.stdout.contains("device-blocked"), "{told:?}");
    let _ = store.proxy(&["disable-airgap-mode"]).ok();
    assert_eq!(on_the_wire(&mut device, &install("hello", "stable")), Err("unavailable".into()));
    let told = explain(&serial);
    assert!(told.code == Some(1) && told.stdout.contains("unavailable"), "{told:?}");
    let _ = store.proxy(&["enable-airgap-mode"]).ok();
    let told = explain("SN-NEVER");
    assert!(told.code == Some(1) && told.stdout.contains("never seen here"), "{told:?}");
    for wrong in
        [&["explain", "acme/panel", "hello"][..], &["explain", "acme/panel/1", "hello", "--channel", "a/b/c"]]
    {
        assert_eq!(store.proxy(wrong).code, Some(2), "{wrong:?}");
    }
}
