//! `proxy gc`: removes what nobody owns, nothing else, and nothing at all when it cannot be sure.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use schema::api::admin::SOCKET_NAME;
use schema::digest::Sha3_384;
use serde_json::{Value, json};
use tests::bundle::Bundle;
use tests::device::{Device, Snapd};
use tests::http::{Connection, Request};
use tests::postgres::Cluster;
use tests::server::{Server, Setup};
use tests::world::World;

use super::verify::blob;

/// Puts a file among the blobs that was changed last so long ago.
pub(crate) fn plant(data_dir: &Path, bytes: &[u8], age: Duration) -> PathBuf {
    let path = blob(data_dir, &Sha3_384::of(bytes));
    fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
    // Under another name first: a clean-up that runs at this moment must not take it half made.
    let draft = path.with_extension("draft");
    fs::write(&draft, bytes).expect("it can be written");
    let file = File::options().write(true).open(&draft).expect("it can be opened");
    file.set_modified(SystemTime::now() - age).expect("it can be aged");
    fs::rename(&draft, &path).expect("it can be named");
    path
}

pub(crate) const OLD: Duration = Duration::from_secs(3700);
const YOUNG: Duration = Duration::from_secs(3500);

fn gc(store: &Server, args: &[&str]) -> Value {
    store.proxy(&[&["gc", "--json"], args].concat()).json()
}

#[test]
fn what_nobody_owns_goes_and_everything_else_stays() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let snap = world.snap("hello").component("extra", 2);
    let revision = snap.revision(1);
    let mut bundle = Bundle::new(&snap, &[(&revision, &["latest/stable"])]);
    bundle.icon = Some(b"\x89PNG picture".to_vec());
    store.push_bundle(&bundle);
    let digests =
        [revision.image.digest, revision.components[0].image.digest, Sha3_384::of(b"\x89PNG picture")];
    let owned = digests.map(|digest| blob(&store.data_dir, &digest));
    for path in &owned {
        let file = File::options().write(true).open(path).expect("it was pushed");
        file.set_modified(SystemTime::now() - OLD).expect("it can be aged");
    }
    let old = plant(&store.data_dir, b"old", OLD);
    let young = plant(&store.data_dir, b"young", YOUNG);
    let foreign =
        [store.data_dir.join("blobs/README"), old.with_file_name("notes"), old.with_extension("old")];
    for path in &foreign {
        fs::write(path, b"not ours").expect("it can be written");
    }

    let removed = json!([{ "digest": Sha3_384::of(b"old").to_hex(), "size": 3 }]);
    let report = gc(&store, &["--dry-run"]);
    let wanted = json!({
        "dry-run": true, "removed": removed, "bytes": 3, "young": 1, "owned": 3, "rows": 0, "set-aside": 0,
    });
    assert_eq!(report, wanted);
    assert!(old.exists() && young.exists());

    let text = store.proxy(&["gc"]).ok();
    assert!(text.ends_with("Removed 1 files (3 bytes), 1 younger than an hour stay\n"), "{text}");
    assert!(!old.exists() && young.exists());
    assert_eq!(gc(&store, &["--now"])["removed"][0]["size"], json!(5));
    let events = store.proxy(&["audit", "--json"]).json_lines();
    let outcomes: Vec<_> =
        events.iter().filter(|event| event["what"] == "gc").map(|event| &event["outcome"]).collect();
    assert_eq!(outcomes.last(), Some(&&json!("done")), "{outcomes:?}");
    assert!(!young.exists());
    assert!(owned.iter().chain(&foreign).all(|path| path.exists()), "{owned:?} {foreign:?}");
    let _ = store.proxy(&["verify"]).ok();
}

#[test]
fn rows_and_damaged_files_that_nobody_owns_go_too() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let snap = world.snap("hello");
    let revision = snap.revision(1);
    let mut bundle = Bundle::new(&snap, &[(&revision, &["latest/stable"])]);
    for picture in [b"\x89PNG old", b"\x89PNG new"] {
        bundle.icon = Some(picture.to_vec());
        store.push_bundle(&bundle);
    }
    let other = world.snap("other").revision(1);
    store.push_pair(&other, &["latest/stable"], "ubuntu");
    fs::write(blob(&store.data_dir, &other.image.digest), b"damaged").expect("it can be written");
    assert_eq!(store.proxy(&["verify"]).code, Some(1));
    let report = gc(&store, &["--dry-run", "--now"]);
    assert_eq!((&report["rows"], &report["set-aside"]), (&json!(1), &json!(0)), "{report}");
    let _ = store.proxy(&["close-channel", "other", "stable", "--apply"]).ok();
    let _ = store.proxy(&["remove-snap", "other", "--apply"]).ok();
    let report = gc(&store, &["--now"]);
    assert_eq!((&report["rows"], &report["set-aside"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!(report["removed"][0]["digest"], json!(Sha3_384::of(b"\x89PNG old").to_hex()));
    let again = gc(&store, &["--now"]);
    assert_eq!((&again["rows"], &again["set-aside"], &again["owned"]), (&json!(0), &json!(0), &json!(2)));
    let _ = store.proxy(&["verify"]).ok();
    // What was dropped comes again.
    bundle.icon = Some(b"\x89PNG old".to_vec());
    store.push_bundle(&bundle);
    let _ = store.proxy(&["verify"]).ok();
}

#[test]
fn nothing_is_removed_when_a_folder_cannot_be_read() {
    let store = Server::start();
    let old = plant(&store.data_dir, b"old", OLD);
    let names = (0..=255).map(|number| store.data_dir.join(format!("blobs/{number:02x}")));
    let free = names.into_iter().find(|path| !path.exists()).expect("a free name");
    fs::write(&free, b"no folder").expect("it can be written");
    assert!(store.proxy(&["gc", "--now"]).refused().contains("nothing was removed"));
    assert!(old.exists());
    fs::remove_file(free).expect("it can be removed");
    assert_eq!(gc(&store, &[])["bytes"], json!(3));
    assert!(!old.exists());
}

#[test]
fn nothing_is_removed_while_the_database_is_away() {
    let cluster = Cluster::start().expect("a PostgreSQL of its own");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = runtime.block_on(cluster.database()).expect("a database");
    let store = Setup::default().config("proxy.db.connection", &database).start();
    let old = plant(&store.data_dir, b"old", OLD);
    cluster.stop().expect("the database stops");
    assert!(store.proxy(&["gc", "--now"]).refused().contains("nothing was removed"));
    assert!(old.exists());
}

#[test]
fn a_clean_up_takes_no_file_from_an_import() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let request = Request::new("POST", "/v1/gc", "airlock")
        .header("Content-Type", "application/json")
        .body(br#"{"now":true}"#);
    let over = AtomicBool::new(false);
    let revisions: Vec<_> =
        (1..=12).map(|number| world.snap("hello").payload(50_000).revision(number)).collect();
    let runs = std::thread::scope(|scope| {
        let cleaner = scope.spawn(|| {
            let mut runs = 0;
            while !over.load(Ordering::Relaxed) {
                let answer = Connection::open_unix(&store.data_dir.join(SOCKET_NAME))
                    .and_then(|mut connection| connection.exchange(&request))
                    .expect("an answer");
                assert_eq!(answer.status, 200, "{answer:?}");
                runs += 1;
            }
            runs
        });
        for revision in &revisions {
            // Left behind by an import that was cut off: the push finds it there, and nobody owns it yet.
            let _ = plant(&store.data_dir, &revision.image.bytes, OLD);
            store.push_pair(revision, &["latest/stable"], "ubuntu");
        }
        over.store(true, Ordering::Relaxed);
        cleaner.join().expect("the clean-up ran")
    });
    assert!(runs > 20, "{runs}");
    let _ = store.proxy(&["verify"]).ok();
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    let outcome = device.install("hello", "stable").expect("an answer");
    device.download(&outcome.snap.download).expect("it is there");
}

#[test]
fn a_file_that_an_import_finds_there_is_young_again() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let revision = world.snap("hello").revision(1);
    let path = plant(&store.data_dir, &revision.image.bytes, OLD);
    store.push_pair(&revision, &["latest/stable"], "ubuntu");
    let changed = fs::metadata(&path).and_then(|about| about.modified()).expect("it is there");
    assert!(changed > SystemTime::now() - YOUNG, "{changed:?}");
}
