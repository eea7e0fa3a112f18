//! Four eyes: what needs approvals waits for other people, whoever asks and in whatever order they come.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::device::{Action, Device, Installed, Snapd, Wanted};
use tests::factory::Newborn;
use tests::http::{Connection, Request, Response};
use tests::server::{Server, Setup};
use tests::world::{World, map};

/// A store that registers a model, whose admin API is open to logins, and whose clock can be set forward.
pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) store: Server,
    folder: TempDir,
    ca: String,
    address: SocketAddr,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("there is room");
        let store = Setup::default()
            .config("proxy.port.https", "0")
            .config("proxy.public-url", "http://snaps.test")
            .clock(&folder.path().join("clock"))
            .start();
        let _ = store.proxy(&["ca", "init"]).ok();
        let _ = store.proxy(&["ca", "issue-server"]).ok();
        let ca = store.proxy(&["ca", "show"]).ok();
        let _ = store.proxy(&["config", "proxy.admin.address=127.0.0.1:0"]).ok();
        let address = store.status().admin_address.expect("the admin API is open");
        let address =
            address.strip_prefix("https://").and_then(|text| text.parse().ok()).expect("an address");
        let world = World::new();
        store.trust(&world);
        store.push_brand(&world.brand("acme"));
        store.make_key(&world, "factory-1", "acme");
        Self { world, store, folder, ca, address }
    }

    fn device(&self, name: &str) -> Newborn {
        let model = self.world.brand("acme").model_in("gateway", "AcmeStore");
        Newborn::new(&model, self.world.key(&format!("device-{name}")))
    }

    pub(crate) fn send(&self, token: &str, method: &str, target: &str, body: &Value) -> Response {
        let request = Request::new(method, target, "store")
            .header("Authorization", &format!("Bearer {token}"))
            .header("Content-Type", "application/json")
            .body(body.to_string().as_bytes());
        let mut connection = Connection::open_tls(self.address, &self.ca).expect("the admin API listens");
        connection.exchange(&request).expect("an answer")
    }

    /// The word for what came of an approval by the holder of a login.
    pub(crate) fn approve(&self, token: &str, id: i64) -> String {
        let answer = self.send(token, "POST", "/v1/approval-votes", &json!({ "id": id, "approve": true }));
        let word = if answer.status == 200 { "state" } else { "code" };
        answer.json()[word].as_str().expect("a word").to_owned()
    }

    /// The newest request for approval.
    pub(crate) fn newest(&self) -> Value {
        self.store.proxy(&["approvals", "list", "--all", "--json"]).json()["approvals"][0].clone()
    }
}

/// Another person, who approves over the network.
pub(crate) struct Voter {
    ca: String,
    token: String,
}

impl Voter {
    /// Opens the admin API of a store, and makes a login for it.
    pub(crate) fn new(store: &Server) -> Self {
        let _ = store.proxy(&["config", "proxy.port.https=0"]).ok();
        let _ = store.proxy(&["ca", "init"]).ok();
        let _ = store.proxy(&["ca", "issue-server"]).ok();
        let ca = store.proxy(&["ca", "show"]).ok();
        let _ = store.proxy(&["config", "proxy.admin.address=127.0.0.1:0"]).ok();
        Self { ca, token: store.site_login("approve").1 }
    }

    pub(crate) fn approve(&self, store: &Server, id: i64) {
        let address = store.status().admin_address.expect("the admin API is open");
        let address =
            address.strip_prefix("https://").and_then(|text| text.parse().ok()).expect("an address");
        let request = Request::new("POST", "/v1/approval-votes", "store")
            .header("Authorization", &format!("Bearer {}", self.token))
            .header("Content-Type", "application/json")
            .body(json!({ "id": id, "approve": true }).to_string().as_bytes());
        let mut connection = Connection::open_tls(address, &self.ca).expect("the admin API listens");
        let answer = connection.exchange(&request).expect("an answer");
        assert_eq!(answer.json()["state"], "approved", "{answer:?}");
    }
}

const MODEL: [&str; 7] = ["models", "add", "acme/gateway", "--key", "factory-1", "--serial", "assigned"];

#[test]
fn attack_a_device_waits_until_two_other_people_have_approved_its_serial() {
    let site = Site::new();
    let store = &site.store;
    let _ = store.proxy(&[&MODEL[..], &["--approvals", "2"]].concat()).ok();
    let [alice, bob] = ["approve", "approve,admin"].map(|acls| store.site_login(acls).1);
    let admin = store.site_login("admin").1;

    let device = site.device("a");
    let documents = device.documents(&device.id(store));
    let post = |device: &Newborn, documents: &[u8]| device.post(store, documents).status;
    assert_eq!(post(&device, &documents), 202);
    assert_eq!(post(&device, &documents), 202);
    // It lost the connection, and begins anew with another request id.
    assert_eq!(device.register(store).status, 202);
    let asked = site.newest();
    assert_eq!((&asked["id"], &asked["state"], &asked["needed"]), (&json!(1), &json!("waiting"), &json!(2)));
    assert_eq!(asked["detail"]["device-key"], device.key.public().id());

    // Without the permission nobody approves, whatever else they may do; one approval is not enough, however often.
    assert_eq!(site.approve(&admin, 1), "permission-required");
    assert_eq!(site.approve(&alice, 1), "waiting");
    assert_eq!(site.approve(&alice, 1), "approved-already");
    assert_eq!(post(&device, &documents), 202);
    // A request id lasts an hour; that of a request that waits lasts as long as it waits.
    let stale = site.device("b");
    let stale_documents = stale.documents(&stale.id(store));
    fs::write(site.folder.path().join("clock"), "10800").expect("a file");
    assert_eq!(post(&stale, &stale_documents), 400);
    assert_eq!(post(&device, &documents), 202);
    assert_eq!(site.approve(&bob, 1), "approved");
    let given = device.post(store, &documents);
    let serial = device.serial(&given);
    assert_eq!(device.post(store, &documents).body, given.body);
    assert_eq!(device.serial(&device.register(store)), serial);
    assert_eq!(site.newest()["state"], "used");
    assert_eq!(site.approve(&bob, 1), "approval-over");

    // A login that was made by another one is that one's.
    let made =
        site.send(&bob, "POST", "/v1/logins", &json!({ "acls": ["approve"], "lifetime-seconds": 3600 }));
    let bobs = made.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(stale.register(store).status, 202);
    assert_eq!(site.approve(&bobs, 2), "waiting");
    assert_eq!(site.approve(&bob, 2), "approved-already");
    // What somebody refuses is refused, approved or not.
    let refused = store.proxy(&["approvals", "refuse", "2", "--why", "nobody knows this board"]).ok();
    assert!(refused.contains("is refused"), "{refused}");
    let answer = stale.register(store);
    assert_eq!((answer.status, answer.json()["error_list"][0]["code"].as_str()), (403, Some("not-approved")));
    assert_eq!(site.approve(&alice, 2), "approval-over");

    // Users of the host count, too, each by its number.
    let third = site.device("c");
    assert_eq!(third.register(store).status, 202);
    let _ = store.proxy(&["approvals", "approve", "3"]).ok();
    assert!(store.proxy(&["approvals", "approve", "3"]).refused().contains("approved request 3 already"));
    assert_eq!(site.approve(&bobs, 3), "approved");
    let _ = third.serial(&third.register(store));

    let events = store.proxy(&["audit", "--json"]).json_lines();
    let of_first = events.iter().filter(|event| event["detail"]["approval"] == 1);
    let of_first: Vec<&str> = of_first.filter_map(|event| event["what"].as_str()).collect();
    assert_eq!(of_first, ["ask-approval", "approve", "approve"]);
    let refused =
        |what: &str| events.iter().any(|event| event["what"] == what && event["outcome"] == "refused");
    assert!(refused("approve"), "{events:?}");
}

#[test]
fn attack_who_asks_for_fewer_approvals_needs_those_that_were_needed() {
    let site = Site::new();
    let store = &site.store;
    let [alice, bob] = [(); 2].map(|()| store.site_login("approve,admin").1);
    let _ = store.proxy(&[&MODEL[..], &["--approvals", "1"]].concat()).ok();
    let _ = store.proxy(&["models", "close", "acme/gateway"]).ok();
    let waits = store.proxy(&MODEL).refused();
    assert!(waits.contains("waits as request 1") && waits.contains("approvals approve 1"), "{waits}");
    assert_eq!(store.proxy(&["models", "show", "acme/gateway", "--json"]).json()["approvals"], 1);
    let own = store.proxy(&["approvals", "approve", "1"]).refused();
    assert!(own.contains("made by you"), "{own}");
    // What is approved is exactly that.
    assert_eq!(site.approve(&alice, 1), "approved");
    let other = [&MODEL[..6], &["listed", "--list"]].concat();
    let waits =
        store.with_file("list.csv", b"G-1\n", |path| store.proxy(&[&other[..], &[path]].concat()).refused());
    assert!(waits.contains("waits as request 2"), "{waits}");
    let _ = store.proxy(&MODEL).ok();
    assert_eq!(site.newest()["state"], "waiting");
    assert_eq!(store.proxy(&["approvals", "show", "1", "--json"]).json()["state"], "used");
    let _ = site.device("a").serial(&site.device("a").register(store));
    // It is used up.
    let _ = store.proxy(&[&MODEL[..], &["--approvals", "2"]].concat()).ok();
    let waits = store.proxy(&MODEL).refused();
    assert!(waits.contains("waits as request 3") && waits.contains("two other people"), "{waits}");
    // A login does not approve what it asked for itself.
    let wanted = json!({ "model": "acme/gateway", "key": "factory-1", "serial": "assigned", "approvals": 1 });
    let asked = site.send(&bob, "POST", "/v1/models", &wanted);
    assert_eq!((asked.status, asked.json()["code"].as_str()), (409, Some("approval-needed")));
    assert_eq!(site.approve(&bob, 4), "own-request");
}

#[test]
fn attack_another_key_does_not_take_the_approvals_of_a_model_away() {
    let site = Site::new();
    let store = &site.store;
    store.make_key_for(&site.world, "strict-1", "serial", "acme", &["--approvals", "1"]);
    let with = |key| ["models", "add", "acme/gateway", "--key", key, "--serial", "assigned"];
    let _ = store.proxy(&with("strict-1")).ok();
    for _ in 0..2 {
        let waits = store.proxy(&with("factory-1")).refused();
        assert!(waits.contains("waits as request 1 until one other person"), "{waits}");
        let _ = store.proxy(&["models", "close", "acme/gateway"]).ok();
    }
    // As many by its own word.
    let _ = store.proxy(&[&with("factory-1")[..], &["--approvals", "1"]].concat()).ok();
    assert_eq!(site.device("a").register(store).status, 202);
}

#[test]
fn attack_a_wave_waits_until_another_person_has_approved_it() {
    let site = Site::new();
    let (world, store) = (&site.world, &site.store);
    let (brand, hello) = (world.brand("acme"), world.snap("hello").publisher("acme"));
    // Devices come over plain HTTP.
    let _ = store.proxy(&["config", &format!("proxy.public-url=http://{}", store.address)]).ok();
    store.push_pair(&hello.revision(1), &["latest/stable"], "AcmeStore");
    store.push_pair(&hello.revision(2), &["latest/candidate"], "AcmeStore");
    store.push_store("AcmeStore", "acme", &[&hello]);
    let refreshed = |device: &mut Device| {
        let action = Action::Refresh(hello.id.clone(), Wanted::default());
        device.act_on_one(action).expect("a refresh").snap.revision
    };
    let mut fleet = ["in-1", "out-1"].map(|serial| {
        let identity = brand.device(&brand.model_in("gateway", "AcmeStore"), serial);
        let mut device = Device::new(store, Snapd::V2_77, &identity).trusting(world);
        device.installed = vec![Installed::new("hello", &hello.id, 1, "latest/stable")];
        assert_eq!(refreshed(&mut device), 1);
        device
    });
    let mut offered = || fleet.each_mut().map(refreshed);
    let alice = store.site_login("approve").1;
    let run = |line: &str| store.proxy(&line.split(' ').collect::<Vec<_>>());
    let _ = run("group add lab --serial in-* --apply").ok();
    let _ = run(
        "rollout plan spring --snap hello --to 2 --wave group=lab --wave 100% --soak 1000h --approvals 1",
    )
    .ok();
    for (request, step, before, after) in [
        (1, "rollout start spring", [1, 1], [2, 1]),
        (2, "rollout next spring", [2, 1], [2, 2]),
        (3, "rollout next spring", [2, 2], [2, 2]),
    ] {
        for _ in 0..2 {
            let refused = run(step).refused();
            assert!(refused.contains(&format!("request {request} ")), "{step}: {refused}");
        }
        let own = run(&format!("approvals approve {request}")).refused();
        assert!(own.contains("was made by you"), "{own}");
        assert_eq!(offered(), before, "{step} waits");
        assert_eq!(site.approve(&alice, request), "approved");
        assert_eq!(offered(), before, "{step} is approved, and nobody has done it");
        let _ = run(step).ok();
        assert_eq!(site.newest()["state"], "used");
        assert_eq!(offered(), after, "{step} is done");
    }
    assert_eq!(run("rollout show spring --json").json()["state"], "finished");

    // Nobody approves a step of one that was given up.
    let _ = run("rollout plan autumn --snap hello --to 1 --wave 100% --approvals 1").ok();
    assert!(run("rollout start autumn").refused().contains("request 4 "));
    let listed = run("approvals list").ok();
    assert!(listed.contains("autumn (rollout-start)"), "{listed}");
    let _ = run("rollout back autumn").ok();
    assert_eq!(site.newest()["state"], "void");
    assert_eq!(site.approve(&alice, 4), "approval-over");
}

#[test]
fn attack_a_train_waits_until_another_person_has_approved_it() {
    let site = Site::new();
    let (world, store) = (&site.world, &site.store);
    let (brand, hello) = (world.brand("acme"), world.snap("hello").publisher("acme"));
    for number in [1, 2] {
        store.push_pair(&hello.revision(number), &["latest/stable"], "AcmeStore");
    }
    store.push_brand(&brand);
    let push = |sequence: u32| {
        let (id, revision) = (&*hello.id, sequence.to_string());
        let entry = map(&[("name", "hello"), ("id", id), ("presence", "required"), ("revision", &revision)]);
        let set = brand.validation_set("line7", sequence, vec![entry]);
        let _ = store.try_push_assertions(set.bytes()).ok();
    };
    let alice = store.site_login("approve").1;
    let run = |line: &str| store.proxy(&line.split(' ').collect::<Vec<_>>());
    push(1);
    let _ = run("train hold acme/line7").ok();
    push(2);
    let shown = || run("train show acme/line7 --json").json();
    let depart = "train depart acme/line7 2 --wave 10% --wave 100% --approvals 1";
    for (request, step, before, after) in [
        (1, depart, (json!(null), json!(1)), (json!(2), json!(1))),
        (2, "train next acme/line7", (json!(2), json!(1)), (json!(2), json!(1))),
        (3, "train next acme/line7", (json!(2), json!(1)), (json!(null), json!(2))),
    ] {
        let is = || (shown()["departed"].clone(), shown()["arrived"].clone());
        for _ in 0..2 {
            let refused = run(step).refused();
            assert!(refused.contains(&format!("request {request} ")), "{step}: {refused}");
        }
        assert!(run(&format!("approvals approve {request}")).refused().contains("was made by you"));
        assert_eq!(is(), before, "{step} waits");
        assert_eq!(site.approve(&alice, request), "approved");
        assert_eq!(is(), before, "{step} is approved, and nobody has done it");
        let _ = run(step).ok();
        assert_eq!(is(), after, "{step} is done");
    }
}
