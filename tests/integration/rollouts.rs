//! Rollouts on the wire: who is offered what by every route, and what stops one (M17 to M20).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::device::{Action, Device, Dialect, Installed, Snapd, Wanted};
use tests::postgres::Cluster;
use tests::server::{Server, Setup};
use tests::world::{Brand, Snap, World};

/// How long something may take that happens by itself.
const SOON: Duration = Duration::from_secs(60);

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

/// The channel of the newest release in the store's list, as that login reads it.
fn newest(scene: &Scene, token: &str) -> Value {
    let mut reader = Device::anonymous(&scene.store, Snapd::V2_77);
    let response = reader.call(|device| {
        let mut headers = device.headers(Dialect::V2, "application/json");
        headers.insert("Authorization", format!("Macaroon {token}"));
        device.request("GET", "/api/v2/stores/AcmeStore/snaps", &headers, None)
    });
    response.expect("an answer").json()["snaps"][0]["latest-release"]["channel"].clone()
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

/// A clock that a test sets ahead.
struct Clock<'a>(&'a Path);

impl Clock<'_> {
    fn set(&self, hours: f64) {
        fs::write(self.0, format!("{}", (hours * 3600.0) as i64)).expect("a file");
    }
}

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

#[test]
fn what_cannot_be_planned_says_why() {
    let scene = Scene::new(Setup::default());
    let _device = scene.device("in-1");
    let plan = |more: &[&str]| {
        let first = ["rollout", "plan", "spring", "--snap", "hello", "--revision"];
        scene.store.proxy(&[&first[..], more].concat())
    };
    for (more, complaint) in [
        (&["7", "--wave", "100%"][..], "revision 7 of hello is not held"),
        (&["1", "--wave", "100%"], "revision 1 is released in latest/stable of hello already"),
        (&["2", "--wave", "group=lab"], "there is no group lab"),
        (&["2", "--wave", "100%", "--channel", "3/stable"], "nothing is released in 3/stable of hello"),
    ] {
        let refused = plan(more).refused();
        assert!(refused.contains(complaint), "{more:?}: {refused}");
    }
    let refused = scene.store.proxy(&["group", "add", "none", "--apply"]).refused();
    assert!(refused.contains("group none would have no rule"), "{refused}");
    let shown = scene.store.proxy(&["group", "add", "none", "--serial", "x*"]).ok();
    assert!(shown.contains("0 of 1 devices that were seen"), "{shown}");
    assert!(scene.store.proxy(&["group", "list"]).ok().contains("There is no group"), "a plan saves nothing");
    scene.group("none", "x*");
    let _ = plan(&["2", "--wave", "group=none", "--wave", "100%"]).ok();
    let refused = scene.store.proxy(&["rollout", "start", "spring"]).refused();
    assert!(refused.contains("the first wave, group=none, takes no device"), "{refused}");
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

#[test]
fn it_offers_in_its_windows_only() {
    let folder = tempfile::tempdir().expect("there is room");
    let clock = Clock(&folder.path().join("clock"));
    clock.set(0.0);
    let scene = Scene::new(Setup::default().clock(clock.0));
    let (mut first, mut second) = (scene.device("in-1"), scene.device("in-2"));
    scene.group("lab", "in-*");
    // The hour that comes five hours from now, in a zone that has no clock changes.
    let hour = |ahead: u64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        (now / 3600 + ahead + 4) % 24
    };
    let window = format!("daily {:02}:00-{:02}:00", hour(5), (hour(5) + 2) % 24);
    let zone = ["--window", &window, "--zone", "Asia/Dubai", "--max-failed", "100%", "--max-silent", "100%"];
    scene.start(&["group=lab", "100%"], &zone);
    let shown = scene.rollout();
    assert_eq!(shown["windows"], format!("{window} (Asia/Dubai)"));
    let next = shown["next-window"].as_str().expect("a window is to come").to_owned();
    assert_eq!((refreshed(&mut first), refreshed(&mut second)), (1, 1), "before the window");
    for said in [&["rollout", "why", "acme/gateway/in-1"][..], &["explain", "acme/gateway/in-1", "hello"]] {
        let said = scene.store.proxy(said).ok();
        assert!(said.contains(&window) && said.contains(&next), "{next}: {said}");
    }
    let (_, token) = scene.store.login("AcmeStore", "package_access,store_admin");
    all_are(&offers(&mut second), 1, "before the window");
    clock.set(6.0);
    assert_eq!(scene.rollout()["next-window"], Value::Null);
    assert_eq!(takes(&mut first), 2, "in the window");
    all_are(&offers(&mut second), 2, "in the window");
    assert_eq!(dashboard(&scene, &token), 1, "the first wave is not everybody");
    let _ = scene.store.proxy(&["rollout", "next", "spring"]).ok();
    assert_eq!((dashboard(&scene, &token), newest(&scene, &token)), (2, json!("latest/stable")));
    clock.set(9.0);
    assert_eq!(refreshed(&mut first), 2, "it keeps it");
    all_are(&offers(&mut second), 1, "after the window");
    assert_eq!((dashboard(&scene, &token), newest(&scene, &token)), (1, json!("latest/candidate")));

    let plan = |more: &[&str]| {
        let plan = ["rollout", "plan", "summer", "--snap", "hello", "--to", "2", "--wave", "100%"];
        scene.store.proxy(&[&plan, more].concat()).refused()
    };
    let _ = scene.store.proxy(&["rollout", "back", "spring"]).ok();
    let refused = plan(&["--window", "mon 01:00-02:00", "--zone", "Europe/Atlantis"]);
    assert!(
        refused.contains("there is no time zone \"Europe/Atlantis\": name one such as Europe/Vienna"),
        "{refused}"
    );
}

#[test]
fn a_plan_is_simulated_and_travels() {
    let scene = Scene::new(Setup::default());
    for number in 1..=4 {
        let _device = scene.device(&format!("SN-{number}"));
    }
    scene.group("first", "SN-1");
    let plan = [
        "rollout",
        "plan",
        "spring",
        "--snap",
        "hello",
        "--to",
        "2",
        "--soak",
        "24h",
        "--wave",
        "group=first",
    ];
    let _ = scene.store.proxy(&[&plan[..], &["--wave", "100%"]].concat()).ok();
    let simulated = scene.store.proxy(&["rollout", "simulate", "spring", "--json"]).json();
    let counts = |at: usize| ["devices", "done", "silent"].map(|count| simulated["waves"][at][count].clone());
    assert_eq!(
        (counts(0), counts(1)),
        ([json!(1), json!(1), json!(0)], [json!(3), json!(3), json!(0)]),
        "{simulated}"
    );
    assert_eq!(simulated["state"], "finished", "{simulated}");
    let moment = |text: &Value| {
        let text = text.as_str().expect("a moment");
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).expect("a moment")
    };
    let hours = |at: &Value| (moment(at) - moment(&simulated["from"])).whole_hours();
    // They come each six hours: offered at the first visit, done at the second, and then it soaks.
    let waves = &simulated["waves"];
    assert!((11..=12).contains(&hours(&waves[0]["all-done"])), "{simulated}");
    assert!((36..=38).contains(&hours(&waves[1]["opens"])), "{simulated}");
    assert!((72..=76).contains(&hours(&simulated["ends"])), "{simulated}");
    assert_eq!(scene.rollout()["state"], "planned", "nothing has changed");

    // Another store with the same snap and group takes the same devices.
    let exported = scene.store.proxy(&["rollout", "export", "spring"]).ok();
    let other = Scene::new(Setup::default());
    other.store.with_file("spring.json", exported.as_bytes(), |file| {
        let refused = other.store.proxy(&["rollout", "import", file]).refused();
        assert!(refused.contains("there is no group first"), "{refused}");
        other.group("first", "SN-1");
        let _ = other.store.proxy(&["rollout", "import", file]).ok();
    });
    let places = |store: &Server| -> Vec<Value> {
        let place = |number| {
            let target = format!("/v1/rollout-reasons?device=acme/gateway/SN-{number}");
            store.admin("GET", &target, &[]).json()["rollouts"][0]["place"].clone()
        };
        (1..=20).map(place).collect()
    };
    assert_eq!(places(&other.store), places(&scene.store));
    let refused = other
        .store
        .with_file("not.json", b"{}", |file| other.store.proxy(&["rollout", "import", file]).refused());
    assert!(refused.contains("is no export: `proxy rollout export NAME"), "{refused}");
}
