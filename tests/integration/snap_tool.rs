//! The `snap` program of Debian's `snapd` package, without its daemon, against the running server.
//!
//! A stock client trusts Canonical's root and no other, so `snap download` gets the file and then stops at the first
//! document of our root: that it stops there, and nowhere earlier, is what is checked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tests::server::{Ran, Server, build_folder};
use tests::snap::Image;
use tests::world::World;

/// The program: the one that `tests/run` took out of its package, else the one installed.
fn tool() -> PathBuf {
    let unpacked = build_folder().join("../tools/snapd/usr/bin/snap");
    let found = [unpacked, PathBuf::from("/usr/bin/snap")].into_iter().find(|path| path.exists());
    found.expect(
        "the `snap` program is missing: run `tests/run`, which unpacks it, or `apt-get install snapd`",
    )
}

/// Runs `snap` in a folder, pointed at a store.
fn snap(folder: &Path, store: Option<&Server>, args: &[&str]) -> Ran {
    snap_with(folder, store, None, args)
}

/// The same with a login in `UBUNTU_STORE_AUTH`.
fn snap_with(folder: &Path, store: Option<&Server>, login: Option<&str>, args: &[&str]) -> Ran {
    let mut command = Command::new(tool());
    command
        .args(args)
        .current_dir(folder)
        .env("HOME", folder)
        .env("SNAP_REEXEC", "0")
        .env_remove("NOTIFY_SOCKET");
    if let Some(login) = login {
        command.env("UBUNTU_STORE_AUTH", login);
    }
    if let Some(store) = store {
        command.env("SNAPPY_FORCE_API_URL", format!("{}/", store.url));
    }
    command.output().expect("snap can be started").into()
}

/// A folder to pack.
fn prepared(folder: &Path, yaml: &str) {
    fs::create_dir_all(folder.join("prime/meta")).expect("there is room");
    fs::create_dir_all(folder.join("prime/bin")).expect("there is room");
    fs::write(folder.join("prime/meta/snap.yaml"), yaml).expect("there is room");
    let script = folder.join("prime/bin/run");
    fs::write(&script, "#!/bin/sh\necho packed\n").expect("there is room");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("an own file");
}

#[test]
fn what_snap_packs_can_be_pushed() {
    let folder = TempDir::new().expect("there is room");
    let yaml = "name: packed\nversion: \"1.5\"\nsummary: Packed by the real tool\ndescription: x\nconfinement: strict\n\
                grade: stable\nbase: core22\narchitectures: [amd64, arm64]\nepoch: 1*\napps:\n  packed:\n    command: bin/run\n";
    prepared(folder.path(), yaml);
    let _ = snap(folder.path(), None, &["pack", "prime", "--filename=packed.snap"]).ok();
    let bytes = fs::read(folder.path().join("packed.snap")).expect("a packed snap");

    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let revision = world.snap("packed").with_image(3, "1.5", Image::of(bytes));
    store.push_pair(&revision, &["latest/stable"], "ubuntu");
    let mut device = tests::device::Device::anonymous(&store, tests::device::Snapd::V2_77).trusting(&world);
    let outcome = device.install_for_good("packed", "stable").expect("an install");
    // Facts come out of the file.
    assert_eq!(outcome.snap.version, "1.5");
    assert_eq!(outcome.snap.base, "core22");
    assert_eq!(outcome.snap.architectures, ["amd64", "arm64"]);
    assert_eq!(outcome.snap.snap_yaml, yaml);
    device.architecture = "riscv64".to_owned();
    assert!(device.install("packed", "stable").is_err(), "it does not run there");
}

#[test]
fn snap_known_reads_documents() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let hello = world.snap("hello");
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    let folder = TempDir::new().expect("there is room");
    let known = |args: &[&str]| {
        snap(folder.path(), Some(&store), &[&["known", "--remote", "--direct"], args].concat())
    };
    let id = format!("snap-id={}", hello.id);
    let printed = known(&["snap-declaration", "series=16", &id]).ok();
    assert_eq!(printed.as_bytes(), hello.declaration().bytes());
    let key = world.store_key();
    let fingerprint = format!("public-key-sha3-384={}", key.text("public-key-sha3-384").expect("a key"));
    assert_eq!(known(&["account-key", &fingerprint]).ok().as_bytes(), key.bytes());
    assert_eq!(known(&["account", "account-id=dev"]).ok().as_bytes(), world.account("dev").bytes());
    // The exact shape of "not found" makes the tool say so, instead of an unexpected status.
    let missing = known(&["snap-declaration", "series=16", "snap-id=nothing"]).refused();
    assert!(missing.contains("snap-declaration (nothing; series:16) not found"), "{missing}");
}

#[test]
fn snap_download_stops_where_trust_ends() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let revision = world.snap("hello").payload(200_000).revision(4);
    store.push_pair(&revision, &["latest/stable"], "ubuntu");
    let folder = TempDir::new().expect("there is room");
    let ran = snap(folder.path(), Some(&store), &["download", "hello"]);
    let refusal = ran.clone().refused();
    println!("{}{refusal}", ran.stdout);
    let file = folder.path().join("hello_4.snap");
    let got = fs::read(file).expect("the file came, with the digest that was promised");
    assert!(got == revision.image.bytes);
    // Everything up to our root was fetched and fits the file; the root itself is nobody to this client.
    assert!(refusal.contains("circular assertions are not expected: account (test-root)"), "{refusal}");
    let kept = fs::read(folder.path().join("hello_4.assert")).unwrap_or_default();
    assert!(kept.is_empty(), "nothing that it cannot trust is kept: {}", String::from_utf8_lossy(&kept));
    let missing = snap(folder.path(), Some(&store), &["download", "never-was"]).refused();
    assert!(missing.contains("cannot download snap \"never-was\": snap not found"), "{missing}");
    let missing = snap(folder.path(), Some(&store), &["download", "hello", "--channel=9/edge"]).refused();
    assert!(missing.contains("no snap revision available as specified"), "{missing}");
}

#[test]
fn snap_download_takes_a_login() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let revision = world.snap("acme-app").publisher("acme").payload(200_000).revision(4);
    store.push_pair(&revision, &["latest/stable"], "AcmeStore");
    store.push_store("AcmeStore", "acme", &[&revision.snap]);
    for form in ["E", "F"] {
        let folder = TempDir::new().expect("there is room");
        let without = snap(folder.path(), Some(&store), &["download", "acme-app"]).refused();
        assert!(without.contains("snap not found"), "{without}");
        let make = ["create-login", "--store", "AcmeStore", "--acl", "package_access", "--form", form];
        let login = store.proxy(&make).ok();
        let ran = snap_with(folder.path(), Some(&store), Some(login.trim()), &["download", "acme-app"]);
        println!("{}{}", ran.stdout, ran.stderr);
        let got = fs::read(folder.path().join("acme-app_4.snap")).expect("the file came");
        assert!(got == revision.image.bytes, "form {form}");
    }
}
