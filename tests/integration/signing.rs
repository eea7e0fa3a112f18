//! A factory without internet: keys that are made on site, and serials that devices get from the store.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use schema::assertion::{Anchors, Assertion, AssertionType, Builder, Checker, KeyTime, check_batch};
use serde_json::Value;
use tempfile::TempDir;
use tests::device::{Device, Snapd};
use tests::factory::{Newborn, account_key, signer_of};
use tests::http::{Request, Response};
use tests::postgres::Cluster;
use tests::serials::{DeviceService, answer};
use tests::server::{SECRET, Server, Setup, proxy};
use tests::world::{Brand, SINCE, World, stream};

use crate::registration::recorded;

/// The longest that anything may take here; a key of 4096 bits takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store that knows the brand, with a key that signs its serials.
pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) brand: Brand,
    pub(crate) store: Server,
    pub(crate) model: Assertion,
}

impl Site {
    fn new() -> Self {
        Self::on(Setup::default().start())
    }

    pub(crate) fn on(store: Server) -> Self {
        let world = World::new();
        let brand = world.brand("acme");
        store.trust(&world);
        store.push_brand(&brand);
        store.make_key(&world, "factory-1", "acme");
        let model = brand.model_in("gateway", "AcmeStore");
        Self { world, brand, store, model }
    }

    pub(crate) fn add(&self, args: &[&str]) {
        let _ =
            self.store.proxy(&[&["models", "add", "acme/gateway", "--key", "factory-1"], args].concat()).ok();
    }

    pub(crate) fn list(&self, csv: &str) {
        self.store.with_file("serials.csv", csv.as_bytes(), |path| {
            self.add(&["--serial", "listed", "--list", path]);
        });
    }

    pub(crate) fn device(&self, name: &str) -> Newborn {
        Newborn::new(&self.model, self.world.key(&format!("device-{name}")))
    }
}

pub(crate) fn serial_of(device: &Newborn, answer: &Response) -> String {
    device.serial(answer).text("serial").expect("a serial has one").to_owned()
}

/// Asserts that an answer refuses by this check, in the form that snapd shows to people.
pub(crate) fn assert_refused(answer: &Response, status: u16, check: &str) {
    assert_eq!(answer.status, status, "{check}: {}", answer.text());
    assert_eq!(answer.header("Content-Type"), Some("application/json"), "{check}");
    let body = answer.json();
    assert_eq!(body["error_list"][0]["code"], check, "{body}");
    assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
}

fn promised(store: &Server) -> u32 {
    let answer = store.send(&Request::new("HEAD", "/", store.host()));
    answer.header("Snap-Store-Version").and_then(|text| text.parse().ok()).expect("a number")
}

pub(crate) fn state(store: &Server, name: &str) -> Value {
    let keys = store.proxy(&["keys", "list", "--json"]).json();
    let found = keys["keys"].as_array().expect("a list").iter().find(|key| key["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {keys}")).clone()
}

#[test]
fn a_factory_without_internet_gives_devices_their_serials() {
    let world = World::new();
    let (brand, store) = (world.brand("acme"), Setup::default().start());
    store.trust(&world);
    store.push_brand(&brand);
    let gateway = world.snap("acme-gateway").publisher("acme");
    store.push_pair(&gateway.revision(5), &["latest/stable"], "AcmeStore");
    store.push_store("AcmeStore", "acme", &[&gateway]);
    let device = Newborn::new(&brand.model_in("gateway", "AcmeStore"), world.key("device-a"));

    // The store makes a key, and prints what the connected side registers.
    let _ = store.proxy(&["keys", "create", "factory-1", "--for", "serial", "--account", "acme"]).ok();
    let request = store.proxy(&["keys", "request", "factory-1"]).ok();
    assert_eq!(state(&store, "factory-1")["state"], "requested");
    let given = Arc::new(Mutex::new(Vec::new()));
    let dashboard = {
        let (given, world) = (Arc::clone(&given), world.clone());
        DeviceService::start(move |received| {
            let body: Value = serde_json::from_slice(&received.body).expect("JSON");
            let text = body["account_key_request"].as_str().expect("a request");
            let request = Assertion::decode(text.as_bytes()).expect("a document");
            assert_eq!(received.path(), "/dev/api/account/account-key");
            given.lock().expect("not poisoned").push(account_key(&world, &request));
            answer("200 OK", "application/json", b"{}")
        })
    };
    let laptop = TempDir::new().expect("there is room");
    let url = format!("proxy.dashboard.location={}", dashboard.url.trim_end_matches("/v1"));
    let _ = proxy(laptop.path(), &["config", &url]).ok();
    let login = store.login("AcmeStore", "package_access").1;
    let said = store.with_file("acme.login", login.as_bytes(), |login| {
        store.with_file("factory-1.request", request.as_bytes(), |request| {
            proxy(laptop.path(), &["register-key", request, login]).ok()
        })
    });
    assert!(said.contains("factory-1") && said.contains("proxy fetch-account-keys acme "), "{said}");

    // Before its account-key is here, nothing is signed.
    let _ = store
        .proxy(&[
            "models",
            "add",
            "acme/gateway",
            "--key",
            "factory-1",
            "--serial",
            "proposed",
            "--pattern",
            "G-[0-9]+",
        ])
        .ok();
    let device = device.proposing("G-1");
    assert_refused(&device.register(&store), 403, "policy");
    let key = given.lock().expect("not poisoned").pop().expect("the dashboard was asked");
    let carried = stream(&[world.store_key(), world.account("acme"), key]);
    let _ = store.with_file("keys.assert", &carried, |path| store.proxy(&["push-account-keys", path]).ok());
    assert_eq!(state(&store, "factory-1")["state"], "ready");

    // A device gets its serial, with everything that it needs to check it.
    let given = device.register(&store);
    assert_eq!(given.header("Content-Type"), Some("application/x.ubuntu.assertion"));
    let identity = device.identity(&given);
    assert_eq!(identity.serial.text("serial"), Some("G-1"));
    let anchors = Anchors::none().with_stream(&world.anchors()).expect("anchors");
    let checker = Checker { anchors: &anchors, source: &anchors, time: KeyTime::DocumentTime };
    let documents = Assertion::decode_stream(&given.body).expect("a stream");
    assert!(documents.iter().any(|found| found.kind() == AssertionType::AccountKey));
    let outcome = check_batch(documents, &checker).expect("nothing else is needed to check it");
    assert!(outcome.verified.iter().any(|found| found.kind() == AssertionType::Serial));

    // With it the device gets a session, and sees what its brand's store grants.
    let mut snapd = Device::new(&store, Snapd::V2_77, &identity).trusting(&world);
    let installed = snapd.install_for_good("acme-gateway", "stable").expect("a snap of the brand");
    assert_eq!(installed.snap.revision, 5);

    assert_eq!(state(&store, "factory-1")["signed"], 1);
    let shown = store.proxy(&["serials", "show", "acme/gateway/G-1"]).ok();
    assert!(shown.contains("type: serial"), "{shown}");
    let csv = store.proxy(&["serials", "export", "--csv"]).ok();
    assert!(csv.lines().nth(1).is_some_and(|line| line.starts_with("acme,gateway,G-1,")), "{csv}");
    let audit = store.proxy(&["audit"]).ok();
    for action in ["create-key", "request-key", "add-model", "issue-serial"] {
        assert!(audit.contains(action), "{action} in {audit}");
    }

    // As the service that a gadget names, too.
    let paths = ["/request-id", "/serial"];
    let gadget = Newborn { paths, ..Newborn::new(&device.model, world.key("device-b")).proposing("G-2") };
    assert_eq!(serial_of(&gadget, &gadget.register(&store)), "G-2");
    let named = Newborn::new(&device.model, world.key("device-c")).proposing("G-3");
    let named = named.showing("X-Snap-Device-Service-URL", "https://serials.example/v1");
    assert_eq!(serial_of(&named, &named.register(&store)), "G-3");

    // Closed, it registers nobody, and says so to snapd.
    assert!(promised(&store) >= 6);
    let _ = store.proxy(&["models", "close", "acme/gateway"]).ok();
    assert!(promised(&store) < 6);
    assert_eq!(device.ask_id(&store).status, 404);
    let _ = store.proxy(&["keys", "retire", "factory-1"]).ok();
    assert_eq!(state(&store, "factory-1")["state"], "retired");
    let again =
        store.proxy(&["keys", "create", "factory-1", "--for", "serial", "--account", "acme"]).refused();
    assert!(again.contains("never used again"), "{again}");
}

#[test]
fn attack_what_is_no_honest_request_gets_no_serial() {
    let site = Site::new();
    let (store, device) = (&site.store, site.device("a").showing("api-key", "wrong-wrong"));
    let brief = store.with_file("brief.key", b"x\n", |path| {
        store.proxy(&[
            "models",
            "add",
            "acme/gateway",
            "--key",
            "factory-1",
            "--serial",
            "assigned",
            "--api-key-file",
            path,
        ])
    });
    assert!(brief.refused().contains("/brief.key: "));
    store.with_file("line.key", b"right-right\n", |path| {
        site.add(&["--serial", "assigned", "--api-key-file", path])
    });
    let shown = store.proxy(&["models", "show", "acme/gateway", "--json"]).ok();
    assert!(shown.contains("api-key") && !shown.contains("right-right"), "{shown}");

    assert_refused(&device.register(store), 403, "api-key");
    assert_refused(&site.device("a").register(store), 403, "api-key");
    let device = site.device("a").showing("Api-Key", "right-right");
    let id = device.id(store);
    let documents = device.documents(&id);
    let serial = serial_of(&device, &device.post(store, &documents));
    // The same request again is the device that lost the answer; another one with its id is somebody else's.
    assert_eq!(serial_of(&device, &device.post(store, &documents)), serial);
    let thief = site.device("b").showing("api-key", "right-right");
    assert_refused(&thief.post(store, &thief.documents(&id)), 400, "request-id");

    let refused = |documents: &[Assertion], status, check| {
        assert_refused(&device.post(store, &stream(documents)), status, check);
    };
    let fresh = || device.request_of(&device.id(store));
    let model = || device.model.clone();
    // Signed by another key than the one that it brings.
    let content = fresh().content(device.key.public().id());
    let forged = [&content[..], b"\n\n", thief.key.sign(&content, 0).as_bytes(), b"\n"].concat();
    refused(&[Assertion::decode(&forged).expect("a document"), model()], 400, "request-signature");
    // An id of nobody, of another store, and none.
    for id in ["rq-1", &"A".repeat(54)] {
        refused(&[device.request_of(id).sign(&device.key), model()], 400, "request-id");
    }
    // What real devices sent elsewhere is read and verified, and has an id of another store.
    for exchange in ["2.57.6", "2.77"].into_iter().flat_map(recorded) {
        if exchange.path().ends_with("/devices") {
            let mut request = exchange.request.clone();
            request.replace("Host", Some(store.host()));
            assert_refused(&store.send(&request), 400, "request-id");
        }
    }
    // A model of another brand, one that nobody vouches for, and one of which it is not.
    let bolt = site.world.brand("bolt");
    refused(&[fresh().sign(&device.key), bolt.model("gateway")], 403, "model");
    let forged = site.brand.model_of("gateway").sign(&site.world.key("acme-nobody"));
    refused(&[fresh().sign(&device.key), forged], 403, "model");
    refused(&[fresh().header("model", "other").sign(&device.key), model()], 403, "request-vs-model");
    refused(&[fresh().header("brand-id", "bolt").sign(&device.key), model()], 403, "request-vs-model");
    let other = site.brand.model("other");
    refused(&[fresh().header("model", "other").sign(&device.key), other], 403, "policy");
    // Documents that do not belong there.
    refused(&[fresh().sign(&device.key)], 400, "types");
    refused(&[model(), fresh().sign(&device.key)], 400, "types");
    refused(&[fresh().sign(&device.key), model(), model()], 400, "types");
    // Part of what it was before.
    let before = fresh()
        .header("original-serial", "1")
        .header("original-model", "m")
        .header("original-brand-id", "acme");
    refused(&[before.sign(&device.key), model()], 400, "types");
    assert_refused(&device.post(store, b"rubbish"), 400, "decode");
    assert_refused(&device.post(store, &vec![b'x'; 2 << 20]), 400, "request-too-large");

    // A key signs for its own account only, unless the model says otherwise.
    store.push_brand(&bolt);
    store.make_key(&site.world, "foreign-1", "bolt");
    let _ =
        store.proxy(&["models", "add", "acme/gateway", "--key", "foreign-1", "--serial", "assigned"]).ok();
    assert_refused(&device.register(store), 403, "serial-authority");
    let shared = site.brand.model_of("gateway").header("serial-authority", vec!["bolt"]);
    let shared = Newborn::new(&shared.sign(&site.brand.model_key()), site.world.key("device-c"));
    assert_eq!(shared.serial(&shared.register(store)).authority_id(), Some("bolt"));
    // Nothing of all this left a serial behind.
    let held = store.proxy(&["serials", "list", "--json"]).json();
    assert_eq!(held["serials"].as_array().map(Vec::len), Some(2), "{held}");
}

#[test]
fn attack_a_model_that_was_good_counts_only_as_it_was_and_while_its_key_does() {
    let site = Site::new();
    let store = &site.store;
    site.add(&["--serial", "assigned"]);
    let device = site.device("a");
    let serial = serial_of(&device, &device.register(store));
    // Another text under the signature of the model that was good.
    let other = site.brand.model_of("gateway").header("store", "OtherStore");
    let forged = other.signed(site.model.sign_key_id(), site.model.signature()).expect("a document");
    let forger = Newborn { model: forged, ..site.device("b") };
    for _ in 0..2 {
        assert_refused(&forger.register(store), 403, "model");
    }
    assert_eq!(serial_of(&device, &device.register(store)), serial);
    // The very model, after its key was revoked.
    let key = site.brand.model_key();
    let revoked = site.world.account_key_of("acme", "models", &key).header("until", SINCE).revision(1);
    let documents = stream(&[site.world.sign(&revoked)]);
    let _ = store.with_file("keys.assert", &documents, |path| store.proxy(&["push-account-keys", path]).ok());
    for name in ["a", "c"] {
        assert_refused(&site.device(name).register(store), 403, "model");
    }
}

#[test]
fn a_serial_whose_key_has_ended_is_signed_again_by_the_key_of_today() {
    let site = Site::new();
    let store = &site.store;
    site.add(&["--serial", "assigned"]);
    let device = site.device("a");
    let first = device.serial(&device.register(store));
    store.make_key(&site.world, "factory-2", "acme");
    let _ =
        store.proxy(&["models", "add", "acme/gateway", "--key", "factory-2", "--serial", "assigned"]).ok();
    let again = device.serial(&device.register(store));
    assert_eq!(again, first, "the key of before still counts");

    let at = format!("/v2/assertions/account-key/{}", first.sign_key_id());
    let held = store.send(&Request::new("GET", &at, store.host()));
    let held = Assertion::decode(&held.body).expect("an account-key");
    let mut ended = Builder::new(AssertionType::AccountKey).revision(1).header("until", SINCE);
    for name in ["authority-id", "public-key-sha3-384", "account-id", "name", "since"] {
        ended = ended.header(name, held.text(name).expect(name));
    }
    let documents = stream(&[site.world.sign(&ended.body(held.body().to_vec()))]);
    let _ = store.with_file("keys.assert", &documents, |path| store.proxy(&["push-account-keys", path]).ok());
    let spent = ["models", "add", "acme/hub", "--key", "factory-1", "--serial", "assigned"];
    let refused = store.proxy(&spent).refused();
    assert!(refused.contains("key factory-1 is revoked and signs nothing: `proxy keys create`"), "{refused}");
    let renewed = device.serial(&device.register(store));
    assert_eq!(renewed.text("serial"), first.text("serial"), "it stays the same device");
    assert_eq!(renewed.revision(), first.revision() + 1);
    assert_ne!(renewed.sign_key_id(), first.sign_key_id());
    assert_eq!(device.serial(&device.register(store)), renewed);
}

#[test]
fn every_serial_of_a_list_is_given_once() {
    let site = Site::new();
    let store = &site.store;
    site.list("serial,hardware-id\nG-1,00:16:3e\nG-2\nG-3\n");
    let register = |device: &Newborn| device.register(store);
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| site.device(name));
    assert_refused(&register(&a.clone().proposing("G-9")), 403, "serial-not-listed");
    assert_refused(&register(&a.clone().proposing("G-1")), 403, "serial-not-listed");
    let board = Newborn { about: "{\"hardware-id\": \"00:16:3e\"}".to_owned(), ..a };
    assert_eq!(serial_of(&board, &register(&board)), "G-1");
    assert_eq!(serial_of(&b, &register(&b.clone().proposing("G-3"))), "G-3");
    assert_refused(&register(&c.clone().proposing("G-3")), 403, "serial-taken");
    assert_eq!(serial_of(&c, &register(&c)), "G-2");
    assert_refused(&register(&d), 403, "serials-used-up");
    let _ = store.proxy(&["block-device", "acme/gateway/G-4", "--unseen"]).ok();
    site.list("G-1\nG-2\nG-3\nG-4\n");
    assert_refused(&register(&d), 403, "blocked");
    let _ = store.proxy(&["unblock-device", "acme/gateway/G-4"]).ok();
    assert_eq!(serial_of(&d, &register(&d)), "G-4");
    let shown = |what: &str| store.proxy(&["models", "show", "acme/gateway", "--json"]).json()[what].clone();
    assert_eq!(shown("left"), 0);
    // What is taken from its device goes to the next one.
    let _ = store.proxy(&["serials", "reissue", "acme/gateway/G-2"]).ok();
    assert_eq!((shown("left"), shown("issued")), (1.into(), 3.into()));
    assert_refused(&register(&c), 403, "serials-used-up");
    let e = site.device("e");
    assert_eq!(serial_of(&e, &register(&e)), "G-2");
    for (csv, wanted) in [("a/b\n", "line 1"), ("G-1\nG-1\n", "listed twice"), ("", "no serial")] {
        let refused = store.with_file("serials.csv", csv.as_bytes(), |path| {
            let args =
                ["models", "add", "acme/gateway", "--key", "factory-1", "--serial", "listed", "--list", path];
            store.proxy(&args).refused()
        });
        assert!(refused.contains(wanted), "{refused}");
    }
}

#[test]
fn a_device_keeps_its_serial_whatever_it_proposes_later() {
    let site = Site::new();
    let (store, device) = (&site.store, site.device("a"));
    site.add(&["--serial", "proposed", "--pattern", "G-[0-9]"]);
    assert_eq!(serial_of(&device, &device.clone().proposing("G-1").register(store)), "G-1");
    assert_eq!(serial_of(&device, &device.register(store)), "G-1", "it proposes none");
    assert_refused(&site.device("b").register(store), 403, "serial");
    site.add(&["--serial", "proposed", "--pattern", "H-[0-9]"]);
    assert_eq!(serial_of(&device, &device.clone().proposing("G-1").register(store)), "G-1");
    assert_refused(&site.device("b").proposing("G-2").register(store), 403, "serial");
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
    }
}

#[test]
fn attack_one_device_key_has_one_serial_whatever_breaks() {
    let site = Site::new();
    site.add(&["--serial", "assigned"]);
    let (store, device) = (&site.store, site.device("a"));
    let signal = |pid, signal| kill(Pid::from_raw(pid), signal).expect("a child of the server");
    let documents = device.documents(&device.id(store));
    // The signer dies while the request is in its hands.
    let signer = signer_of(store).expect("the signer runs");
    signal(signer, Signal::SIGSTOP);
    let reserved = || store.proxy(&["serials", "list", "--json"]).json()["serials"][0].clone();
    let interrupted = std::thread::scope(|scope| {
        let posted = scope.spawn(|| device.post(store, &documents));
        until("the serial is reserved", || reserved().is_object());
        signal(signer, Signal::SIGKILL);
        posted.join().expect("an answer")
    });
    assert_refused(&interrupted, 503, "unavailable");
    let reserved =
        reserved()["device"].as_str().and_then(|name| name.rsplit('/').next()).expect("a name").to_owned();
    assert_eq!(serial_of(&device, &device.post(store, &documents)), reserved);
    assert_ne!(signer_of(store), Some(signer));
    // It lost the answer, and begins anew; so does the server.
    assert_eq!(serial_of(&device, &device.register(store)), reserved);
    let given = device.register(store).body;
    let store = site.store.kill().start();
    let again = device.register(&store);
    assert_eq!(serial_of(&device, &again), reserved);
    assert_eq!(again.body, given, "to the byte");
    // Another device, another serial.
    let other = site.world.key("device-b");
    let other = Newborn::new(&site.model, other);
    assert_ne!(serial_of(&other, &other.register(&store)), reserved);
}

#[test]
fn attack_two_servers_give_one_device_one_serial() {
    let folder = TempDir::new().expect("there is room");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = runtime.block_on(Cluster::shared().database()).expect("a database");
    let setup = Setup::default()
        .config("proxy.db.connection", &database)
        .config("proxy.storage.path", folder.path().to_str().expect("a path of text"))
        .config("proxy.signing.secret", SECRET);
    let (site, second) = (Site::on(setup.clone().start()), setup.start());
    site.add(&["--serial", "assigned"]);
    until("the second server knows the model", || promised(&second) >= 6);
    let servers = [&site.store, &second];
    let at_once = |devices: &[Newborn]| -> Vec<Response> {
        std::thread::scope(|scope| {
            let posts: Vec<_> = devices
                .iter()
                .enumerate()
                .map(|(number, device)| scope.spawn(move || device.register(servers[number % 2])))
                .collect();
            posts.into_iter().map(|post| post.join().expect("an answer")).collect()
        })
    };
    for name in ["a", "b", "c"] {
        let devices = vec![site.device(name); 6];
        let answers = at_once(&devices);
        let serials: Vec<String> = answers.iter().map(|answer| serial_of(&devices[0], answer)).collect();
        assert!(serials.iter().all(|serial| *serial == serials[0]), "{serials:?}");
    }
    // One list, two servers, more devices than serials.
    let count = |csv: &str| {
        site.list(csv);
        let listed =
            |store: &Server| store.proxy(&["models", "list", "--json"]).json()["models"][0]["serial"].clone();
        until("the second server has the list", || listed(&second) == "listed");
    };
    count("L-1\nL-2\nL-3\nL-4\n");
    let devices: Vec<Newborn> = ["d", "e", "f", "g", "h", "i"].map(|name| site.device(name)).into();
    let answers = at_once(&devices);
    let mut given: Vec<String> = devices
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| answer.status == 200)
        .map(|(device, answer)| serial_of(device, answer))
        .collect();
    given.sort();
    assert_eq!(given, ["L-1", "L-2", "L-3", "L-4"]);
    answers
        .iter()
        .filter(|answer| answer.status != 200)
        .for_each(|answer| assert_refused(answer, 403, "serials-used-up"));
}

#[test]
fn a_private_key_is_nowhere_but_in_the_signer() {
    let site = Site::new();
    site.add(&["--serial", "assigned"]);
    let device = site.device("a");
    let _ = device.serial(&device.register(&site.store));
    let signer = signer_of(&site.store).expect("the signer runs");
    let proc = |file: &str| fs::read(format!("/proc/{signer}/{file}")).unwrap_or_default();
    assert_eq!(proc("environ"), b"", "its environment");
    let limits = String::from_utf8_lossy(&proc("limits")).into_owned();
    for limit in ["Max open files", "Max core file size"] {
        let line = limits.lines().find(|line| line.starts_with(limit)).unwrap_or_default();
        assert_eq!(line[limit.len()..].split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "{line}");
    }
    let network = |of: &str| fs::read_link(format!("/proc/{of}/ns/net")).expect("a namespace");
    let gives = std::process::Command::new("unshare").args(["--user", "--net", "true"]).status();
    if gives.expect("unshare of util-linux").success() {
        assert_ne!(network(&signer.to_string()), network("self"), "a network of its own");
    }
    let links = fs::read_dir(format!("/proc/{signer}/fd")).into_iter().flatten().flatten();
    let open: Vec<String> =
        links.filter_map(|link| Some(fs::read_link(link.path()).ok()?.display().to_string())).collect();
    let data_dir = site.store.data_dir.display().to_string();
    let of_the_store = |name: &&String| name.starts_with(&data_dir) && !name.ends_with("/proxyd.log");
    assert_eq!(open.iter().find(of_the_store), None, "{open:?}");
    // At rest there is only what is sealed.
    let mut folders = vec![site.store.data_dir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap_or_default();
                let found = bytes.windows(11).any(|window| window == b"PRIVATE KEY");
                assert!(!found, "{}", path.display());
            }
        }
    }
    // Without its secret a key is locked, and the secret cannot be replaced by accident.
    let refused = site.store.proxy(&["config", &format!("proxy.signing.secret={SECRET}")]).refused();
    assert!(refused.contains("cannot replace proxy.signing.secret"), "{refused}");
    assert_eq!(state(&site.store, "factory-1")["state"], "ready");
}

#[test]
fn a_restored_store_gives_no_serial_twice() {
    let site = Site::new();
    site.list("G-1\nG-2\nG-3\n");
    let other = site.brand.model_in("hub", "AcmeStore");
    let _ =
        site.store.proxy(&["models", "add", "acme/hub", "--key", "factory-1", "--serial", "assigned"]).ok();
    let [a, b, c] = ["a", "b", "c"].map(|name| site.device(name));
    assert_eq!(serial_of(&a, &a.register(&site.store)), "G-1");
    let vault = TempDir::new().expect("there is room");
    let (file, host) = (vault.path().join("store.backup"), vault.path().join("host"));
    let file = file.to_str().expect("a path of text");
    let _ = site.store.with_file("word", b"a passphrase for tests\n", |word| {
        site.store.proxy(&["backup", file, "--passphrase-file", word]).ok()
    });
    assert_eq!(serial_of(&b, &b.register(&site.store)), "G-2");
    let _ = site.store.kill();
    let word = vault.path().join("word");
    fs::write(&word, "a passphrase for tests\n").expect("a file");
    let word = word.to_str().expect("a path of text");
    let said = proxy(&host, &["restore", file, "--passphrase-file", word]).ok();
    let again = "proxy models add acme/gateway --key factory-1 --serial listed";
    assert!(said.contains(again) && !said.contains("acme/hub"), "{said}");
    let restored = Setup::empty().start_at(&host).unwrap_or_else(|failure| panic!("{failure}"));
    // The key came along, sealed, and signs.
    assert_eq!(state(&restored, "factory-1")["state"], "ready");
    let hub = Newborn::new(&other, site.world.key("device-d"));
    let _ = hub.serial(&hub.register(&restored));
    // What was given out since the backup is not known: nothing more of the list, until the operator says what is left.
    let refused = c.register(&restored);
    assert_refused(&refused, 403, "policy");
    assert!(refused.text().contains("open acme/gateway again with `proxy models add`"), "{}", refused.text());
    assert!(restored.proxy(&["doctor"]).stdout.contains(again), "doctor names the command");
    let shown = restored.proxy(&["models", "show", "acme/gateway"]).ok();
    assert!(shown.contains("State: restored"), "{shown}");
    restored.with_file("serials.csv", b"G-3\n", |path| {
        let args =
            ["models", "add", "acme/gateway", "--key", "factory-1", "--serial", "listed", "--list", path];
        let _ = restored.proxy(&args).ok();
    });
    assert_eq!(serial_of(&c, &c.register(&restored)), "G-3");
    assert_eq!(serial_of(&a, &a.register(&restored)), "G-1");
}
