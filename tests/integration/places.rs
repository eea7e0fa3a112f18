//! Settings that name another place for rows or files: tried before they are stored, and an empty place is not the store's.

use std::fs;
use std::path::Path;

use tests::postgres::Cluster;
use tests::server::{Server, Setup, Stopped};
use tests::world::World;

use super::rot::wait_for;

fn database() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(Cluster::shared().database()).expect("a database")
}

/// A store with a snap.
fn filled(setup: Setup) -> Server {
    let (world, store) = (World::new(), setup.start());
    store.trust(&world);
    store.push_pair(&world.snap("hello").revision(1), &["latest/stable"], "ubuntu");
    store
}

/// Refused, with this complaint, and not stored.
fn refused(store: &Server, setting: &str, complaint: &str) {
    let (name, _) = setting.split_once('=').expect("a setting");
    let before = store.proxy(&["config", name]).ok();
    let told = store.proxy(&["config", setting]).refused();
    assert!(told.contains(complaint), "{setting}: {told}");
    assert_eq!(store.proxy(&["config", name]).ok(), before, "{setting}");
}

#[test]
fn an_empty_database_is_not_taken_for_the_store() {
    let store = filled(Setup::default());
    let (empty, full) = (database(), database());
    refused(&store, &format!("proxy.db.connection={empty}"), "migrate-database");
    refused(&store, "proxy.db.connection=postgresql://nobody@127.0.0.1:1/none", "cannot use the database");
    let _ = store.proxy(&["migrate-database", &full]).ok();
    // What is done from now on would be missing there.
    let late = store.proxy(&["block-device", "acme/gateway/G-1", "--unseen"]).refused();
    assert!(late.contains("was copied to another database"), "{late}");
    let _ = store.proxy(&["config", &format!("proxy.db.connection={full}")]).ok();
    let _ = store.proxy(&["config", "proxy.db.connection="]).ok();
    let stopped = store.stop();

    // Nor at a start, where nobody tried it.
    let file = stopped.data_dir.join("airlock.yaml");
    let text = fs::read_to_string(&file).expect("a configuration");
    fs::write(&file, format!("{text}proxy.db.connection: '{empty}'\n")).expect("it can be written");
    let mut stopped = stopped;
    let why = stopped.try_start().err().expect("no start");
    assert!(why.contains("holds no store") && why.contains("migrate-database"), "{why}");
    fs::write(&file, format!("{text}proxy.db.connection: '{full}'\n")).expect("it can be written");
    let store = stopped.start_as_it_was();
    assert!(store.proxy(&["list-pushed-snaps"]).ok().contains("hello"));

    // Back: the embedded database is there and filled, and no longer once it is moved away.
    let _ = store.proxy(&["config", "proxy.db.connection="]).ok();
    let _ = store.proxy(&["config", &format!("proxy.db.connection={full}")]).ok();
    fs::rename(store.data_dir.join("airlock.db"), store.data_dir.join("old.db")).expect("it is there");
    refused(&store, "proxy.db.connection=", "holds no store");
    // An empty host goes where it likes.
    let _ = Server::start().proxy(&["config", &format!("proxy.db.connection={empty}")]).ok();
}

#[test]
fn attack_an_older_copy_is_not_taken_for_the_store() {
    let store = filled(Setup::default());
    let copy = database();
    let _ = store.proxy(&["migrate-database", &copy]).ok();
    // Restarted without the copy, the store goes on where it is.
    let store = store.stop().start_as_it_was();
    let _ = store.proxy(&["close-channel", "hello", "stable", "--apply"]).ok();
    refused(&store, &format!("proxy.db.connection={copy}"), "an older copy of this store, without 1 changes");

    // Nor at a start, where nobody tried it.
    let mut stopped = store.stop();
    let file = stopped.data_dir.join("airlock.yaml");
    let text = fs::read_to_string(&file).expect("a configuration");
    fs::write(&file, format!("{text}proxy.db.connection: '{copy}'\n")).expect("it can be written");
    let why = stopped.try_start().err().expect("no start");
    assert!(why.contains("an older copy of this store"), "{why}");
    fs::write(&file, text).expect("it can be written");

    // Copied once more, it is; and then the embedded one is the older.
    let store = stopped.start_as_it_was();
    let fresh = database();
    let _ = store.proxy(&["migrate-database", &fresh]).ok();
    let _ = store.proxy(&["config", &format!("proxy.db.connection={fresh}")]).ok();
    let store = store.stop().start_as_it_was();
    let _ = store.proxy(&["config", "proxy.db.connection="]).ok();
    let _ = store.proxy(&["config", &format!("proxy.db.connection={fresh}")]).ok();
    let _ = store.proxy(&["remove-snap", "hello", "--apply"]).ok();
    refused(&store, "proxy.db.connection=", "the embedded database in");
}

#[test]
fn a_storage_without_the_files_is_not_taken() {
    let store = filled(Setup::default());
    let elsewhere = tempfile::TempDir::new().expect("room");
    let path = elsewhere.path().to_str().expect("a path of text");
    refused(&store, &format!("proxy.storage.path={path}"), "lacks 1 of 1 files");
    refused(&store, "proxy.storage.path=/proc/nowhere", "lacks 1 of 1 files");
    refused(&store, "proxy.storage.backend=s4", "local or s3");
    let bucket = ["proxy.storage.s3.server-url=http://127.0.0.1:1", "proxy.storage.backend=s3"];
    let told = store.proxy(&["config", bucket[0], bucket[1]]).refused();
    assert!(told.contains("cannot use the storage"), "{told}");
    assert_eq!(fs::read_dir(path).expect("a folder").count(), 0, "nothing was made there");
    copy(&store.data_dir.join("blobs"), &elsewhere.path().join("blobs"));
    let _ = store.proxy(&["config", &format!("proxy.storage.path={path}")]).ok();
    // What is stored from now on would be missing there.
    let (world, late) = (World::new(), |world: &World| world.snap("late").revision(1));
    store.trust(&world);
    let told = store.try_push_pair(&late(&world), &["latest/stable"], "ubuntu").refused();
    assert!(told.contains(path) && told.contains("restart the server"), "{told}");
    let store = store.stop().start_as_it_was();
    store.push_pair(&late(&world), &["latest/stable"], "ubuntu");
    assert!(store.proxy(&["verify"]).code == Some(0));
}

/// Why it does not start.
fn fails(stopped: &mut Stopped) -> String {
    stopped.try_start().err().expect("no start")
}

#[test]
fn a_store_that_lost_its_database_does_not_begin_anew() {
    let mut stopped = filled(Setup::default()).stop();
    let (database, blobs) = (stopped.data_dir.join("airlock.db"), stopped.data_dir.join("blobs"));
    let lost = |stopped: &mut Stopped| {
        let why = fails(stopped);
        assert!(why.contains("1 files of one are in") && why.contains("proxy restore BACKUP"), "{why}");
        assert!(why.contains(blobs.to_str().expect("a path of text")), "{why}");
    };
    fs::remove_file(&database).expect("own file");
    lost(&mut stopped);
    fs::write(&database, "").expect("own file");
    lost(&mut stopped);
    lost(&mut stopped);
    // On purpose.
    fs::rename(&blobs, stopped.data_dir.join("old")).expect("own folder");
    let store = stopped.start_as_it_was();
    assert!(!store.proxy(&["list-pushed-snaps"]).ok().contains("hello"));
}

#[test]
fn files_that_are_gone_are_told_at_the_start_and_by_status() {
    let store = filled(Setup::default());
    let world = World::new();
    store.trust(&world);
    store.push_pair(&world.snap("other").revision(1), &["latest/stable"], "ubuntu");
    let stopped = store.stop();
    let (blobs, aside) = (stopped.data_dir.join("blobs"), stopped.data_dir.join("aside"));
    fs::rename(&blobs, &aside).expect("own folder");
    let store = stopped.start_as_it_was();
    let place = store.data_dir.to_str().expect("a path of text").to_owned();
    wait_for("the log tells it", || store.log().contains(&format!("2 of 2 files are not in {place}")));
    let told = store.proxy(&["status"]);
    assert_eq!(told.code, Some(1), "{}", told.stdout);
    assert!(told.stdout.contains(&format!("Of 2 revisions, no file is in {place}.")), "{}", told.stdout);
    let stopped = store.stop();
    fs::remove_dir_all(&blobs).and_then(|()| fs::rename(&aside, &blobs)).expect("own folders");
    let told = stopped.start_as_it_was().proxy(&["status"]).stdout;
    assert!(!told.contains("no file is in"), "{told}");
}

#[test]
fn a_start_that_fails_names_what_it_lacks() {
    let store = filled(Setup::default());
    let second = Setup::empty().start_at(&store.data_dir).err().expect("no start");
    assert!(second.contains("another server is using") && !second.contains("proxy.port"), "{second}");
    let mut stopped = store.stop();
    let (database, file) = (stopped.data_dir.join("airlock.db"), stopped.data_dir.join("airlock.yaml"));
    let sound = fs::read(&database).expect("own file");
    fs::write(&database, "no database".repeat(1000)).expect("own file");
    let why = fails(&mut stopped);
    assert!(why.contains(database.to_str().expect("text")) && why.contains("proxy restore"), "{why}");
    assert_eq!(why.matches("not a database").count(), 1, "{why}");
    fs::write(&database, sound).expect("own file");

    let text = fs::read_to_string(&file).expect("a configuration");
    for (setting, place) in [
        ("proxy.storage.path: /nowhere/at/all", "/nowhere/at/all (proxy.storage.path)"),
        (
            "proxy.db.connection: postgresql://it:word@127.0.0.1:1/none",
            "127.0.0.1:1/none (proxy.db.connection)",
        ),
    ] {
        fs::write(&file, format!("{text}{setting}\n")).expect("own file");
        let why = fails(&mut stopped);
        assert!(why.contains(place) && !why.contains("word"), "{why}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}
