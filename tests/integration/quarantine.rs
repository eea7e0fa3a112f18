//! Imports that wait: verified, kept, and invisible until somebody else has approved exactly what they change.

use std::fs;

use serde_json::{Value, json};
use tests::bundle::store_metadata;
use tests::device::{Device, Snapd, Trouble};
use tests::server::{Server, Setup};
use tests::world::{World, stream};

use crate::approvals::{Site, Voter};

/// The points that only an import passes that waits.
pub(crate) const POINTS: [&str; 7] = [
    "quarantine.asked",
    "quarantine.content",
    "quarantine.dropped",
    "quarantine.keep",
    "quarantine.kept",
    "quarantine.refused",
    "quarantine.released",
];

fn waiting(store: &Server) -> Vec<Value> {
    let listed = store.proxy(&["imports", "list", "--json"]).json();
    listed["imports"].as_array().expect("a list").clone()
}

/// Names of everything that is kept of imports which wait.
fn kept(store: &Server) -> usize {
    fs::read_dir(store.data_dir.join("quarantine")).map_or(0, Iterator::count)
}

fn installs(store: &Server, name: &str) -> Result<u32, Trouble> {
    Device::anonymous(store, Snapd::V2_77).install(name, "stable").map(|outcome| outcome.snap.revision)
}

#[test]
fn attack_an_import_waits_until_somebody_else_has_approved_what_it_changes() {
    let site = Site::new();
    let store = &site.store;
    let _ = store.proxy(&["config", &format!("proxy.public-url=http://{}", store.address)]).ok();
    let tool = site.world.snap("tool").publisher("dev");
    store.push_pair(&tool.revision(1), &["latest/stable"], "ubuntu");
    let _ = store.proxy(&["config", "proxy.imports.quarantine=all"]).ok();
    let [alice, bob] = ["approve,admin", "admin:imports"].map(|acls| store.site_login(acls).1);

    let greedy = site.world.snap("tool").publisher("dev").yaml("plugs: {etc: {interface: system-files}}\n");
    let second = greedy.revision(2);
    let blobs = store.disk_use();
    let pushed = store.try_push_pair(&second, &["latest/stable"], "ubuntu").ok();
    assert!(pushed.contains("Would upload") && pushed.contains("approved request 1"), "{pushed}");
    assert_eq!(installs(store, "tool").expect("the old one"), 1);
    let [one] = &waiting(store)[..] else { panic!("one import waits") };
    assert_eq!(
        (&one["state"], &one["pushed-by"], &one["request"]),
        (&json!("waiting"), &json!("uid 0"), &json!(1))
    );
    let id = one["id"].as_str().expect("an id").to_owned();
    let told = store.proxy(&["imports", "show", &id]).ok();
    for part in
        ["tool 2 (", "after 1 of ", "  + plug etc: system-files", "latest/stable all 1 → 2", "New bytes: "]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(store.status().waiting_imports, 1);
    assert!(store.proxy(&["list-imports"]).ok().contains("1 more wait for approvals"));

    // Whoever pushed it cannot release it, and nobody can before it is approved.
    let own = store.proxy(&["imports", "release", &id]).refused();
    assert!(own.contains("was made by you"), "{own}");
    let release = |token: &str| site.send(token, "POST", "/v1/import-releases", &json!({ "import": id }));
    assert_eq!(release(&bob).json()["code"], "approval-needed");
    assert_eq!(installs(store, "tool").expect("the old one"), 1);
    // The same file again is the same import.
    let _ = store.try_push_pair(&second, &["latest/stable"], "ubuntu").ok();
    assert_eq!(waiting(store).len(), 1);
    // Something else becomes of it by now: what was approved is not that.
    assert_eq!(site.approve(&alice, 1), "approved");
    let _ = store.proxy(&["config", "proxy.imports.quarantine=parcels"]).ok();
    store.push_pair(&tool.revision(3), &["latest/stable"], "ubuntu");
    let changed = release(&bob);
    assert_eq!((changed.status, &changed.json()["code"]), (422, &json!("import-changed")), "{changed:?}");
    assert_eq!(site.newest()["state"], "void", "nobody can do any more what was approved");
    assert_eq!(release(&bob).json()["code"], "approval-needed");
    let newest = site.newest();
    assert_eq!((&newest["kind"], &newest["state"]), (&json!("import"), &json!("waiting")));
    let request = newest["id"].as_i64().expect("a number");
    assert_ne!(request, 1);
    assert_eq!(site.approve(&alice, request), "approved");
    let released = release(&bob);
    assert_eq!((released.status, &released.json()["state"]), (200, &json!("released")), "{released:?}");
    assert_eq!(site.newest()["state"], "used");
    assert_eq!((waiting(store).len(), kept(store)), (0, 0));
    let held = store.proxy(&["list-pushed-snaps", "--json"]).json().to_string();
    assert!(held.contains("\"revision\":2,"), "{held}");
    let events = store.proxy(&["audit", "--json"]).json_lines();
    let event = events.iter().find(|event| event["detail"]["waited"]["import"] == *id).expect("an event");
    assert_eq!(
        (&event["what"], &event["detail"]["waited"]["pushed-by"]),
        (&json!("push-snaps"), &json!("uid 0"))
    );
    assert_eq!(release(&bob).json()["code"], "unknown");
    for name in ["../../v1/status", "", "a b?c#d%2e"] {
        let refused = store.proxy(&["imports", "show", name]).refused();
        assert!(refused.contains("proxy imports list"), "{name}: {refused}");
    }
    assert!(store.disk_use() > blobs);
}

#[test]
fn every_kind_of_import_waits_and_what_is_refused_leaves_nothing() {
    let site = Site::new();
    let store = &site.store;
    let alice = store.site_login("approve").1;
    let bob = store.site_login("admin:imports").1;
    let _ = store.proxy(&["config", "proxy.imports.quarantine=all"]).ok();
    let app = site.world.snap("app").publisher("acme");
    let brand = site.world.brand("bolt");
    let generation = |store: &Server| store.proxy(&["log", "--json"]).ok();
    let (before, disk) = (generation(store), store.disk_use());
    // The model cannot be verified before the keys are released.
    let refused = store.try_push_assertions(&stream(&[brand.model("box")])).refused();
    assert!(refused.contains("push-account-keys"), "{refused}");
    let _ = store.try_push_pair(&app.revision(1), &["latest/stable"], "AcmeStore").ok();
    let _ = store.with_file("keys.assert", &brand.account_keys(), |path| {
        store.proxy(&["push-account-keys", path]).ok()
    });
    let _ = store.try_push_stores(&store_metadata("AcmeStore", "acme", &[&app]), &[]).ok();
    assert_eq!(waiting(store).len(), 3);
    for one in waiting(store) {
        let id = one["id"].as_str().expect("an id");
        let told = store.proxy(&["imports", "show", id]).ok();
        let part = match one["kind"].as_str() {
            Some("snaps") => "app 1 (",
            Some("assertions") => "Account keys:",
            _ => "AcmeStore +app",
        };
        assert!(told.contains(part), "{told}");
    }
    // One is refused as an import, one by its request, one by whoever pushed it.
    let [first, second, third] = &waiting(store)[..] else { panic!("three imports wait") };
    let id = |one: &Value| one["id"].as_str().expect("an id").to_owned();
    let refused = site.send(&alice, "DELETE", &format!("/v1/waiting-imports/{}", id(first)), &Value::Null);
    assert_eq!(refused.json()["state"], "refused", "{refused:?}");
    let _ = store.proxy(&["approvals", "refuse", &second["request"].to_string()]).ok();
    let _ = store.proxy(&["imports", "refuse", &id(third)]).ok();
    assert_eq!((waiting(store).len(), kept(store)), (0, 0));
    assert_eq!(generation(store), before);
    assert!(store.disk_use() <= disk + (64 << 10), "{} after {disk}", store.disk_use());

    // What was refused is not asked for again by the same push; another file is.
    let again = store.try_push_pair(&app.revision(1), &["latest/stable"], "AcmeStore").refused();
    assert!(again.contains("was refused: `proxy approvals show"), "{again}");
    assert_eq!(kept(store), 0);
    let _ = store.try_push_pair(&app.revision(2), &["latest/stable"], "AcmeStore").ok();
    let [one] = &waiting(store)[..] else { panic!("one import waits") };
    assert_eq!(site.approve(&alice, one["request"].as_i64().expect("a number")), "approved");
    let body = json!({ "import": one["id"] });
    assert_eq!(site.send(&bob, "POST", "/v1/import-releases", &body).status, 200);
    assert!(store.proxy(&["list-pushed-snaps"]).ok().contains("app"));
}

#[test]
fn an_import_that_waits_lives_through_death_at_every_step() {
    let world = World::new();
    let stock = tempfile::TempDir::new().expect("there is room");
    let (seed, folder) = (stock.path().join("seed"), stock.path().join("site"));
    let first = Server::start();
    first.trust(&world);
    let alice = Voter::new(&first);
    // Devices of this test come over plain HTTP.
    let _ = first.proxy(&["config", "proxy.public-url=http://snaps.test"]).ok();
    let _ = first.proxy(&["config", "proxy.imports.quarantine=all"]).ok();
    let data = first.data_dir.clone();
    let stopped = first.stop();
    crate::parcels::copy(&data, &seed);
    drop(stopped);
    let tool = world.snap("tool").publisher("dev").revision(1);
    let order = stock.path().join("order");
    let arm = |step: u32| fs::write(&order, format!("step:{step}")).expect("there is room");
    let (mut killed, mut released_dead) = (0, 0);
    for step in 1.. {
        let _ = fs::remove_dir_all(&folder);
        crate::parcels::copy(&seed, &folder);
        let start = || {
            let setup = Setup::empty().failpoint(&format!("@{}", order.display()));
            setup.start_at(&folder).unwrap_or_else(|failure| panic!("{failure}"))
        };
        // The push dies, or the release does, at this step.
        let _ = fs::remove_file(&order);
        let doomed = start();
        arm(step);
        let pushed = doomed.try_push_pair(&tool, &["latest/stable"], "ubuntu");
        let push_done = pushed.code == Some(0);
        // One that lives on would die later.
        drop(if push_done { doomed.kill() } else { doomed.wait() });
        let _ = fs::remove_file(&order);
        let server = start();
        if !push_done {
            killed += 1;
            assert!(installs(&server, "tool").is_err(), "step {step}");
            let again = server.try_push_pair(&tool, &["latest/stable"], "ubuntu").ok();
            assert!(again.contains("No device sees anything of it"), "step {step}: {again}");
        }
        let [one] = &waiting(&server)[..] else { panic!("step {step}: one import waits") };
        let id = one["id"].as_str().expect("an id").to_owned();
        let request = one["request"].as_i64().expect("a number");
        alice.approve(&server, request);
        assert!(installs(&server, "tool").is_err(), "step {step}: approved is not released");
        arm(step);
        let done = server.proxy(&["imports", "release", &id]).code == Some(0);
        drop(if done { server.kill() } else { server.wait() });
        let _ = fs::remove_file(&order);
        let server = start();
        if !done {
            released_dead += 1;
            // It waits, whole, or it is visible, whole.
            match waiting(&server).len() {
                0 => assert_eq!(kept(&server), 0, "step {step}"),
                _ => {
                    assert!(installs(&server, "tool").is_err(), "step {step}");
                    let _ = server.proxy(&["imports", "release", &id]).ok();
                }
            }
        }
        assert_eq!(installs(&server, "tool").expect("it is visible"), 1, "step {step}");
        assert_eq!((waiting(&server).len(), kept(&server)), (0, 0), "step {step}");
        if push_done && done {
            break;
        }
    }
    println!("{killed} kills during the push, {released_dead} during the release");
    assert!(killed >= 5 && released_dead >= 15, "{killed} {released_dead}");
}
