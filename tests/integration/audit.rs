//! The audit log: nothing is done without it, what was refused is in it, and nothing hostile or secret gets out of it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::device::session::session_request;
use tests::device::{Device, Snapd};
use tests::http::Request;
use tests::postgres::{Cluster, connect};
use tests::server::{SECRET, Server, Setup, program, proxy};
use tests::world::World;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

fn events(store: &Server) -> Vec<Value> {
    let log = store.proxy(&["audit", "--json"]).ok();
    log.lines().map(|line| serde_json::from_str(line).expect("an event on each line")).collect()
}

fn verify(store: &Server, args: &[&str]) -> Value {
    let ran = store.proxy(&[&["verify", "--json"], args].concat());
    serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}{}", ran.stdout, ran.stderr))
}

#[test]
fn what_was_refused_is_recorded_with_its_reason() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let before = events(&store).len();
    let _ = store.try_push_bundle(b"no bundle").refused();
    let _ = store.proxy(&["remove-snap", "nothing", "--apply"]).refused();
    let _ = store.proxy(&["config", "proxy.tls.client-auth=required"]).refused();
    let _ = store.proxy(&["create-login", "--store", "nowhere", "--acl", "package_access"]);
    let _ = store.proxy(&["models", "close", "acme/gateway"]).refused();
    // What only asks is no action.
    let _ = store.proxy(&["remove-snap", "nothing"]).refused();
    let dry = |path: &str| store.proxy(&["push-snap", path, "--dry-run"]).refused();
    let _ = store.with_file("hello-20240102T030405.tar.gz", b"no bundle", dry);
    let refused: Vec<_> = events(&store).split_off(before);
    let short: Vec<_> =
        refused.iter().map(|event| (event["what"].as_str(), event["outcome"].as_str())).collect();
    let wanted = ["push-snaps", "remove-snap", "config", "create-login", "close-model"]
        .map(|what| (Some(what), Some("refused")));
    assert_eq!(short, wanted, "{refused:?}");
    assert_eq!(refused[0]["subject"], json!("hello-20240102T030405.tar.gz"));
    let subjects = [&refused[2]["subject"], &refused[4]["subject"]];
    assert_eq!(subjects, [&json!("proxy.tls.client-auth"), &json!("acme/gateway")]);
    assert_eq!(refused[0]["detail"]["code"], json!("invalid-bundle"));
    assert!(refused[0]["who"].as_str().is_some_and(|who| who.starts_with("uid ")), "{refused:?}");

    let report = verify(&store, &[]);
    assert_eq!((&report["problems"], &report["events"]), (&json!([]), &json!(before + refused.len())));
    let head = store.status().audit_head.expect("a head");
    assert_eq!(json!(head.hash), refused[4]["hash"]);
    assert!(store.proxy(&["audit"]).stderr.contains(&format!("the log ends with {head}")));
    assert!(store.proxy(&["status"]).stdout.contains(&head.to_string()));
    // Where it was written down, and later.
    assert_eq!(verify(&store, &["--audit-head", &head.to_string()])["problems"], json!([]));
    let other = format!("{}:{}", head.sequence, "00".repeat(48));
    let report = verify(&store, &["--audit-head", &other]);
    assert_eq!(report["problems"][0]["kind"], json!("broken-audit"), "{report}");
}

#[test]
fn verify_names_the_event_that_was_changed() {
    let runtime = runtime();
    let cluster = Cluster::shared();
    let database = runtime.block_on(cluster.database()).expect("a database");
    let store = Setup::default().config("proxy.db.connection", &database).start();
    for count in 1..=5 {
        let _ = store.proxy(&["config", &format!("proxy.device-auth.session-lifetime={count}d")]).ok();
    }
    let client = runtime.block_on(connect(&database)).expect("a connection");
    let run = |sql: &str| runtime.block_on(client.batch_execute(sql)).expect("a statement");
    assert_eq!(verify(&store, &[])["problems"], json!([]));
    run("UPDATE audit SET who = 'uid 4711' WHERE sequence = 3");
    let report = verify(&store, &[]);
    assert_eq!(report["problems"][0]["subject"], json!("event 3"), "{report}");
    let text = store.proxy(&["verify"]);
    assert!(text.code == Some(1) && text.stdout.contains("event 3"), "{text:?}");
    // It is a problem until somebody has looked again.
    assert!(store.proxy(&["status"]).stdout.contains("problems that are no damaged files"));
}

#[test]
fn what_cannot_be_recorded_is_refused_and_devices_are_served() {
    let runtime = runtime();
    let cluster = Cluster::shared();
    let database = runtime.block_on(cluster.database()).expect("a database");
    let (world, store) = (World::new(), Setup::default().config("proxy.db.connection", &database).start());
    store.trust(&world);
    let hello = world.snap("hello");
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    let client = runtime.block_on(connect(&database)).expect("a connection");
    let run = |sql: &str| runtime.block_on(client.batch_execute(sql)).expect("a statement");
    run("ALTER TABLE audit RENAME TO elsewhere");
    let orphan = super::gc::plant(&store.data_dir, b"orphan", super::gc::OLD);
    let pushed = store.try_push_pair(&hello.revision(2), &["latest/stable"], "ubuntu");
    assert_eq!(pushed.code, Some(1), "{pushed:?}");
    let _ = store.proxy(&["config", "proxy.device-auth.session-lifetime=3d"]).refused();
    let _ = store.proxy(&["gc", "--now"]).refused();
    let _ = store.proxy(&["block-device", "acme/gateway/1"]).refused();
    assert!(orphan.exists());
    assert_eq!(store.proxy(&["config", "proxy.device-auth.session-lifetime"]).ok().trim(), "7d");
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    assert_eq!(device.install("hello", "stable").expect("served").snap.revision, 1);
    run("ALTER TABLE elsewhere RENAME TO audit");
    store.push_pair(&hello.revision(2), &["latest/stable"], "ubuntu");
    assert_eq!(device.install("hello", "stable").expect("served").snap.revision, 2);
    assert_eq!(verify(&store, &[])["problems"], json!([]));
}

#[test]
fn new_events_are_followed() {
    let store = Server::start();
    let _ = store.proxy(&["config", "proxy.device-auth.session-lifetime=1d"]).ok();
    let mut follower = Command::new(program("proxy"))
        .args(["--data-dir".as_ref(), store.data_dir.as_os_str()])
        .args(["audit", "--follow", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("proxy can be started");
    let mut lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("a line").expect("readable");
        serde_json::from_str(&line).expect("one object on each line")
    };
    let mut last = next();
    while last["what"] != json!("config") {
        last = next();
    }
    for days in 2..=4 {
        let _ = store.proxy(&["config", &format!("proxy.device-auth.session-lifetime={days}d")]).ok();
        let event = next();
        assert_eq!(event["sequence"].as_i64(), last["sequence"].as_i64().map(|before| before + 1));
        assert_eq!(event["subject"], json!("proxy.device-auth.session-lifetime"));
        last = event;
    }
    follower.kill().expect("it still runs");
    let _ = follower.wait();
}

#[test]
fn hostile_names_forge_no_line_and_steer_no_terminal() {
    const HOSTILE: &str =
        "x\u{1b}[2J\u{9b}31m\n{\"level\":\"ERROR\",\"message\":\"forged\"}\r\u{202e}.tar.gz";
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join(std::ffi::OsStr::from_bytes(HOSTILE.as_bytes()));
    fs::write(&path, b"no bundle").expect("there is room");
    let refused = store.proxy(&["push-snap", path.to_str().expect("a text")]);
    assert_eq!(refused.code, Some(1));
    let _ = store.proxy(&["remove-snap", HOSTILE, "--apply"]);
    let _ = store.proxy(&["revoke-login", HOSTILE]);
    let _ = store.proxy(&["block-device", &format!("acme/gateway/{HOSTILE}")]);
    let target = "/api/v1/snaps/assertions/model/16/acme/%1b%5b2J%0aforged%c2%9b";
    let _ =
        store.send(&Request::new("GET", target, store.host()).header("User-Agent", "snapd/2.77 \u{9b}2J"));
    let outputs = [
        refused.stdout,
        refused.stderr,
        store.proxy(&["audit"]).ok(),
        store.proxy(&["audit", "--json"]).ok(),
        store.proxy(&["list-devices", "--json"]).ok(),
        store.log(),
    ];
    let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    for output in &outputs[..5] {
        assert!(!output.contains(steers), "{output:?}");
        assert!(!output.lines().any(|line| line.starts_with("{\"level\":\"ERROR\"")), "{output:?}");
    }
    assert!(outputs[3].contains("forged"), "the name is there: {}", outputs[3]);
    for line in outputs[5].lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        assert_ne!(record["message"], json!("forged"), "{line}");
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
    assert_eq!(verify(&store, &[])["problems"], json!([]));
}

#[test]
fn the_database_is_told_no_secret() {
    let runtime = runtime();
    let cluster = Cluster::start().expect("a PostgreSQL of its own");
    let database = runtime.block_on(cluster.database()).expect("a database");
    let client = runtime.block_on(connect(&database)).expect("a connection");
    for sql in [
        "ALTER SYSTEM SET log_statement = 'all'",
        "ALTER SYSTEM SET log_min_duration_statement = 0",
        "ALTER SYSTEM SET log_parameter_max_length = -1",
        "SELECT pg_reload_conf()",
    ] {
        runtime.block_on(client.batch_execute(sql)).expect("a setting");
    }
    const OTHER: &str = "c29tZXRoaW5nIGVsc2UgYWx0b2dldGhlciAzMmJ5dGU=";
    let world = World::new();
    let store = Setup::default().config("proxy.db.connection", &database).start();
    store.trust(&world);
    let brand = world.brand("acme");
    let hello = world.snap("hello");
    store.push_brand(&brand);
    store.push_store("AcmeStore", "acme", &[&hello]);
    store.push_pair(&hello.revision(1), &["latest/stable"], "AcmeStore");
    let (login, token) = store.login("AcmeStore", "package_access");
    let identity = brand.device(&brand.model_in("gateway", "AcmeStore"), "SN-1");
    let mut device = Device::new(&store, Snapd::V2_77, &identity);
    device.install("hello", "stable").expect("an install");
    let session = device.session.clone().expect("a session");
    // One that was spent: a nonce that was only given out has never met the database.
    let nonce = device.nonce().expect("a nonce");
    let triple = device.triple(&session_request(&identity, &nonce), &identity);
    assert_eq!(store.send(&device.session_post(&triple)).status, 200);
    let _ = store.proxy(&["rotate-secret", "proxy.device-auth.secret", "--keep-old", "1d"]).ok();
    let rotated = store.proxy(&["config", "proxy.device-auth.secret"]).ok();
    let _ = store.proxy(&["revoke-login", &login]).ok();
    let _ = store.proxy(&["config", &format!("proxy.auth.secret={OTHER}")]).ok();
    let _ = store.proxy(&["config", "proxy.auth.secret=not-a-secret-at-all"]).refused();
    drop(store.stop());
    let log = cluster.log();
    // Parameters are logged, and the store's are among them.
    assert!(log.contains("AcmeStore") && log.contains("SN-1"), "parameters are logged");
    for (what, secret) in [
        ("secret", SECRET),
        ("login", &token),
        ("session", &session),
        ("nonce", &nonce),
        ("rotated", rotated.trim()),
        ("other", OTHER),
        ("wrong", "not-a-secret-at-all"),
    ] {
        assert!(secret.len() > 10 && !log.contains(secret), "{what} was logged");
        // Tokens in parts: the signed half alone opens nothing, the whole must not be there in pieces either.
        let longest = secret.split(['.', ':']).max_by_key(|part| part.len()).unwrap_or(secret);
        assert!(!log.contains(longest), "a part of {what} was logged");
    }
}

#[test]
fn settings_changed_while_the_server_was_stopped_are_recorded_at_its_start() {
    let store = Server::start();
    let before = events(&store).len();
    let stopped = store.stop();
    let _ = proxy(&stopped.data_dir, &["config", "proxy.verify.rate=5", "proxy.log.level=debug"]).ok();
    let store = stopped.start_as_it_was();
    let found = events(&store).split_off(before);
    let [event] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (&event["what"], &event["subject"]),
        (&json!("config"), &json!("proxy.log.level, proxy.verify.rate"))
    );
    assert!(event["who"].as_str().is_some_and(|who| who.starts_with("uid ")), "{event}");
    assert_eq!(event["detail"]["server"], json!("stopped"));
    assert!(!store.data_dir.join("airlock.changes").exists());
    assert_eq!(verify(&store, &[])["problems"], json!([]));
    // It is recorded once.
    let count = events(&store).len();
    let store = store.stop().start_as_it_was();
    assert_eq!(events(&store).len(), count);
}

#[test]
fn imports_are_listed_with_their_file_and_what_they_changed() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let hello = world.snap("hello");
    let push = |revision: u32| store.push_pair(&hello.revision(revision), &["latest/stable"], "ubuntu");
    push(1);
    push(2);
    store.push_store("AcmeStore", "acme", &[&hello]);
    push(2);
    let _ = store.try_push_bundle(b"no bundle").refused();
    let dry = |path: &str| store.proxy(&["push-snap", path, "--dry-run"]).refused();
    let _ = store.with_file("never.tar.gz", b"no bundle", dry);

    let listed = store.proxy(&["list-imports", "--json"]).json();
    let all = listed["imports"].as_array().expect("a list");
    let with = |what: &str| -> Vec<&Value> { all.iter().filter(|import| import["what"] == what).collect() };
    let snaps = with("push-snaps");
    let changes: Vec<Vec<&str>> = snaps
        .iter()
        .map(|import| {
            import["changes"].as_array().expect("a list").iter().filter_map(Value::as_str).collect()
        })
        .collect();
    assert!(changes[0].contains(&"snap hello revision 1"), "{changes:?}");
    assert!(changes[1].contains(&"snap hello revision 2"), "{changes:?}");
    assert!(
        changes[1].iter().any(|line| line.starts_with("snap hello latest/stable") && line.ends_with("1 → 2"))
    );
    assert!(changes[2].is_empty() && changes[3].is_empty(), "{changes:?}");
    assert_eq!(snaps[1]["sha256"], snaps[2]["sha256"]);
    assert_eq!(
        (&snaps[3]["sha256"], &snaps[3]["file"]),
        (&json!(null), &json!("hello-20240102T030405.tar.gz"))
    );
    assert!(snaps[3]["refused"].as_str().is_some_and(|reason| !reason.is_empty()), "{listed}");
    assert!(snaps[..3].iter().all(|import| import["refused"].is_null() && import["file"].is_string()));
    let [stores] = &with("push-brand-store-metadata")[..] else { panic!("{listed}") };
    assert!(
        stores["changes"]
            .as_array()
            .is_some_and(|changes| changes.contains(&json!("grants of store AcmeStore: 1"))),
        "{stores}"
    );
    // Each is an event of the audit log.
    for import in all {
        let found = events(&store).into_iter().find(|event| event["sequence"] == import["sequence"]);
        assert_eq!(found.expect("an event")["who"], import["who"]);
    }
    let text = store.proxy(&["list-imports", "--since", "1h"]).ok();
    assert!(text.contains("  nothing new\n") && text.contains("  refused: "), "{text}");
}
