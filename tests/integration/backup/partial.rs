//! Backups without the files of snaps, and of stores that have lost some.

use std::fs;

use serde_json::json;
use tests::bucket::{self, ObjectStore};
use tests::device::{Device, Snapd};
use tests::server::Server;
use tests::world::World;

use super::{Scene, Vault};
use crate::verify::blob;

fn status_of(server: &Server, name: &str) -> Option<u16> {
    let mut device = Device::anonymous(server, Snapd::V2_77);
    let outcome = device.install(name, "stable").expect("it is listed");
    device.download(&outcome.snap.download).err().map(|trouble| trouble.status().unwrap_or(0))
}

/// A scene with two public snaps, and where the store keeps the file of the first.
fn two() -> (Scene, std::path::PathBuf) {
    let scene = Scene::new();
    let revisions = ["one", "two"].map(|name| scene.world.snap(name).payload(100_000).revision(3));
    for revision in &revisions {
        scene.store.push_pair(revision, &["latest/stable"], "ubuntu");
    }
    let path = blob(&scene.store.data_dir, &revisions[0].image.digest);
    (scene, path)
}

#[test]
fn files_come_from_elsewhere_and_missing_ones_are_named() {
    let ((scene, one), vault) = (two(), Vault::new());
    vault.keep(&scene.store, "list", &["--without-blobs"]);
    assert!(fs::metadata(vault.path("list")).expect("it is there").len() < 500_000);
    let elsewhere = vault.path("elsewhere");
    let (owned, stopped) = (scene.store.data_dir.join("blobs"), &scene.store);
    fs::rename(owned, &elsewhere).expect("the files are moved");
    let one = elsewhere.join(one.strip_prefix(stopped.data_dir.join("blobs")).expect("below it"));
    let mut bytes = fs::read(&one).expect("a file");
    bytes[50_000] ^= 1;
    fs::write(&one, bytes).expect("it can be changed");

    let host = vault.path("none");
    let none = vault.restore("list", &host, &[]);
    assert_eq!(none.stderr.matches("is not there").count(), 3, "{}", none.stderr);
    let _ = none.ok();

    let host = vault.path("host");
    let args = ["--blobs", elsewhere.to_str().expect("a path of text")];
    let ran = vault.restore("list", &host, &args);
    assert!(ran.stderr.contains("warning: one revision 3 is not there"), "{}", ran.stderr);
    assert!(ran.clone().ok().contains("1 files are not there"), "{}", ran.stdout);
    let rebuilt = tests::server::Setup::empty().start_at(&host).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(status_of(&rebuilt, "one"), Some(503));
    assert_eq!(status_of(&rebuilt, "two"), None);
    let report = rebuilt.proxy(&["verify"]);
    assert!(report.code == Some(1) && report.stdout.contains("one revision 3"), "{}", report.stdout);
    rebuilt.push_pair(&scene.world.snap("one").payload(100_000).revision(3), &["latest/stable"], "ubuntu");
    assert_eq!(status_of(&rebuilt, "one"), None);
    let _ = rebuilt.proxy(&["verify"]).ok();
}

#[test]
fn a_folder_without_any_of_the_files_is_refused() {
    let ((scene, _), vault) = (two(), Vault::new());
    vault.keep(&scene.store, "list", &["--without-blobs"]);
    let empty = vault.path("empty");
    fs::create_dir(&empty).expect("there is room");
    let folder = empty.to_str().expect("a path of text");
    let told = super::refused::refused(&vault, "list", &vault.path("host"), &["--blobs", folder]);
    assert!(told.contains(folder) && told.contains("none of the 3 files"), "{told}");
}

#[test]
fn files_of_a_bucket_are_not_called_missing() {
    let (bucket, vault) = (ObjectStore::start(), Vault::new());
    let store = bucket::setup(&format!("http://{}", bucket.address)).start();
    let world = World::new();
    store.trust(&world);
    store.push_pair(&world.snap("hello").revision(1), &["latest/stable"], "ubuntu");
    for (name, args, files) in [("whole", &[][..], 0), ("list", &["--without-blobs"][..], 1)] {
        vault.keep(&store, name, args);
        let ran = vault.restore(name, &vault.path(&format!("{name}.json")), &["--json"]);
        assert!(!ran.stderr.contains("push it again"), "{}", ran.stderr);
        let told = ran.json();
        assert_eq!(told["elsewhere"]["settings"], "proxy.storage.backend=s3", "{told}");
        assert_eq!((&told["elsewhere"]["files"], &told["missing"]), (&json!(files), &json!([])));
        let host = vault.path(&format!("{name}-host"));
        let text = vault.restore(name, &host, &[]).ok();
        assert!(text.contains("bucket snaps") && text.contains("config proxy.storage.backend=s3"), "{text}");
        assert_eq!(
            text.contains("1 files that the backup only lists were not looked for"),
            files == 1,
            "{text}"
        );
        // As it says.
        let _ = tests::server::proxy(&host, &["config", "proxy.storage.backend=s3"]).ok();
        let rebuilt =
            tests::server::Setup::empty().start_at(&host).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(status_of(&rebuilt, "hello"), None);
    }
}

#[test]
fn a_store_that_lost_a_file_is_backed_up_all_the_same() {
    let ((scene, one), vault) = (two(), Vault::new());
    let good = fs::read(&one).expect("a file");
    let mut flipped = good.clone();
    flipped[50_000] ^= 1;
    // Damage that nobody has seen yet ends it, and what was written is no backup.
    fs::write(&one, &flipped).expect("it can be changed");
    let (file, recipient) = (vault.text("store.backup"), vault.recipient.clone());
    let back_up = || scene.store.proxy(&["backup", &file, "--recipient", &recipient]);
    let refused = back_up().refused();
    assert!(refused.contains("is damaged: run `proxy verify`"), "{refused}");
    let left = fs::read_dir(vault.folder.path()).expect("a folder").count();
    assert_eq!(left, 1, "the identity alone");
    assert!(scene.store.log().contains("is damaged: run `proxy verify`"));
    // What is known to be damaged is left out.
    let _ = scene.store.proxy(&["verify"]);
    let told = back_up().refused();
    assert!(told.contains("is not whole: 1 files are missing or damaged"), "{told}");
    let host = vault.path("host");
    let ran = vault.restore("store.backup", &host, &[]);
    assert!(ran.stderr.contains("one revision 3 is not there"), "{}", ran.stderr);
    let rebuilt = tests::server::Setup::empty().start_at(&host).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((status_of(&rebuilt, "one"), status_of(&rebuilt, "two")), (Some(503), None));
}
