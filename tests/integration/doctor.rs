//! Stores that are broken in one way each: the doctor finds it, ends with 1, and its command makes the store sound again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use tests::server::{Server, Setup};
use tests::world::World;

/// What the doctor says, and how it ends.
fn examine(store: &Server) -> (Option<i32>, Vec<Value>) {
    let ran = store.proxy(&["doctor", "--json"]);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran.code, found["findings"].as_array().cloned().unwrap_or_default())
}

/// The command of the only finding that is not advice.
fn finding(store: &Server, code: &str, urgency: &str) -> String {
    let (ended, found) = examine(store);
    let urgent: Vec<&Value> = found.iter().filter(|one| one["urgency"] != "advice").collect();
    let [one] = &urgent[..] else { panic!("{code}: {found:#?}") };
    assert_eq!((one["code"].as_str(), one["urgency"].as_str()), (Some(code), Some(urgency)), "{one}");
    assert_eq!(ended, Some(1), "{code}");
    let status = store.proxy(&["status"]);
    assert_eq!(status.code, Some(i32::from(urgency == "now")), "{code}: {}", status.stdout);
    assert_eq!(store.proxy(&["status", "--strict"]).code, Some(1), "{code}");
    one["mend"].as_str().expect("a command").to_owned()
}

#[track_caller]
fn is_sound(store: &Server) {
    let (ended, found) = examine(store);
    assert_eq!(ended, Some(0), "{found:#?}");
    let _ = store.proxy(&["status", "--strict"]).ok();
}

/// Runs the printed command.
fn run(store: &Server, command: &str) {
    let mut words = command.split(' ');
    match words.next() {
        Some("proxy") => drop(store.proxy(&words.collect::<Vec<_>>()).ok()),
        _ => assert!(std::process::Command::new("sh").args(["-c", command]).status().expect("sh").success()),
    }
}

#[test]
fn what_is_broken_is_found_and_mended_by_the_printed_command() {
    let store = Server::start();
    is_sound(&store);
    // The mode.
    let _ = store.proxy(&["disable-airgap-mode"]).ok();
    run(&store, &finding(&store, "airgap-mode-off", "now"));
    is_sound(&store);
    // Modes of files and folders.
    for (name, mode, code) in [("airlock.yaml", 0o644, "secrets-readable"), ("", 0o777, "folder-writable")] {
        let path = store.data_dir.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("own file");
        run(&store, &finding(&store, code, "soon"));
        is_sound(&store);
    }
    // The name.
    let _ = store.proxy(&["config", "proxy.domain=name.invalid"]).ok();
    let (_, found) = examine(&store);
    assert!(found.iter().any(|one| one["code"] == "name-not-resolved"), "{found:#?}");
    let _ = store.proxy(&["status"]).refused();
    let _ = store.proxy(&["config", "proxy.domain=localhost"]).ok();
    is_sound(&store);
    // Nobody answers there.
    let _ = store.proxy(&["config", "proxy.public-url=http://localhost:1"]).ok();
    let _ = finding(&store, "port-closed", "now");
    let _ = store.proxy(&["config", "proxy.public-url="]).ok();
    is_sound(&store);
}

#[test]
fn a_registration_that_sends_devices_elsewhere_stays_a_problem() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let port = store.address.port();
    let register = |url: &str| {
        let stream = world.registration("acme-onprem", "acme", url);
        store.with_file("store.assert", &stream, |path| {
            store.proxy(&["register", "--import", path, "--force"]).ok()
        })
    };
    let told = register(&format!("http://localhost:{port}"));
    assert!(told.contains("Next: `proxy device-kit > device-kit.sh`"), "{told}");
    run(&store, &finding(&store, "registered-elsewhere", "now"));
    is_sound(&store);
}

#[test]
fn https_is_tried_as_a_device_comes() {
    let store = Setup::default().config("proxy.port.https", "0").start();
    let _ = store.proxy(&["ca", "init"]).ok();
    let _ = store.proxy(&["ca", "issue-server"]).ok();
    is_sound(&store);
    // Clients that have no certificate.
    let ca = store.data_dir.join("ca/ca.pem");
    let demand = format!("proxy.tls.client-ca={}", ca.display());
    let _ = store.proxy(&["config", "proxy.tls.client-auth=required", &demand]).ok();
    run(&store, &finding(&store, "client-certificate-demanded", "now"));
    is_sound(&store);
    // A certificate that ends too early.
    for (days, urgency) in [("5", "now"), ("60", "soon")] {
        let _ = store.proxy(&["ca", "issue-server", "--days", days]).ok();
        run(&store, &finding(&store, "certificate-ends", urgency));
        is_sound(&store);
    }
    // One that nobody trusts.
    let _ = store.proxy(&["import-certificate", "--selfsigned"]).ok();
    run(&store, &finding(&store, "certificate-untrusted", "now"));
    is_sound(&store);
}

#[test]
fn what_is_held_is_looked_at() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let brand = world.brand("acme");
    let app = world.snap("acme-app").publisher("acme");
    let revision = app.revision(1);
    store.push_store("AcmeStore", "acme", &[&app]);
    let codes = || {
        let (_, found) = examine(&store);
        let urgent = found.into_iter().filter(|one| one["urgency"] != "advice");
        urgent.map(|one| one["code"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(codes(), ["grants-not-pushed", "brand-without-keys"]);
    store.push_brand(&brand);
    let _ = finding(&store, "grants-not-pushed", "now");
    store.push_pair(&revision, &["latest/stable"], "AcmeStore");
    is_sound(&store);
    // A file that went away.
    let hex = revision.image.digest.to_hex();
    let path = store.data_dir.join("blobs").join(&hex[..2]).join(&hex);
    assert!(path.exists(), "{}", path.display());
    fs::remove_file(&path).expect("own file");
    assert_eq!(codes(), ["file-absent"]);
    store.push_pair(&revision, &["latest/stable"], "AcmeStore");
    is_sound(&store);
    // A snap of a store that nobody knows, and a store that grants nothing.
    let lost = world.snap("acme-lost").publisher("acme").revision(1);
    store.push_pair(&lost, &["latest/stable"], "OtherStore");
    let _ = finding(&store, "snap-seen-by-nobody", "soon");
    store.push_store("OtherStore", "acme", &[&world.snap("acme-lost").publisher("acme")]);
    is_sound(&store);
}
