//! A restore that is cut off leaves an empty host or a whole one, and can be run again or is finished by the next start.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use schema::backup::{RestoreOrder, send};
use tests::device::Device;
use tests::postgres::Cluster;
use tests::server::{SECRET, Setup, program};

use super::{Scene, Vault, bound};

/// Points that a restore passes, with the passes that are tried, and whether it is whole when cut off there.
pub(crate) const POINTS: [(&str, u32, bool); 4] = [
    ("restore.staged", 1, false),
    ("restore.ready", 1, true),
    ("restore.copied", 1, true),
    ("restore.moved", 3, true),
];

/// Feeds an archive to the server's own program, which ends at a point when one is named.
fn feed(host: &Path, settings: &str, archive: &[u8], point: Option<&str>) -> Output {
    let mut child = Command::new(program("proxyd"))
        .args(["--data-dir".as_ref(), host.as_os_str(), "restore".as_ref()])
        .envs(point.map(|point| ("AIRLOCK_FAILPOINT", point)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("proxyd can be started");
    let order = RestoreOrder { settings: Some(settings.to_owned()), ..RestoreOrder::default() };
    let mut input = child.stdin.take().expect("a pipe");
    let line = serde_json::to_vec(&order).expect("plain values");
    // A program that has ended reads no more.
    let _ = input.write_all(&line).and_then(|()| input.write_all(b"\n")).and_then(|()| send(archive, input));
    child.wait_with_output().expect("it ends")
}

fn whole(host: &Path, device: &Device) {
    let store = Setup::empty().start_at(host).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(!host.join(".restore").exists());
    let mut device = device.clone();
    device.move_to(&store);
    let outcome = bound(&device).install("hello", "stable").expect("its session is accepted");
    device.fetch_and_check(&outcome).expect("with its file");
    let _ = store.proxy(&["verify"]).ok();
}

fn at_every_point(database: &dyn Fn() -> String) {
    let (scene, vault) = (Scene::new(), Vault::new());
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let archive = vault.keep_open(&scene.store, "open", &[]);
    for (point, passes, is_whole) in POINTS {
        for pass in 1..=passes {
            let place = format!("{point}:{pass}");
            let url = database();
            let settings = format!("proxy.device-auth.secret: {SECRET}\nproxy.db.connection: '{url}'\n");
            let host = vault.path(&place);
            let died = feed(&host, &settings, &archive, Some(&place));
            let last = url.is_empty() || pass < passes;
            if !last {
                // With another engine there is one file less to move.
                assert!(died.status.code().is_none() || died.status.success(), "{place}: {died:?}");
            } else {
                assert_eq!(died.status.code(), None, "{place}: {died:?}");
            }
            if is_whole {
                whole(&host, &device);
            } else {
                let there: Vec<_> =
                    fs::read_dir(&host).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
                assert_eq!(there, [".restore"], "{place}: an empty host");
                let again = feed(&host, &settings, &archive, None);
                assert!(again.status.success(), "{place}: {again:?}");
                whole(&host, &device);
            }
        }
    }
}

#[test]
fn into_the_embedded_database() {
    at_every_point(&String::new);
}

#[test]
fn into_postgresql() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    at_every_point(&|| runtime.block_on(Cluster::shared().database()).expect("a database"));
}

#[test]
fn killed_at_any_moment_of_its_reading() {
    let (scene, vault) = (Scene::new(), Vault::new());
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let archive = vault.keep_open(&scene.store, "open", &[]);
    let host = vault.path("host");
    let settings = format!("proxy.device-auth.secret: {SECRET}\n");
    for tenth in 0..10 {
        let mut sent = Vec::new();
        send(archive.as_slice(), &mut sent).expect("in memory");
        let part = &sent[..sent.len() * tenth / 10];
        let order = RestoreOrder { settings: Some(settings.clone()), ..RestoreOrder::default() };
        let mut child = Command::new(program("proxyd"))
            .args(["--data-dir".as_ref(), host.as_os_str(), "restore".as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("proxyd can be started");
        let mut input = child.stdin.take().expect("a pipe");
        let line = serde_json::to_vec(&order).expect("plain values");
        input.write_all(&line).and_then(|()| input.write_all(b"\n")).expect("the order goes in");
        input.write_all(part).expect("a part goes in");
        child.kill().expect("it is at work");
        let _ = child.wait().expect("it ends");
        let there = fs::read_dir(&host).into_iter().flatten().flatten();
        assert!(there.into_iter().all(|entry| entry.file_name() == ".restore"), "{tenth}");
    }
    assert!(feed(&host, &settings, &archive, None).status.success());
    whole(&host, &device);
}
