//! Rollouts on the wire: who is offered what by every route (M17, M19), what stops one, when it offers, and where its plan goes.

mod gates;
mod plans;
mod windows;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::device::{Action, Device, Dialect, Installed, Snapd, Wanted};
use tests::postgres::Cluster;
use tests::server::{Server, Setup};
use tests::world::{Brand, Snap, World};

/// How long something may take that happens by itself: the job that does it comes each minute.
const SOON: Duration = Duration::from_secs(150);

/// A store of `hello` with revision 1 in stable and 2 in candidate.
struct Scene {
    world: World,
    brand: Brand,
    hello: Snap,
    store: Server,
}

impl Scene {
    fn new(setup: Setup) -> Self {
        let (world, store) = (World::new(), setup.start());
        store.trust(&world);
        let brand = world.brand("acme");
        let hello = world.snap("hello").publisher("acme");
        store.push_brand(&brand);
        store.push_pair(&hello.revision(1), &["latest/stable"], "AcmeStore");
        store.push_pair(&hello.revision(2), &["latest/candidate"], "AcmeStore");
        store.push_store("AcmeStore", "acme", &[&hello]);
        Self { world, brand, hello, store }
    }

    /// A device that runs revision 1 from stable, and was seen.
    fn device(&self, serial: &str) -> Device {
        let identity = self.brand.device(&self.brand.model_in("gateway", "AcmeStore"), serial);
        let mut device = Device::new(&self.store, Snapd::V2_77, &identity).trusting(&self.world);
        device.installed = vec![Installed::new("hello", &self.hello.id, 1, "latest/stable")];
        let _ = refreshed(&mut device);
        device
    }

    /// Plans and starts a rollout of revision 2 into stable.
    fn start(&self, waves: &[&str], more: &[&str]) {
        let mut args = vec!["rollout", "plan", "spring", "--snap", "hello", "--revision", "2"];
        waves.iter().for_each(|wave| args.extend(["--wave", wave]));
        let _ = self.store.proxy(&[&args, more].concat()).ok();
        let _ = self.store.proxy(&["rollout", "start", "spring"]).ok();
    }

    fn group(&self, name: &str, serial: &str) {
        let _ = self.store.proxy(&["group", "add", name, "--serial", serial, "--apply"]).ok();
    }

    /// Has what waits in memory written down, so that visits at different times are told apart.
    fn note(&self) {
        let _ = self.store.proxy(&["list-devices"]).ok();
    }

    fn rollout(&self) -> Value {
        self.store.proxy(&["rollout", "show", "spring", "--json"]).json()
    }

    /// Waits until the rollout is as it should be by itself.
    fn until(&self, is: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let rollout = self.rollout();
            if is(&rollout) {
                return rollout;
            }
            assert!(begun.elapsed() < SOON, "it never came: {rollout}");
        }
    }
}

/// A clock that a test sets ahead.
struct Clock<'a>(&'a Path);

impl Clock<'_> {
    fn set(&self, hours: f64) {
        fs::write(self.0, format!("{}", (hours * 3600.0) as i64)).expect("a file");
    }
}

/// The revision that a device gets at its refresh.
fn refreshed(device: &mut Device) -> u32 {
    let id = device.installed[0].instance_key.clone();
    device.act_on_one(Action::Refresh(id, Wanted::default())).expect("a refresh").snap.revision
}

/// Each device asks once.
fn all_come(fleet: &mut [Device]) {
    for device in fleet {
        let _ = refreshed(device);
    }
}

/// A device takes what it gets, and says so at its next contact.
fn takes(device: &mut Device) -> u32 {
    device.installed[0].revision = refreshed(device);
    refreshed(device)
}

/// The revision of `hello` that a caller is offered from stable, by every route that names one.
fn offers(device: &mut Device) -> Vec<(&'static str, u32)> {
    let mut offers = Vec::new();
    if !device.installed.is_empty() {
        offers.push(("refresh", refreshed(device)));
    }
    for (route, action) in [
        ("install", Action::Install("hello".into(), Wanted::channel("stable"))),
        ("download", Action::Download("hello".into(), Wanted::channel("latest/stable"))),
        ("default", Action::Install("hello".into(), Wanted::default())),
        // Nothing is in this branch, so it ends in stable.
        ("branch", Action::Install("hello".into(), Wanted::channel("stable/fix"))),
    ] {
        offers.push((route, device.act_on_one(action).expect(route).snap.revision));
    }
    let info = device.info("hello").expect("an info");
    let stable = info.channels.iter().find(|(channel, _)| channel == "latest/stable");
    offers.push(("info", stable.expect("stable").1));
    let found = device.find("hello").expect("hits");
    offers.push(("find", found[0].revision));
    let stable = device.call(|device| device.find_get(&[("channel", "stable"), ("q", "hello")]));
    let stable = stable.expect("an answer").json();
    offers.push(("find stable", number(&stable["results"][0]["revision"]["revision"])));
    let names = device.call(|device| device.catalogue_get("/api/v1/snaps/names")).expect("names").json();
    let version =
        names["_embedded"]["clickindex:package"][0]["version"].as_str().expect("a version").to_owned();
    offers.push(("names", version.parse().expect("the version is the revision")));
    offers
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).unwrap_or_else(|| panic!("{value}"))
}

/// What a login of the store reads.
fn dashboard(scene: &Scene, token: &str) -> u32 {
    let mut reader = Device::anonymous(&scene.store, Snapd::V2_77);
    let response = reader.call(|device| {
        let mut headers = device.headers(Dialect::V2, "application/json");
        headers.insert("Authorization", format!("Macaroon {token}"));
        device.request("GET", "/v2/snaps/info/hello?fields=revision", &headers, None)
    });
    let info = response.expect("an answer").json();
    let map = info["channel-map"].as_array().expect("a map");
    number(&map.iter().find(|entry| entry["channel"]["risk"] == "stable").expect("stable")["revision"])
}

fn all_are(offers: &[(&'static str, u32)], revision: u32, when: &str) {
    assert!(offers.iter().all(|(_, offered)| *offered == revision), "{when}, not {revision}: {offers:?}");
    assert!(offers.len() >= 8, "{offers:?}");
}

fn outside_is_offered_nothing(setup: Setup) {
    let mut scene = Scene::new(setup);
    let (mut inside, mut outside) = (scene.device("in-1"), scene.device("out-1"));
    let mut anonymous = inside.clone();
    let (_, token) = scene.store.login("AcmeStore", "package_access");
    (anonymous.installed, anonymous.identity, anonymous.session) = (Vec::new(), None, None);
    let hidden = |anonymous: &mut Device| anonymous.install("hello", "stable").is_err();
    assert!(hidden(&mut anonymous), "the snap is the store's own");
    scene.group("lab", "in-*");
    let _ = scene
        .store
        .proxy(&[
            "rollout",
            "plan",
            "spring",
            "--snap",
            "hello",
            "--to",
            "2",
            "--wave",
            "group=lab",
            "--wave",
            "100%",
        ])
        .ok();
    all_are(&offers(&mut inside), 1, "planned");
    let _ = scene.store.proxy(&["rollout", "start", "spring"]).ok();

    for when in ["started", "restarted", "resumed"] {
        all_are(&offers(&mut inside), 2, when);
        all_are(&offers(&mut outside), 1, when);
        assert_eq!(dashboard(&scene, &token), 1, "{when}");
        match when {
            "started" => {
                scene.store = scene.store.kill().start();
                inside.move_to(&scene.store);
                outside.move_to(&scene.store);
            }
            "restarted" => {
                // Nothing leads there: no import, no command, and no claim of the device.
                scene.store.push_pair(&scene.hello.revision(3), &["latest/stable"], "AcmeStore");
                for command in [
                    &["release", "hello", "2", "stable", "--apply"][..],
                    &["close-channel", "hello", "stable", "--apply"],
                    &["back", "1", "--apply"],
                    &["remove-snap", "hello", "--revision", "2", "--apply"],
                    &["group", "add", "lab", "--serial", "*", "--apply"],
                    &["group", "remove", "lab"],
                    &["rollout", "start", "spring"],
                ] {
                    let refused = scene.store.proxy(command).refused();
                    assert!(refused.contains("spring"), "{command:?}: {refused}");
                }
                outside.installed[0].revision = 2;
                assert_eq!(refreshed(&mut outside), 1, "a device that claims to have it");
                outside.installed[0].revision = 1;
                all_are(&offers(&mut outside), 1, "after all that");

                // Paused, only those keep it that have it.
                let _ = scene.store.proxy(&["rollout", "pause", "spring"]).ok();
                all_are(&offers(&mut inside), 1, "paused");
                inside.installed[0].revision = 2;
                assert_eq!(refreshed(&mut inside), 2, "it keeps it");
                inside.installed[0].revision = 1;
                let _ = scene.store.proxy(&["rollout", "resume", "spring"]).ok();
            }
            _ => {}
        }
    }

    // What is asked for by number, and an override, win.
    let by_number = Action::Install("hello".into(), Wanted::revision(2));
    assert_eq!(outside.act_on_one(by_number).expect("held").snap.revision, 2);
    let _ = scene.store.proxy(&["override", "hello", "stable=1"]).ok();
    all_are(&offers(&mut inside), 1, "overridden");
    let _ = scene.store.proxy(&["delete-override", "hello", "stable"]).ok();

    let why = |device: &str| scene.store.proxy(&["rollout", "why", device]).ok();
    assert!(
        why("acme/gateway/in-1").contains("wave 1, which is open: from latest/stable it gets revision 2")
    );
    assert!(why("acme/gateway/out-1").contains("wave 2, which is not open"), "{}", why("acme/gateway/out-1"));
    let explained = scene.store.proxy(&["explain", "acme/gateway/in-1", "hello"]).ok();
    assert!(explained.contains("because of a rollout"), "{explained}");

    // The last wave is everybody, and the end is a release.
    let _ = scene.store.proxy(&["rollout", "next", "spring"]).ok();
    all_are(&offers(&mut outside), 2, "the last wave");
    assert_eq!(dashboard(&scene, &token), 2);
    let _ = scene.store.proxy(&["rollout", "next", "spring"]).ok();
    assert_eq!(scene.rollout()["state"], "finished");
    all_are(&offers(&mut outside), 2, "finished");
    let log = scene.store.proxy(&["log", "hello", "--last", "1"]).ok();
    assert!(log.contains("hello latest/stable all 1 → 2"), "{log}");
    assert!(hidden(&mut anonymous));
}

#[test]
fn attack_a_device_outside_a_wave_is_offered_nothing_by_any_route() {
    outside_is_offered_nothing(Setup::default());
}

#[test]
fn attack_a_device_outside_a_wave_is_offered_nothing_with_postgresql() {
    outside_is_offered_nothing(Setup::default().config("proxy.db.connection", &database()));
}

fn database() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(Cluster::shared().database()).expect("a database")
}

#[test]
fn two_servers_decide_the_same() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().to_str().expect("a path of text");
    let setup =
        Setup::default().config("proxy.db.connection", &database()).config("proxy.storage.path", path);
    let mut scene = Scene::new(setup.clone());
    let second = setup.start();
    let mut fleet: Vec<Device> = (1..=4).map(|number| scene.device(&format!("SN-{number}"))).collect();
    scene.group("first", "SN-1");
    scene.start(&["group=first", "50%", "100%"], &[]);
    let _ = scene.store.proxy(&["rollout", "next", "spring"]).ok();
    let decided = |server: &Server| -> Vec<Value> {
        let reasons = (1..=200).map(|number| {
            let target = format!("/v1/rollout-reasons?device=acme/gateway/SN-{number}");
            server.admin("GET", &target, &[]).json()["rollouts"][0].clone()
        });
        reasons.collect()
    };
    let here = decided(&scene.store);
    let open = here.iter().filter(|reason| reason["open"] == true).count();
    assert!((60..140).contains(&open), "{open} of 200");
    let revision = |at: usize| if here[at]["open"] == true { 2 } else { 1 };
    for (at, device) in fleet.iter_mut().enumerate() {
        assert_eq!(refreshed(device), revision(at));
        device.move_to(&second);
        let begun = Instant::now();
        while refreshed(device) != revision(at) {
            assert!(begun.elapsed() < SOON, "the other server decides otherwise");
        }
    }
    assert_eq!(decided(&second), here);
    scene.store = scene.store.kill().start();
    assert_eq!(decided(&scene.store), here, "after a restart");
}
