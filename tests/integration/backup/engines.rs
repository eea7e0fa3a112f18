//! From one engine to the other, and the rebuild without a backup: configuration and database alone.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use tests::device::Device;
use tests::postgres::Cluster;
use tests::server::{Server, Setup, program};

use super::{Scene, Vault, bound};

fn database() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(Cluster::shared().database()).expect("a database")
}

/// The device goes on at another host: with its session, and with a new one.
fn goes_on(device: &Device, server: &Server) {
    let mut device = device.clone();
    device.move_to(server);
    let outcome = bound(&device).install("hello", "stable").expect("its session is accepted");
    device.fetch_and_check(&outcome).expect("with its file");
    device.renew().expect("a new session");
    let _ = server.proxy(&["verify"]).ok();
}

#[test]
fn each_to_each() {
    let vault = Vault::new();
    let scene = Scene::new();
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    vault.keep(&scene.store, "embedded", &[]);
    let (first, second) = (database(), database());
    let connection = |name: &str, url: &str| vault.settings(name, &format!("proxy.db.connection: '{url}'\n"));
    let (to_first, to_second) = (connection("first.yaml", &first), connection("second.yaml", &second));

    let on_postgres = vault.rebuild("embedded", "postgres", &["--secrets", &to_first]);
    assert!(!on_postgres.data_dir.join("airlock.db").exists());
    goes_on(&device, &on_postgres);
    vault.keep(&on_postgres, "postgres.backup", &[]);

    // The database of the first host is there still: it is not touched, and the refusal names it.
    let host = vault.path("third");
    let complaint = super::refused::refused(&vault, "postgres.backup", &host, &[]);
    assert!(complaint.contains("holds a store already") && complaint.contains("/test"), "{complaint}");
    goes_on(&device, &on_postgres);

    let again = vault.rebuild("postgres.backup", "again", &["--secrets", &to_second]);
    goes_on(&device, &again);
    let embedded = vault.rebuild("postgres.backup", "embedded-again", &["--embedded"]);
    assert!(embedded.data_dir.join("airlock.db").exists());
    goes_on(&device, &embedded);
}

#[test]
fn configuration_and_database_alone() {
    let vault = Vault::new();
    let scene = Scene::on(Setup::default().config("proxy.db.connection", &database()));
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let yaml = scene.store.proxy(&["config", "--export-yaml"]).ok();
    let blobs = scene.store.data_dir.join("blobs");
    fs::rename(&blobs, vault.path("blobs")).expect("the files outlive the host");
    let Scene { store, .. } = scene;
    super::destroy(store);

    let host = vault.path("host");
    let mut import = Command::new(program("proxy"))
        .args(["--data-dir".as_ref(), host.as_os_str(), "config".as_ref(), "--import-yaml".as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("proxy can be started");
    import.stdin.take().expect("a pipe").write_all(yaml.as_bytes()).expect("the settings go in");
    assert!(import.wait().expect("it ends").success());
    fs::rename(vault.path("blobs"), host.join("blobs")).expect("and are put back");
    let rebuilt = Setup::empty().start_at(&host).unwrap_or_else(|failure| panic!("{failure}"));
    goes_on(&device, &rebuilt);
}
