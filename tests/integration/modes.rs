//! Files with secrets are their owner's alone, and everything has its own mode (hazard J3).

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use nix::sys::stat::{Mode, umask};
use tests::device::{Device, Snapd};
use tests::server::{Server, Setup, proxy};
use tests::world::World;

use super::verify::blob;

/// What lies in a data directory and what is written beside it: the end of its path, and its mode. `*` is any name.
const MODES: [(&str, u32); 21] = [
    ("", 0o750),
    ("admin.sock", 0o660),
    ("airlock.db", 0o600),
    ("airlock.db-shm", 0o600),
    ("airlock.db-wal", 0o600),
    ("airlock.lock", 0o600),
    ("airlock.yaml", 0o600),
    ("blobs", 0o750),
    ("blobs/*", 0o750),
    ("blobs/*/*", 0o600),
    ("blobs/damaged", 0o750),
    ("blobs/damaged/*", 0o600),
    ("ca", 0o755),
    ("ca/ca.key", 0o600),
    ("ca/ca.pem", 0o644),
    ("ca/roots.pem", 0o644),
    ("staging", 0o750),
    ("verify.json", 0o600),
    ("issued/snaps.key", 0o600),
    ("issued/snaps.pem", 0o644),
    ("backup", 0o600),
];

#[test]
fn a_configuration_that_others_may_read_ends_the_start() {
    let store = Server::start();
    let path = store.data_dir.join("airlock.yaml");
    let mode = || fs::metadata(&path).expect("the configuration").permissions().mode() & 0o7777;
    let _ = store.proxy(&["config", "proxy.log.level=info"]).ok();
    assert_eq!(mode(), 0o600, "whatever the umask");
    let entries = fs::read_dir(&store.data_dir).expect("a folder").map(|entry| entry.expect("an entry"));
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let left: Vec<_> = names.filter(|name| name.starts_with("airlock.new")).collect();
    assert!(left.is_empty(), "the second file is gone: {left:?}");
    for name in ["airlock.db", "airlock.db-wal"] {
        let meta = fs::metadata(store.data_dir.join(name)).expect("the database");
        assert_eq!(meta.permissions().mode() & 0o7777, 0o600, "{name}");
    }
    let data_dir = store.data_dir.clone();
    let _stopped = store.stop();
    for open in [0o640, 0o604, 0o644, 0o660] {
        fs::set_permissions(&path, Permissions::from_mode(open)).expect("a file of our own");
        let refused = Setup::empty().start_at(&data_dir).err().expect("the start is refused");
        assert!(
            refused.contains("airlock.yaml can be read by others") && refused.contains("chmod 600"),
            "{refused}"
        );
        assert_eq!(mode(), open, "nothing is changed in passing");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a file of our own");
    drop(Setup::empty().start_at(&data_dir).expect("now it starts"));
}

#[test]
fn everything_has_its_own_mode_under_an_open_umask() {
    modes_under(0o000);
}

#[test]
fn everything_has_its_own_mode_under_a_closed_umask() {
    modes_under(0o077);
}

fn modes_under(inherited: u32) {
    // This process runs this test alone, and everything that it starts inherits it.
    umask(Mode::from_bits_truncate(inherited));
    let folder = tempfile::tempdir().expect("there is room");
    let data_dir = folder.path().join("data");
    let text = |path: &Path| path.to_str().expect("a path of text").to_owned();
    // Whoever comes first makes the data directory: here the companion.
    let _ = proxy(&data_dir, &["ca", "init", "--name", "Site"]).ok();
    let store = Setup::default().start_beside(&data_dir);
    let (backup, issued) = (folder.path().join("backup"), folder.path().join("issued"));
    fs::create_dir(&issued).expect("there is room");
    let phrase = folder.path().join("phrase");
    fs::write(&phrase, "a long passphrase of this test").expect("there is room");
    fs::set_permissions(&phrase, Permissions::from_mode(0o600)).expect("a file of our own");
    let out = text(&issued);
    let world = World::new();
    store.trust(&world);
    let parts = world.snap("parts").component("extra", 2);
    let (first, second) = (parts.revision(1), parts.revision(2));
    store.push_pair(&first, &["latest/stable"], "ubuntu");
    store.push_pair(&second, &["latest/edge"], "ubuntu");
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    let _ = device.install("parts", "stable");
    fs::write(blob(&data_dir, &first.image.digest), "another").expect("it can be damaged");
    assert_eq!(store.proxy(&["verify"]).code, Some(1), "the damage is found");
    let _ = store.proxy(&["config", "proxy.log.level=info"]).ok();
    let _ = store.proxy(&["ca", "issue-server", "--name", "snaps", "--out", &out]).ok();
    // The store lacks a file by now.
    let _ = store.proxy(&["backup", &text(&backup), "--passphrase-file", &text(&phrase)]).refused();

    let mut found = BTreeSet::new();
    for top in [&data_dir, &issued, &backup] {
        walk(top, &mut |path| {
            let meta = fs::symlink_metadata(path).expect("it is there");
            let name = match path.strip_prefix(&data_dir) {
                Ok(inside) => text(inside),
                Err(_) => text(path.strip_prefix(folder.path()).expect("beside it")),
            };
            found.insert((name, meta.mode() & 0o7777));
        });
    }
    let wrong: Vec<String> = found
        .iter()
        // What the test made itself: a folder, and what it keeps of the log.
        .filter(|(name, _)| !["issued", "proxyd.log"].contains(&&**name))
        .filter_map(|(name, mode)| {
            let rows = MODES.iter().filter(|(row, _)| fits(row, name));
            match rows.min_by_key(|(row, _)| row.matches('*').count()) {
                Some((_, own)) if own == mode => None,
                Some((_, own)) => Some(format!("{name}: {mode:04o}, not {own:04o}")),
                None => Some(format!("{name}: {mode:04o}, and no row")),
            }
        })
        .collect();
    assert!(wrong.is_empty(), "umask {inherited:04o}: {wrong:#?}");
}

fn fits(row: &str, name: &str) -> bool {
    let (row, name): (Vec<_>, Vec<_>) = (row.split('/').collect(), name.split('/').collect());
    row.len() == name.len() && row.iter().zip(&name).all(|(row, name)| *row == "*" || row == name)
}

fn walk(path: &Path, look: &mut dyn FnMut(&Path)) {
    look(path);
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            walk(&entry.expect("an entry").path(), look);
        }
    }
}
