//! Deltas for devices: made from what is held, offered to whom they fit, served to whom sees both revisions.

mod contents;
mod downloads;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use schema::digest::Sha3_384;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::device::actions::{Action, Wanted};
use tests::device::answers::Delta;
use tests::device::{Device, Installed, Snapd};
use tests::http::Response;
use tests::prometheus::Scrape;
use tests::server::{Server, Setup};
use tests::snap::{Image, noise};
use tests::world::{Revision, Snap, World};

use crate::rot::wait_for;

fn with_deltas() -> Setup {
    Setup::default().config("proxy.deltas.budget", "100")
}

/// A revision that shares most of its bytes with all others.
pub(crate) fn revision(snap: &Snap, number: u32) -> Revision {
    let yaml = format!("name: {}\nversion: \"{number}\"\nsummary: A snap\ndescription: One.\n", snap.name);
    let image = Image::pack(&[("meta/snap.yaml", yaml.as_bytes()), ("payload", &noise("shared", 100_000))]);
    let packed = Revision { yaml, ..snap.with_image(number, &number.to_string(), image) };
    assert!(packed.image.bytes.len() > 100_000);
    packed
}

/// The deltas that a device is offered with a refresh of its only snap.
fn offered(device: &mut Device) -> Vec<Delta> {
    let own = device.installed[0].instance_key.clone();
    let outcome = device.act_on_one(Action::Refresh(own, Wanted::default())).expect("an answer");
    outcome.snap.download.deltas.unwrap_or_default()
}

fn path_of(delta: &Delta) -> &str {
    let url = delta.url.as_deref().expect("a link");
    &url[url.find("/api/").expect("a path")..]
}

fn get(store: &Server, device: &Device, target: &str) -> Response {
    store.send(&device.download_request("GET", target, None))
}

/// What a device makes of a delta, with the program that it uses.
fn applied(old: &[u8], delta: &[u8]) -> Vec<u8> {
    let folder = TempDir::new().expect("there is room");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("old"), old).expect("there is room");
    fs::write(path("delta"), delta).expect("there is room");
    let applied =
        Command::new("xdelta3").arg("-d").arg("-s").args(["old", "delta", "new"].map(path)).status();
    assert!(applied.expect("xdelta3 is installed").success());
    fs::read(path("new")).expect("a file")
}

/// How each delta stands, as operators see it: from, to and state.
fn listed(store: &Server) -> Vec<(u64, u64, String)> {
    let all = store.proxy(&["deltas", "list", "--json"]).json();
    let number = |one: &Value, name: &str| one[name].as_u64().expect("a number");
    let row = |one: &Value| {
        (number(one, "source"), number(one, "target"), one["state"].as_str().expect("a state").to_owned())
    };
    all["deltas"].as_array().expect("a list").iter().map(row).collect()
}

fn stands(store: &Server, from: u64, to: u64) -> Option<String> {
    listed(store).into_iter().find(|one| (one.0, one.1) == (from, to)).map(|one| one.2)
}

/// The files of deltas.
fn files(store: &Server) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.data_dir.join("deltas")).into_iter().flatten().flatten();
    let is_delta = |path: &PathBuf| path.is_file() && path.extension().is_some_and(|last| last.len() == 64);
    entries.map(|entry| entry.path()).filter(is_delta).collect()
}

/// A program in the place of xdelta3.
fn program(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("program");
    fs::write(&path, format!("#!/bin/sh\nfor last; do :; done\n{script}\n")).expect("there is room");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("an own file");
    path
}

#[test]
fn a_delta_turns_what_a_device_has_into_what_it_is_offered() {
    let (world, store) = (World::new(), with_deltas().config("proxy.metrics.address", "127.0.0.1:0").start());
    store.trust(&world);
    let hello = world.snap("hello");
    let (one, two) = (revision(&hello, 1), revision(&hello, 2));
    store.push_pair(&one, &["latest/edge"], "ubuntu");
    store.push_pair(&two, &["latest/stable"], "ubuntu");
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    device.installed = vec![Installed::new("hello", &hello.id, 1, "latest/stable")];
    wait_for("a delta", || !offered(&mut device.clone()).is_empty());
    let found = offered(&mut device);
    let [delta] = &found[..] else { panic!("{found:?}") };
    assert_eq!((delta.format.as_deref(), delta.source, delta.target), (Some("xdelta3"), Some(1), Some(2)));

    let whole = get(&store, &device, path_of(delta));
    assert_eq!((whole.status, i64::try_from(whole.body.len()).ok()), (200, delta.size));
    assert!(whole.body.len() < two.image.bytes.len() / 10, "{} bytes", whole.body.len());
    assert!(applied(&one.image.bytes, &whole.body) == two.image.bytes);
    let rest = store.send(&device.download_request("GET", path_of(delta), Some(10)));
    assert_eq!((rest.status, &rest.body[..]), (206, &whole.body[10..]));
    let head = store.send(&device.download_request("HEAD", path_of(delta), None));
    assert_eq!((head.status, head.header("ETag")), (200, whole.header("ETag")));

    // The device falls back to the whole file.
    assert_eq!(get(&store, &device, &format!("/api/v1/snaps/download/{}_2.snap", hello.id)).status, 200);
    let scrape = Scrape::of(&store);
    for (series, wanted) in [
        ("airlock_deltas", 1.0),
        ("airlock_deltas_total{outcome=\"made\"}", 1.0),
        ("airlock_deltas_served_total{format=\"xdelta3\"}", 2.0),
        ("airlock_deltas_fallbacks_total", 1.0),
    ] {
        assert_eq!(scrape.get(series), Some(wanted), "{series}");
    }
    assert!(
        scrape.get("airlock_deltas_offered_bytes_total{format=\"xdelta3\"}")
            >= delta.size.map(|size| size as f64)
    );

    // Whoever cannot use one is offered none.
    let body = |key: &str, revision: u32, action: &str| {
        let own = Installed {
            instance_key: key.to_owned(),
            ..Installed::new("hello", &hello.id, revision, "stable")
        };
        let action = json!({"action": action, "instance-key": key, "snap-id": hello.id, "name": "hello"});
        json!({ "context": [own], "actions": [action], "fields": [] }).to_string()
    };
    let told = |body: &str, formats: Option<&str>| {
        let mut request = device.refresh_post(body.as_bytes());
        request.headers.retain(|(name, _)| name != "Snap-Accept-Delta-Format");
        if let Some(formats) = formats {
            request = request.header("Snap-Accept-Delta-Format", formats);
        }
        let answer = store.send(&request).json();
        answer["results"][0]["snap"]["download"]["deltas"].as_array().map(Vec::len)
    };
    let key = &*hello.id;
    for (key, own, action, formats, wanted) in [
        (key, 1, "refresh", Some("xdelta3"), 1),
        (key, 1, "refresh", Some("snap-1-1-xdelta3,xdelta3"), 1),
        (key, 1, "refresh", None, 0),
        (key, 1, "refresh", Some("snap-1-1-xdelta3"), 0),
        (key, 9, "refresh", Some("xdelta3"), 0),
        (key, 1, "install", Some("xdelta3"), 0),
        (&format!("{key}_two"), 1, "refresh", Some("xdelta3"), 0),
    ] {
        assert_eq!(told(&body(key, own, action), formats), Some(wanted), "{key} {own} {action} {formats:?}");
    }
    for (good, bad) in [("_1_2_", "_2_1_"), ("_1_2_", "_01_2_"), ("xdelta3", "other"), ("_1_2_", "_1_")] {
        assert_eq!(get(&store, &device, &path_of(delta).replace(good, bad)).status, 404, "{bad}");
    }

    // It outlives the process, and goes when deltas are turned off.
    let store = store.stop().start();
    device.move_to(&store);
    wait_for("the same delta", || !offered(&mut device.clone()).is_empty());
    let _ = store.proxy(&["config", "proxy.deltas.budget=0"]).ok();
    wait_for("none is offered", || offered(&mut device.clone()).is_empty());
    wait_for("none is left", || files(&store).is_empty());
}

#[test]
fn a_delta_is_for_those_who_see_its_snap() {
    let (world, store) = (World::new(), with_deltas().start());
    store.trust(&world);
    let (acme, bolt) = (world.brand("acme"), world.brand("bolt"));
    let app = world.snap("acme-app").publisher("acme");
    store.push_pair(&revision(&app, 1), &["latest/edge"], "AcmeStore");
    store.push_pair(&revision(&app, 2), &["latest/stable"], "AcmeStore");
    store.push_store("AcmeStore", "acme", &[&app]);
    store.push_store("BoltStore", "bolt", &[]);
    store.push_brand(&acme);
    store.push_brand(&bolt);
    let device_of = |brand: &tests::world::Brand, id: &str| {
        let identity = brand.device(&brand.model_in("gateway", id), "SN-1");
        let mut device = Device::new(&store, Snapd::V2_57, &identity);
        device.ensure_session().expect("a session");
        device.installed = vec![Installed::new("acme-app", &app.id, 1, "latest/stable")];
        device
    };
    let mut own = device_of(&acme, "AcmeStore");
    wait_for("a delta", || !offered(&mut own.clone()).is_empty());
    let delta = offered(&mut own).remove(0);
    assert_eq!(get(&store, &own, path_of(&delta)).status, 200);

    let mut anonymous = Device::anonymous(&store, Snapd::V2_57);
    anonymous.installed.clone_from(&own.installed);
    for mut stranger in [device_of(&bolt, "BoltStore"), anonymous] {
        let refused = get(&store, &stranger, path_of(&delta));
        let ghost = get(&store, &stranger, &path_of(&delta).replace(&app.id, &"q".repeat(app.id.len())));
        assert_eq!((refused.status, &refused.body), (404, &ghost.body), "told apart from what never existed");
        let key = app.id.clone();
        assert!(stranger.act_on_one(Action::Refresh(key, Wanted::default())).is_err(), "no refresh either");
    }
}

#[test]
fn attack_a_wrong_delta_is_never_offered() {
    let (world, folder) = (World::new(), TempDir::new().expect("there is room"));
    let hello = world.snap("hello");
    let (one, two) = (revision(&hello, 1), revision(&hello, 2));
    // Whatever the delta, it turns the one file into another of the right length.
    let size = two.image.bytes.len();
    let script = format!(r#"case "$*" in *-d*) printf %0{size}d 0 > "$last";; *) echo x > "$last";; esac"#);
    let store = with_deltas().xdelta3(&program(folder.path(), &script)).start();
    store.trust(&world);
    store.push_pair(&one, &["latest/edge"], "ubuntu");
    store.push_pair(&two, &["latest/stable"], "ubuntu");
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    device.installed = vec![Installed::new("hello", &hello.id, 1, "latest/stable")];
    wait_for("an attempt", || {
        let all = store.proxy(&["deltas", "list", "--json"]).json();
        all["deltas"][0]["why"].as_str().is_some_and(|why| why.contains("gives another file"))
    });
    assert!(offered(&mut device).is_empty() && files(&store).is_empty());

    // One that somebody put there under another's name is none either.
    let stopped = store.stop();
    let name = [&one.image.digest, &two.image.digest, &Sha3_384::of(b"right")].map(|one| one.to_base64url());
    let planted = stopped.data_dir.join("deltas").join(name.join("."));
    fs::write(&planted, b"wrong").expect("an own file");
    let store = stopped.start_as_it_was();
    device.move_to(&store);
    wait_for("it is thrown away", || !planted.exists());
    assert!(offered(&mut device).is_empty());
}

#[test]
fn a_delta_goes_with_its_revisions() {
    let (world, store) = (World::new(), with_deltas().start());
    store.trust(&world);
    let hello = world.snap("hello");
    store.push_pair(&revision(&hello, 1), &["latest/edge"], "ubuntu");
    store.push_pair(&revision(&hello, 2), &["latest/stable"], "ubuntu");
    wait_for("a delta", || files(&store).len() == 1);
    let _ = store.proxy(&["close-channel", "hello", "edge", "--apply"]).ok();
    let _ = store.proxy(&["remove-snap", "hello", "--revision", "1", "--apply"]).ok();
    wait_for("it goes with what devices had", || files(&store).is_empty());
}

#[test]
fn operators_have_deltas_made_and_drop_them() {
    let (world, store) = (World::new(), with_deltas().start());
    store.trust(&world);
    let brand = world.brand("acme");
    store.push_brand(&brand);
    let hello = world.snap("hello");
    store.push_pair(&revision(&hello, 1), &["latest/edge"], "ubuntu");
    let mut device = Device::new(&store, Snapd::V2_77, &brand.device(&brand.model("m"), "SN-1"));
    device.ensure_session().expect("a session");
    device.installed = vec![Installed::new("hello", &hello.id, 1, "latest/stable")];
    let _ = device.act(&[Action::Refresh(hello.id.clone(), Wanted::default())]).expect("an answer");
    store.push_pair(&revision(&hello, 2), &["latest/edge"], "ubuntu");
    store.push_pair(&revision(&hello, 3), &["latest/stable"], "ubuntu");

    // What a device runs comes first, then the step from one revision to the next.
    let order: Vec<_> = listed(&store).into_iter().map(|one| (one.0, one.1)).collect();
    assert_eq!(order[0], (1, 3), "{order:?}");
    assert!(order.contains(&(2, 3)) && !order.contains(&(3, 1)), "{order:?}");
    wait_for("what a device needs", || stands(&store, 1, 3).as_deref() == Some("made"));

    let said = store.proxy(&["deltas", "make", "hello", "3", "1"]).ok();
    assert!(said.contains("waiting"), "{said}");
    wait_for("what was asked for", || stands(&store, 3, 1).as_deref() == Some("made"));
    let said = store.proxy(&["deltas", "drop", "hello", "1", "3"]).ok();
    assert!(said.contains("dropped"), "{said}");
    assert!(offered(&mut device).is_empty());
    let _ = store.proxy(&["deltas", "drop", "hello"]).ok();
    assert!(files(&store).is_empty());

    let store = store.stop().start();
    wait_for("a round", || {
        let jobs = store.proxy(&["jobs", "list", "--json"]).json();
        let jobs = jobs["jobs"].as_array().expect("a list").clone();
        jobs.iter().any(|job| job["name"] == "deltas" && job["last-run"].is_string())
    });
    assert_eq!(stands(&store, 1, 3).as_deref(), Some("dropped"), "what was dropped stays so");
    let _ = store.proxy(&["deltas", "make", "hello", "1", "3"]).ok();
    wait_for("made once more", || stands(&store, 1, 3).as_deref() == Some("made"));

    for (line, wanted) in [
        ("deltas make nosuch 1 2", "no snap nosuch"),
        ("deltas make hello 1 9", "revision 9 of hello is not held"),
        ("deltas make hello 1 1", "the same file"),
    ] {
        let refused = store.proxy(&line.split(' ').collect::<Vec<_>>()).refused();
        assert!(refused.contains(wanted), "{line}: {refused}");
    }
    let audit = store.proxy(&["audit", "--json"]).json_lines();
    for what in ["make-delta", "drop-delta"] {
        assert!(
            audit.iter().any(|event| event["what"] == what && event["subject"] == "hello 1 3"),
            "{audit:?}"
        );
    }
    let _ = store.proxy(&["config", "proxy.deltas.budget=0"]).ok();
    let refused = store.proxy(&["deltas", "make", "hello", "1", "3"]).refused();
    assert!(refused.contains("proxy config proxy.deltas.budget="), "{refused}");
}

#[test]
fn a_delta_that_is_dropped_while_it_is_made_stays_away() {
    let (world, folder) = (World::new(), TempDir::new().expect("there is room"));
    let script = r#"until [ -e "$(dirname "$last")/go" ]; do sleep 0.05; done; exec /usr/bin/xdelta3 "$@""#;
    let store = with_deltas().xdelta3(&program(folder.path(), script)).start();
    store.trust(&world);
    let hello = world.snap("hello");
    store.push_pair(&revision(&hello, 1), &["latest/edge"], "ubuntu");
    store.push_pair(&revision(&hello, 2), &["latest/stable"], "ubuntu");
    let work = || {
        let entries = fs::read_dir(store.data_dir.join("deltas")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).find(|path| path.is_dir())
    };
    wait_for("one that is being made", || work().is_some());
    let folder = work().expect("it waits for the file below");
    let _ = store.proxy(&["deltas", "drop", "hello"]).ok();
    fs::write(folder.join("go"), b"").expect("an own folder");
    wait_for("the end of its making", || !folder.exists());
    assert!(files(&store).is_empty() && work().is_none());
    assert_eq!(stands(&store, 1, 2).as_deref(), Some("dropped"));
}

#[test]
fn the_doctor_names_a_missing_xdelta3() {
    let setup =
        |budget| Setup::default().config("proxy.deltas.budget", budget).xdelta3(Path::new("/nonexistent"));
    let finds = |budget| {
        let found = setup(budget).start().proxy(&["doctor", "--json"]).json();
        let found = found["findings"].as_array().expect("a list").clone();
        found.iter().any(|one| one["code"] == "xdelta3-missing" && one["mend"] == "apt install xdelta3")
    };
    assert!(finds("100") && !finds("0"));
}
