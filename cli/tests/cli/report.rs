//! What the reporting commands print.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::{Site, Stub};

fn status() -> Value {
    json!({
        "version": "1.0", "store-url": "http://proxy.example.com", "listening": ["127.0.0.1:8080"],
        "database": "ok", "database-engine": "sqlite", "storage": "ok", "backup": {}, "airgap-mode": true,
        "store-id": "3dqTufgqR25SBaBoCuqCFwLcU01Gp24U",
        "services": {"catalog": "running", "listener": "running"},
        "stores": [{"id": "s1", "name": "Acme Devices", "brand-id": "acme", "parent": null,
            "snaps": ["a", "b"], "missing": []}],
        "account-keys": [
            {"public-key-sha3-384": "KEY1", "account-id": "acme", "name": "models",
                "since": "2020-01-01T00:00:00Z", "until": "2030-05-06T00:00:00Z", "state": "valid"},
            {"public-key-sha3-384": "KEY2", "account-id": "acme", "name": null,
                "since": "2020-01-01T00:00:00Z", "until": null, "state": "revoked"}],
        "trust": [], "session-key": "abc", "problems": [],
        "counts": {"snaps": 2, "revisions": 3, "assertions": 10, "blocked-devices": 0}
    })
}

const HEALTHY: &str = "\
Store URL: http://proxy.example.com
Store DB: ok
Store is in device authenticated air-gapped mode
Store ID: 3dqTufgqR25SBaBoCuqCFwLcU01Gp24U
Internal Service Status:
  catalog: running
  listener: running
Imported Stores:
  s1: Acme Devices (brand acme, 2 snaps)
Account Keys:
  KEY1: acme models, until 2030-05-06
  KEY2: acme (revoked)
";

/// What follows while no check of all files has ended and there is no backup.
const UNCHECKED: &str =
    "Check of All Files:\n  Never ended so far\nBackups:\n  Last made: never\n  Last rehearsed: never\n";

/// A site whose server answers `answer` at `route`.
fn answering(route: &str, answer: Value) -> (Site, Stub) {
    let site = Site::new();
    let stub = Stub::start(&site, &[(route, 200, answer)]);
    (site, stub)
}

#[test]
fn a_healthy_store() {
    let (site, _stub) = answering("GET /v1/status", status());
    assert_eq!(site.line("status").ok(), format!("{HEALTHY}{UNCHECKED}"));
    let json: Value = serde_json::from_str(&site.line("status --json").ok()).expect("JSON");
    assert_eq!((&json["running"], &json["listening"][0]), (&json!(true), &json!("127.0.0.1:8080")));
}

#[test]
fn a_store_with_https() {
    let mut report = status();
    report["tls"] = json!({
        "certificate": {"subject": "snaps.internal", "issuer": "Site CA", "names": ["snaps.internal", "10.0.0.1"],
            "not-before": "2026-01-01T00:00:00Z", "not-after": "2027-01-01T00:00:00Z", "days-left": 41},
        "client-auth": "optional", "warning": "The certificate expires in 41 days.", "problems": []
    });
    let expected = format!(
        "{HEALTHY}TLS:
  Certificate: snaps.internal for snaps.internal, 10.0.0.1
  Issuer: Site CA
  Valid until: 2027-01-01T00:00:00Z (41 days left)
  Client certificates: optional
  Checked as a device: ok
{UNCHECKED}"
    );
    let (site, _stub) = answering("GET /v1/status", report);
    assert_eq!(site.line("status").ok(), expected);
}

#[test]
fn a_degraded_store_is_reported_in_full_on_stdout_with_exit_code_1() {
    for (field, value, line) in [
        ("database", json!("cannot connect"), "Store DB: cannot connect"),
        (
            "airgap-mode",
            json!(false),
            "Store is not in air-gapped mode, no device is served: run `proxy enable-airgap-mode`",
        ),
        (
            "services",
            json!({"listener": "not running: port 80 is taken"}),
            "  listener: not running: port 80 is taken",
        ),
        (
            "problems",
            json!(["Snap a of store s1 was not pushed yet."]),
            "  Snap a of store s1 was not pushed yet.",
        ),
    ] {
        let mut report = status();
        report[field] = value;
        report["store-id"] = Value::Null;
        report["trust"] = json!([{"fingerprint": "ROOT", "account-id": "test"}]);
        let (site, _stub) = answering("GET /v1/status", report);
        let done = site.line("status");
        let lines: Vec<&str> = done.stdout.lines().collect();
        assert_eq!((done.code, done.stderr.as_str()), (1, ""), "{field}");
        for wanted in [line, "Store ID: not registered", "Extra Trust Anchors:", "  ROOT: test"] {
            assert!(lines.contains(&wanted), "{wanted}: {}", done.stdout);
        }
    }
}

#[test]
fn a_store_whose_server_is_down() {
    let site = Site::new();
    site.run(["config", "proxy.domain=snaps.internal", "proxy.port.http=8080", "proxy.airgap=true"]).ok();
    let start = format!("proxyd --data-dir {}", site.data.display());
    let done = site.line("status");
    assert_eq!(
        done.stdout,
        format!(
            "Store URL: http://snaps.internal:8080\n\
             Store DB: not known while the server is not running\n\
             Store is in device authenticated air-gapped mode\n\
             Store ID: not registered\n\
             Internal Service Status:\n  proxyd: not running: start it with `{start}`\n\
             Problems:\n  The server is not running: start it with `{start}`.\n"
        )
    );
    assert_eq!(done.code, 1);
    let json: Value = serde_json::from_str(&site.line("status --json").stdout).expect("JSON");
    assert_eq!(json["running"], false);
    // A socket that nobody listens on any more is the same.
    drop(std::os::unix::net::UnixListener::bind(site.data.join("admin.sock")).expect("a socket"));
    assert_eq!(site.line("status").stdout, done.stdout);
    site.file("x", "x");
    site.file("a", "type: account\n");
    for line in [
        "list-stores",
        "push-snap x",
        "push-assertions a",
        "trust list",
        "block-device a/b/c",
        "check-connections",
    ] {
        let done = site.line(line);
        assert_eq!(
            done.stderr,
            format!("error: the server is not running: start it with `{start}`\n"),
            "{line}"
        );
        assert_eq!((done.code, done.stdout.as_str()), (1, ""), "{line}");
    }
}

#[test]
fn snaps_in_two_columns_or_by_revision() {
    let snap = |name: &str, stores: &[&str]| {
        json!({"name": name, "snap-id": "i", "stores": stores, "revisions": [
            {"revision": 9, "version": "1\u{1b}[2J\n2", "architectures": ["amd64", "arm64"], "size": 4096, "channels": []},
            {"revision": 10, "version": "3", "architectures": ["all"], "size": 1, "channels": ["latest/stable"]}]})
    };
    let answer = json!({"snaps": [snap("helix", &["acme", "ubuntu"]), snap("core24", &["ubuntu"])]});
    let (site, _stub) = answering("GET /v1/snaps", answer);
    assert_eq!(site.line("list-pushed-snaps").ok(), "Name    Stores\ncore24  ubuntu\nhelix   acme, ubuntu\n");
    let revisions = site.line("list-pushed-snaps --revisions").ok();
    let lines: Vec<&str> = revisions.lines().collect();
    assert_eq!(lines.len(), 5, "no version begins a line: {revisions}");
    assert_eq!(lines[0], "Name    Revision  Version  Architectures  Size  Channels       Stores");
    assert_eq!(
        lines[1],
        "core24  9         1\u{fffd}[2J\u{fffd}2  amd64, arm64   4096  -              ubuntu"
    );
    let json: Value = serde_json::from_str(&site.line("list-pushed-snaps --json").ok()).expect("JSON");
    assert_eq!(json["snaps"][0]["name"], "core24");
}

#[test]
fn stores_and_keys_in_columns() {
    let (site, _stub) = answering("GET /v1/stores", json!({"stores": status()["stores"]}));
    assert_eq!(
        site.line("list-stores").ok(),
        "Store  Name          Brand  Parent  Snaps  Not pushed yet\ns1     Acme Devices  acme   -       2      -\n"
    );
    let (site, _stub) = answering("GET /v1/account-keys", json!({"account-keys": status()["account-keys"]}));
    assert_eq!(
        site.line("list-account-keys").ok(),
        "Account  Name    Since                 Until                 State    Key\n\
         acme     models  2020-01-01T00:00:00Z  2030-05-06T00:00:00Z  valid    KEY1\n\
         acme     -       2020-01-01T00:00:00Z  -                     revoked  KEY2\n"
    );
}

#[test]
fn connections_are_tried() {
    let (site, _stub) = answering("GET /v1/status", status());
    let open = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = open.local_addr().expect("an address").port();
    let allowed = format!("proxy.device-auth.allowed-device-service-urls=[\"http://127.0.0.1:{port}/x\"]");
    let settings =
        schema::config::Settings::from_yaml(&allowed.replacen('=', ": ", 1)).expect("a configuration");
    settings.save(&site.data).expect("a file");
    assert_eq!(
        site.line("check-connections").ok(),
        format!(
            "http: http://127.0.0.1:{port}/x: OK\nsqlite: embedded: OK\nfolder: data directory: OK\nservice: catalog: OK\n\
             service: listener: OK\n\
             All connections appear to be accessible\n"
        )
    );
    drop(open);
    let done = site.line("check-connections");
    assert_eq!(done.code, 1);
    assert!(
        done.stdout.contains("Connection refused") && done.stdout.ends_with("Some connections failed\n"),
        "{done:?}"
    );
}
