//! The `snap` program of Debian's `snapd` package, without its daemon, against the running server.
//!
//! A stock client trusts Canonical's root and no other, so `snap download` gets the file and then stops at the first
//! document of our root: that it stops there, and nowhere earlier, is what is checked.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use schema::assertion::{Assertion, PublicKey};
use tempfile::TempDir;
use tests::server::{Ran, Server, build_folder, program};
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
fn snap_signs_models_and_sets_with_a_key_of_the_store() {
    let (world, store, folder) = (World::new(), Server::start(), TempDir::new().expect("there is room"));
    store.trust(&world);
    store.make_key_for(&world, "models-1", "model", "acme", &[]);
    store.make_key(&world, "factory-1", "acme");
    let manager = folder.path().join("keymgr");
    let [proxy, data_dir] = [program("proxy"), store.data_dir.clone()].map(|path| path.display().to_string());
    let script = format!("#!/bin/sh\nexec '{proxy}' --data-dir '{data_dir}' keymgr \"$@\"\n");
    fs::write(&manager, script).expect("there is room");
    fs::set_permissions(&manager, fs::Permissions::from_mode(0o755)).expect("an own file");
    let signed = |key: &str, headers: &serde_json::Value| {
        let mut command = Command::new(tool());
        let running = command
            .args(["sign", "-k", key])
            .env("HOME", folder.path())
            .env("SNAPD_EXT_KEYMGR", &manager)
            .env("SNAP_REEXEC", "0")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut running = running.expect("snap can be started");
        let text = headers.to_string();
        running.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
        Ran::from(running.wait_with_output().expect("an end"))
    };
    let model = serde_json::json!({
        "type": "model", "authority-id": "acme", "series": "16", "brand-id": "acme", "model": "gateway",
        "architecture": "amd64", "gadget": "pc", "kernel": "pc-kernel", "timestamp": "2026-01-01T00:00:00Z",
    });
    let set = serde_json::json!({
        "type": "validation-set", "authority-id": "acme", "series": "16", "account-id": "acme", "name": "line",
        "sequence": "1", "timestamp": "2026-01-01T00:00:00Z",
        "snaps": [{ "name": "app", "id": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "presence": "required" }],
    });
    let keys = store.proxy(&["keys", "list", "--json"]).json();
    let key = keys["keys"].as_array().and_then(|keys| keys.iter().find(|key| key["name"] == "models-1"));
    let key = PublicKey::decode(key.expect("listed")["public-key"].as_str().expect("text")).expect("a key");
    for headers in [&model, &set] {
        let text = signed("models-1", headers).ok();
        let document = Assertion::decode(text.as_bytes()).expect("a document");
        assert_eq!(document.text("type"), headers["type"].as_str());
        assert_eq!(document.sign_key_id(), key.id());
        document.verify_with(&key).expect("signed by the key of the store");
    }
    // A key for serials signs them only, and the log names each digest.
    assert!(signed("factory-1", &model).refused().contains("factory-1"));
    let refused = store.proxy(&["keymgr", "get-public-key", "-f", "DER", "-k", "factory-1"]).refused();
    assert!(refused.contains("no key factory-1 for models"), "{refused}");
    assert_eq!(store.proxy(&["audit"]).ok().matches("sign-digest").count(), 2);
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
