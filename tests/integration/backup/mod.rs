//! `proxy backup` and `proxy restore`: a host is destroyed and comes back as it was, or not at all.

mod absent;
mod credentials;
mod damage;
mod engines;
mod history;
mod killed;
mod partial;
mod refused;
mod tampered;
mod waves;
mod whole;

pub(crate) use killed::POINTS as RESTORE_POINTS;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use age::secrecy::ExposeSecret as _;
use schema::api::admin::SOCKET_NAME;
use tempfile::TempDir;
use tests::device::session::{read_session, session_request};
use tests::device::{Device, Snapd};
use tests::http::{Connection, Request, Response};
use tests::server::{Ran, SECRET, Server, Setup, Stopped, proxy};
use tests::world::Identity;

use super::sessions::{Scene, assert_refused};

/// Where backups are kept, with the identity that opens them.
struct Vault {
    folder: TempDir,
    recipient: String,
}

impl Vault {
    fn new() -> Self {
        let folder = TempDir::with_prefix("vault-").expect("there is room for temporary files");
        let identity = age::x25519::Identity::generate();
        let vault = Self { folder, recipient: identity.to_public().to_string() };
        fs::write(vault.path("identity"), identity.to_string().expose_secret()).expect("it can be written");
        vault
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path of text").to_owned()
    }

    /// A backup sealed to the vault's identity.
    fn keep(&self, store: &Server, name: &str, args: &[&str]) {
        let file = self.text(name);
        let _ = store.proxy(&[&["backup", &file, "--recipient", &self.recipient], args].concat()).ok();
    }

    /// A backup that anybody can read.
    fn keep_open(&self, store: &Server, name: &str, args: &[&str]) -> Vec<u8> {
        let file = self.text(name);
        let _ = store.proxy(&[&["backup", &file, "--without-secrets"], args].concat()).ok();
        fs::read(file).expect("it was written")
    }

    fn restore(&self, name: &str, host: &Path, args: &[&str]) -> Ran {
        let (file, identity) = (self.text(name), self.text("identity"));
        proxy(host, &[&["restore", &file, "--identity", &identity], args].concat())
    }

    /// A host that was restored and started.
    fn rebuild(&self, name: &str, host: &str, args: &[&str]) -> Server {
        let host = self.path(host);
        let _ = self.restore(name, &host, args).ok();
        assert!(!host.join(".restore").exists());
        Setup::empty().start_at(&host).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// A file with settings.
    fn settings(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("it can be written");
        self.text(name)
    }
}

/// Ends a host for good: the process at once, then every file.
fn destroy(store: Server) {
    let Stopped { data_dir, .. } = &store.kill();
    fs::remove_dir_all(data_dir).expect("it can be removed");
    assert!(!data_dir.exists());
    fs::create_dir(data_dir).expect("the harness removes it once more");
}

/// The same device without its serial: it has a session and cannot get another one.
fn bound(device: &Device) -> Device {
    let mut bound = device.clone();
    bound.identity = None;
    bound
}

fn post(server: &Server, identity: &Identity, nonce: &str) -> Response {
    let device = Device::new(server, Snapd::V2_77, identity);
    server.send(&device.session_post(&device.triple(&session_request(identity, nonce), identity)))
}

#[test]
fn the_last_rehearsal_is_in_the_status() {
    let (scene, vault) = (Scene::new(), Vault::new());
    let shown = || scene.store.status().backup.expect("the database answers");
    assert_eq!((shown().last, shown().rehearsed), (None, None));
    vault.keep(&scene.store, "store.backup", &[]);
    assert!(shown().last.is_some() && shown().rehearsed.is_none());
    let advice = scene.store.proxy(&["doctor"]).stdout;
    assert!(advice.contains("No backup was rehearsed"), "{advice}");
    let (file, identity) = (vault.text("store.backup"), vault.text("identity"));
    let rehearse =
        |file: &str| scene.store.proxy(&["restore", "--rehearse", file, "--identity", &identity, "--json"]);
    let restored = rehearse(&file).json();
    assert_eq!(shown().rehearsed_backup.as_deref(), restored["time"].as_str());
    assert!(shown().rehearsed.is_some());
    assert!(!scene.store.proxy(&["doctor"]).stdout.contains("No backup was rehearsed"));
    // A damaged one is no rehearsal.
    let before = shown().rehearsed_backup;
    let mut bytes = fs::read(&file).expect("the backup");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(vault.path("bad.backup"), bytes).expect("there is room");
    assert_eq!(rehearse(&vault.text("bad.backup")).code, Some(1));
    assert_eq!(shown().rehearsed_backup, before);
}

#[test]
fn a_destroyed_host_is_rebuilt_and_a_hundred_devices_go_on() {
    let (scene, vault) = (Scene::new(), Vault::new());
    let mut devices: Vec<Device> = (0..100)
        .map(|number| {
            let identity = scene.brand.device(&scene.identity.model, &format!("SN-{number}"));
            Device::new(&scene.store, Snapd::V2_77, &identity).trusting(&scene.world)
        })
        .collect();
    for device in &mut devices[..90] {
        device.ensure_session().expect("a session");
    }
    vault.keep(&scene.store, "store.backup", &[]);
    // Sessions of after the backup are as good: no row stands for one.
    for device in &mut devices[90..] {
        device.ensure_session().expect("a session");
    }
    let before = scene.store.status().session_key;
    println!("100 devices hold sessions of the host at {}", scene.store.address);
    let Scene { store, .. } = scene;
    destroy(store);
    println!("the host is destroyed: killed, all its files removed");

    let rebuilt = vault.rebuild("store.backup", "second", &[]);
    assert_eq!(rebuilt.status().session_key, before);
    let _ = rebuilt.proxy(&["verify"]).ok();
    for device in &mut devices {
        device.move_to(&rebuilt);
        let mut held = bound(device);
        let outcome = held.install("hello", "stable").expect("the earlier session is accepted");
        held.fetch_and_check(&outcome).expect("and downloads");
    }
    println!(
        "100 of 100 sessions are accepted by the rebuilt host at {}: refresh and download",
        rebuilt.address
    );
    for device in &mut devices {
        device.renew().expect("a new session");
        device.info("hello").expect("with which it goes on");
    }
    println!("100 of 100 devices renewed their sessions there");
    let audit = rebuilt.proxy(&["audit"]).ok();
    assert!(audit.contains("restore") && audit.contains("backup"), "{audit}");
}

#[test]
fn logins_of_a_secret_of_before_come_along() {
    let (scene, vault) = (Scene::new(), Vault::new());
    let old = scene.store.login("AcmeStore", "package_access").1;
    let _ = scene.store.proxy(&["rotate-secret", "proxy.auth.secret", "--keep-old", "1d"]).ok();
    let new = scene.store.login("AcmeStore", "package_access").1;
    let keys = |server: &Server| (server.status().login_key, server.status().old_login_keys);
    let before = keys(&scene.store);
    vault.keep(&scene.store, "store.backup", &[]);
    destroy(scene.store);
    let rebuilt = vault.rebuild("store.backup", "second", &[]);
    assert_eq!(keys(&rebuilt), before);
    for token in [old, new] {
        let info = Request::new("GET", "/v2/snaps/info/hello", rebuilt.host())
            .header("Snap-Device-Series", "16")
            .header("Authorization", &format!("Macaroon {token}"));
        assert_eq!(rebuilt.send(&info).status, 200);
    }
}

#[test]
fn a_backup_under_imports_is_of_one_moment() {
    let (scene, vault) = (Scene::new(), Vault::new());
    let store = &scene.store;
    let over = AtomicBool::new(false);
    let pushed = std::thread::scope(|scope| {
        let importer = scope.spawn(|| {
            let snap = scene.world.snap("busy").payload(300_000);
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                number += 1;
                store.push_pair(&snap.revision(number), &["latest/stable"], "ubuntu");
            }
            number
        });
        for round in 0..4 {
            vault.keep(store, &format!("{round}.backup"), &[]);
        }
        over.store(true, Ordering::Relaxed);
        importer.join().expect("imports go on meanwhile")
    });
    assert!(pushed >= 4, "{pushed}");
    let mut seen = Vec::new();
    for round in 0..4 {
        let rebuilt = vault.rebuild(&format!("{round}.backup"), &format!("host-{round}"), &[]);
        let _ = rebuilt.proxy(&["verify"]).ok();
        let mut device = Device::anonymous(&rebuilt, Snapd::V2_77).trusting(&scene.world);
        let newest = device.install("busy", "stable").map(|outcome| {
            device.fetch_and_check(&outcome).expect("visible means whole");
            outcome.snap.revision
        });
        seen.push(newest.unwrap_or_default());
    }
    println!("{pushed} imports; the backups hold revisions up to {seen:?}");
    assert!(seen.is_sorted(), "{seen:?}");
    let mut left = fs::read_dir(&store.data_dir).expect("a folder").flatten();
    assert!(!left.any(|entry| entry.file_name().to_string_lossy().starts_with(".backup")), "of the copies");
}

#[test]
fn no_file_goes_while_a_backup_is_read() {
    let scene = Scene::new();
    let store = &scene.store;
    store.push_pair(&scene.world.snap("large").payload(8_000_000).revision(1), &["latest/stable"], "ubuntu");
    let request =
        Request::new("POST", "/v1/backup", "airlock").header("Content-Type", "application/json").body(b"{}");
    let mut reader = Connection::open_unix(&store.data_dir.join(SOCKET_NAME)).expect("the admin socket");
    reader.send(&request.bytes()).expect("the request goes out");
    // The answer has begun; more of it than fits between the two waits to be read.
    let begun = reader.receive(false, 1000).expect("the answer begins");
    assert_eq!(begun.status, 200);
    assert!(store.proxy(&["gc", "--now"]).refused().contains("backup"));
    store.push_pair(&scene.world.snap("other").revision(1), &["latest/stable"], "ubuntu");
    drop(reader);
    let begun = std::time::Instant::now();
    while store.proxy(&["gc", "--now"]).code != Some(0) {
        assert!(begun.elapsed().as_secs() < 20, "a backup that nobody reads ends");
    }
}

#[test]
fn no_nonce_of_before_buys_anything() {
    let (scene, vault) = (Scene::new(), Vault::new());
    let sibling = scene.brand.device(&scene.identity.model, "SN-2");
    let nonce = || scene.device().nonce().expect("a nonce");
    let (spent, later, open) = (nonce(), nonce(), nonce());
    read_session(&post(&scene.store, &scene.identity, &spent)).expect("a session");
    vault.keep(&scene.store, "store.backup", &[]);
    let after = nonce();
    for nonce in [&later, &after] {
        read_session(&post(&scene.store, &scene.identity, nonce)).expect("a session");
    }
    let all = [
        ("spent before", &spent),
        ("spent after", &later),
        ("made and spent after", &after),
        ("open", &open),
    ];
    let refuses = |server: &Server, when: &str| {
        for (what, nonce) in all {
            assert_refused(&post(server, &sibling, nonce), &format!("{what}, {when}, another device"));
            assert_refused(
                &post(server, &scene.identity, nonce),
                &format!("{what}, {when}, the same request"),
            );
        }
    };
    // Twice from one backup: what the first gave out buys nothing at the second.
    let first = vault.rebuild("store.backup", "first", &[]);
    refuses(&first, "restored");
    let of_first = Device::anonymous(&first, Snapd::V2_77).nonce().expect("a nonce");
    read_session(&post(&first, &scene.identity, &of_first)).expect("a session");
    drop(first);
    let second = vault.rebuild("store.backup", "second", &[]);
    refuses(&second, "restored again");
    assert_refused(&post(&second, &sibling, &of_first), "spent at the first restored host");
    let mut second = second.stop().start_with_clock(-86_400 * 400);
    refuses(&second, "with a clock of a year ago");
    second = second.stop().start_with_clock(86_400 * 400);
    refuses(&second, "with a clock of next year");
    let fresh = Device::anonymous(&second, Snapd::V2_77).nonce().expect("a nonce");
    read_session(&post(&second, &scene.identity, &fresh)).expect("new ones are good");
}

#[test]
fn secrets_are_in_the_sealed_file_alone() {
    let (scene, vault) = (Scene::new(), Vault::new());
    let _ = scene.store.proxy(&["ca", "init"]);
    vault.keep(&scene.store, "sealed", &[]);
    let open = vault.keep_open(&scene.store, "open", &[]);
    let sealed = fs::read(vault.path("sealed")).expect("it was written");
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(
        sealed.starts_with(b"age-encryption.org/v1\n")
            && !holds(&sealed, SECRET)
            && !holds(&sealed, "proxy.domain")
    );
    assert!(!holds(&open, SECRET) && holds(&open, "proxy.domain"));
    assert!(!holds(&open, "PRIVATE KEY"), "nor the authority's key");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(vault.path("sealed")).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    // Without a way to seal it nothing is written at all.
    let refused = scene.store.proxy(&["backup", &vault.text("bare")]).refused();
    assert!(refused.contains("--passphrase-file") && !vault.path("bare").exists(), "{refused}");
    assert!(
        scene
            .store
            .proxy(&["backup", &vault.text("open"), "--without-secrets"])
            .refused()
            .contains("already")
    );
    let rebuilt = vault.rebuild("sealed", "host", &[]);
    let yaml = |store: &Server| store.proxy(&["config", "--export-yaml"]).ok();
    assert_eq!(yaml(&rebuilt), yaml(&scene.store));
    let key = |store: &Server| fs::read(store.data_dir.join("ca/ca.key")).ok();
    assert_eq!(key(&rebuilt), key(&scene.store));
}
