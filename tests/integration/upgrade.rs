//! A data directory that the first schema wrote is taken over: devices get what they got, and their sessions go on.
//!
//! `tests/fixtures/first-schema` holds the data directory of a server that knew migration 1 only, and `exchanges.json` with what
//! devices asked it and were told. [`make`] made both, put into that server's source and run with its programs:
//!
//! ```text
//! AIRLOCK_MAKE_FIXTURE=tests/fixtures/first-schema cargo test -p tests --test integration upgrade::make -- --ignored
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::digest::Sha3_384;
use serde_json::{Value, json};
use tests::bundle::Bundle;
use tests::device::{Action, Device, Installed, Snapd, Wanted};
use tests::http::{Request, Response};
use tests::server::{Server, Setup, proxy};
use tests::world::World;

/// Stands for the base of links, and for the host in it.
const BASE: &str = "http://store.fixture";
const HOST: &str = "store.fixture";

fn fixture() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/first-schema"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the fixture").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// A copy of the data directory, as it was before an upgrade.
fn before() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is room");
    copy(&fixture().join("data"), folder.path());
    let owner_only = fs::Permissions::from_mode(0o600);
    fs::set_permissions(folder.path().join("airlock.yaml"), owner_only).expect("an own file");
    folder
}

/// An answer as the fixture keeps it: links with the base of the fixture, files as their digests.
fn kept(store: &Server, response: &Response) -> Value {
    let text = response.text();
    let body = match serde_json::from_str::<Value>(&text.replace(&store.url, BASE)) {
        Ok(json) => json,
        Err(_) if std::str::from_utf8(&response.body).is_ok() => json!(text),
        Err(_) => json!(Sha3_384::of(&response.body).to_string()),
    };
    json!({"status": response.status, "body": body})
}

/// Is everything of the old answer in the new one? A later version may tell more.
fn holds(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            old.iter().all(|(name, value)| new.get(name).is_some_and(|new| holds(new, value)))
        }
        (Value::Array(new), Value::Array(old)) => {
            new.len() == old.len() && new.iter().zip(old).all(|(new, old)| holds(new, old))
        }
        _ => new == old,
    }
}

fn exchanges() -> Vec<(Request, Value)> {
    let text = fs::read_to_string(fixture().join("exchanges.json")).expect("the fixture");
    let all: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let read = |exchange: &Value| {
        let part = |name: &str| exchange[name].as_str().expect("a text").to_owned();
        let headers = exchange["headers"].as_array().expect("headers").iter().map(|pair| {
            (pair[0].as_str().expect("a name").to_owned(), pair[1].as_str().expect("a value").to_owned())
        });
        let request = Request {
            method: part("method"),
            target: part("target"),
            headers: headers.collect(),
            body: STANDARD.decode(part("body")).expect("base64"),
        };
        (request, exchange["answer"].clone())
    };
    all.iter().map(read).collect()
}

#[test]
fn devices_of_the_first_schema_go_on() {
    let folder = before();
    let store = Setup::empty().start_at(folder.path()).unwrap_or_else(|failure| panic!("{failure}"));
    let asked = exchanges();
    assert!(asked.len() >= 12, "{}", asked.len());
    for (mut request, old) in asked {
        request.replace("Host", Some(store.host()));
        let new = kept(&store, &store.send(&request));
        assert!(holds(&new, &old), "{} {}\nnow  {new}\nthen {old}", request.method, request.target);
    }
    let _ = store.proxy(&["verify"]).ok();
    let listed = store.proxy(&["list-pushed-snaps"]).ok();
    assert!(listed.contains("hello") && listed.contains("core-base"), "{listed}");
    let trail = store.proxy(&["audit"]).ok();
    assert!(trail.contains("block-device"), "{trail}");
    // History starts with what is released now.
    let log = store.proxy(&["log"]);
    assert!(log.stderr.contains("history starts with generation"), "{log:?}");
    let _ = store.proxy(&["tag", "upgraded"]).ok();
    let _ = store.proxy(&["close-channel", "hello", "edge", "--apply"]).ok();
    let steps = store.proxy(&["back", "upgraded", "--apply"]).ok();
    assert!(steps.contains("hello latest/edge amd64 none → 2"), "{steps}");
    let early = store.proxy(&["back", "1"]).refused();
    assert!(early.contains("nothing earlier is known here"), "{early}");

    // What was written by both lives on; the second start has nothing to take over.
    let store = store.stop().start();
    let (request, _) = exchanges().remove(0);
    assert_eq!(store.send(&request).status, 200);
}

/// Names and digests of everything in a data directory but the log.
fn files(folder: &Path) -> BTreeMap<PathBuf, Sha3_384> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a data directory").flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.file_name() != "proxyd.log" {
            found.insert(entry.path(), Sha3_384::of(&fs::read(entry.path()).expect("a file")));
        }
    }
    found
}

#[test]
fn a_data_directory_of_a_newer_program_is_left_alone() {
    let folder = before();
    let _ = Setup::empty().start_at(folder.path()).unwrap_or_else(|failure| panic!("{failure}")).stop();
    let database = rusqlite::Connection::open(folder.path().join("airlock.db")).expect("the database");
    let newer =
        "INSERT INTO schema_migrations SELECT MAX(version) + 1, 'of tomorrow', 'x', 0 FROM schema_migrations";
    assert_eq!(database.execute(newer, []).expect("a row"), 1);
    database.close().expect("closed");
    let before = files(folder.path());
    let failure = Setup::empty().start_at(folder.path()).err().expect("no start");
    assert!(failure.contains("install the newer program"), "{failure}");
    assert_eq!(files(folder.path()), before);
}

/// Needs a server that knows migration 1 only.
#[test]
#[ignore = "makes the fixture; see the top of the file"]
fn make() {
    let target = std::env::var("AIRLOCK_MAKE_FIXTURE").expect("AIRLOCK_MAKE_FIXTURE names the folder");
    let (world, folder) = (World::new(), tempfile::tempdir().expect("there is room"));
    let brand = world.brand("acme");
    let model = brand.model_in("gateway", "AcmeStore");
    let identities = [brand.device(&model, "SN-1"), brand.device(&model, "SN-2")];
    let hello = world.snap("hello").publisher("acme");
    let base = world.snap("core-base").kind("base").component("extra", 9);
    let values = ["proxy.domain=127.0.0.1", "proxy.ipaddress=127.0.0.1", "proxy.port.http=0"];
    let _ = proxy(
        folder.path(),
        &[&["config", "proxy.device-auth.session-lifetime=3650d"], &values[..]].concat(),
    )
    .ok();
    let store = Setup::empty().start_at(folder.path()).unwrap_or_else(|failure| panic!("{failure}"));
    let _ = store.proxy(&["enable-airgap-mode"]).ok();
    store.trust(&world);
    store.push_brand(&brand);
    store.push_store("AcmeStore", "acme", &[&hello]);
    store.push_pair(&base.revision(3), &["latest/stable"], "ubuntu");
    let (first, second) = (hello.revision(1), hello.revision(2));
    let bundle = Bundle::new(&hello, &[(&first, &["latest/stable"]), (&second, &["latest/edge"])]);
    store.push_bundle(&bundle.from_store("AcmeStore"));

    let mut asked = Vec::new();
    for snapd in Snapd::ALL {
        let [mut device, mut blocked] = [0, 1].map(|number| Device::new(&store, snapd, &identities[number]));
        device.ensure_session().expect("a session");
        blocked.ensure_session().expect("a session");
        let fields = snapd.info_fields().join(",");
        device.installed = vec![Installed::new("hello", &hello.id, 1, "latest/edge")];
        let refresh = Action::Refresh(hello.id.clone(), Wanted::channel("latest/edge"));
        let install = Action::Install("core-base".into(), Wanted::channel("stable"));
        let body = device.refresh_body(&[refresh, install]);
        let mut anonymous = Device::anonymous(&store, snapd);
        anonymous.by_command = false;
        asked.extend([
            device.info_get("hello", &fields),
            device.refresh_post(&body),
            device.find_get(&[("q", "hello")]),
            anonymous.info_get("hello", &fields),
            anonymous.info_get("core-base", &fields),
            blocked.info_get("hello", &fields),
        ]);
        let documents = [
            hello.declaration().reference(),
            first.assertion().reference(),
            world.account("acme").reference(),
        ];
        asked.extend(documents.iter().map(|wanted| device.assertion_get(&device.assertion_target(wanted))));
        let outcome = device.install("hello", "latest/stable").expect("a plan");
        let link = device
            .target_of(outcome.snap.download.url.as_deref().expect("a link"))
            .expect("a link of the store");
        asked.push(device.download_request("GET", link, None));
    }
    store.block(&identities[1]);
    let exchanges: Vec<Value> = asked
        .iter()
        .map(|request| {
            let answer = kept(&store, &store.send(request));
            let mut request = request.clone();
            request.replace("Host", Some(HOST));
            json!({"method": request.method, "target": request.target, "headers": request.headers,
                "body": STANDARD.encode(&request.body), "answer": answer})
        })
        .collect();
    let stopped = store.stop();
    fs::remove_file(stopped.data_dir.join("proxyd.log")).expect("the log");
    let target = Path::new(&target);
    copy(&stopped.data_dir, &target.join("data"));
    let text = serde_json::to_string_pretty(&exchanges).expect("JSON");
    fs::write(target.join("exchanges.json"), text + "\n").expect("the fixture can be written");
}
