//! The metrics: their values are right, the dashboard and the alerts find their series, and the port is open only
//! while it is enabled.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tests::http::{Connection, Request};
use tests::prometheus::{Scrape, metrics_address, program};
use tests::server::Server;

use super::{eventful, get, watched};
use crate::sessions::restart::until;

const MONITORING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/monitoring");

/// Our metrics that a text mentions.
fn asked(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = |word: &&str| word.starts_with("airlock_") || word.starts_with("process_");
    words.filter(ours).map(str::to_owned).collect()
}

fn expressions(dashboard: &Value) -> String {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    targets.map(|target| target["expr"].as_str().expect("an expression")).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_happened_is_counted() {
    let scene = eventful();
    let store = &scene.store;
    let address = metrics_address(store);
    let parcel = Request::new("POST", "/v1/parcel-imports", "airlock")
        .header("Content-Type", "application/json")
        .body(br#"{"parcel":"0123456789abcdef0123456789abcdef"}"#);
    let mut socket = Connection::open_unix(&store.data_dir.join("admin.sock")).expect("a socket");
    assert_eq!(socket.exchange(&parcel).expect("an answer").status, 422);
    let answer = Scrape::answer(address, "/metrics");
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let scrape = Scrape { text: answer.text() };
    let post = |route: &str, code: &str| {
        format!("airlock_http_requests_total{{route=\"{route}\",method=\"POST\",code=\"{code}\"}}")
    };
    let get_of = |route: &str, code: &str| post(route, code).replace("POST", "GET");
    for (series, wanted) in [
        (&*post("/api/v1/snaps/auth/sessions", "200"), 1.0),
        (&*post("/api/v1/snaps/auth/sessions", "400"), 1.0),
        (&*get_of("/api/v1/snaps/download/{file}", "200"), 1.0),
        (&*get_of("/icons/{file}", "404"), 1.0),
        ("airlock_http_request_duration_seconds_count{route=\"/icons/{file}\",outcome=\"refused\"}", 1.0),
        (
            "airlock_http_request_duration_seconds_bucket{route=\"/icons/{file}\",outcome=\"refused\",le=\"+Inf\"}",
            1.0,
        ),
        ("airlock_sessions_total{outcome=\"begun\"}", 1.0),
        ("airlock_sessions_total{outcome=\"decode\"}", 1.0),
        ("airlock_sessions_total{outcome=\"model-signature\"}", 0.0),
        ("airlock_imports_total{kind=\"snaps\",outcome=\"done\"}", 1.0),
        ("airlock_imports_total{kind=\"snaps\",outcome=\"refused\"}", 1.0),
        ("airlock_imports_total{kind=\"snaps\",outcome=\"failed\"}", 0.0),
        ("airlock_imports_total{kind=\"assertions\",outcome=\"done\"}", 2.0),
        ("airlock_imports_total{kind=\"stores\",outcome=\"done\"}", 1.0),
        ("airlock_imports_total{kind=\"parcel\",outcome=\"refused\"}", 1.0),
        ("airlock_import_duration_seconds_count{kind=\"snaps\"}", 2.0),
        ("airlock_catalog_snaps", 1.0),
        ("airlock_catalog_revisions", 1.0),
        ("airlock_catalog_stores", 1.0),
        ("airlock_blobs", 1.0),
        ("airlock_blobs_damaged", 0.0),
        ("airlock_devices_seen", 1.0),
        ("airlock_devices_blocked", 0.0),
        ("airlock_signing_keys_expired", 0.0),
        ("airlock_ready{part=\"database\"}", 1.0),
        ("airlock_ready{part=\"secret\"}", 1.0),
        ("airlock_connections_refused_total{reason=\"total\"}", 0.0),
        ("airlock_database_connections_max{pool=\"sessions\"}", 8.0),
        ("airlock_database_waiting{pool=\"operator\"}", 0.0),
        (&*format!("airlock_build_info{{version=\"{}\"}}", store.status().version), 1.0),
    ] {
        assert!((scrape.value(series) - wanted).abs() < 1e-9, "{series} is {}", scrape.value(series));
    }
    let now = time::OffsetDateTime::now_utc().unix_timestamp() as f64;
    let size = |folder: &str| scrape.value(&format!("airlock_data_size_bytes{{folder=\"{folder}\"}}"));
    for (series, least, most) in [
        ("airlock_certificate_expires_in_seconds", 86400.0, 4000.0 * 86400.0),
        ("airlock_signing_key_expires_in_seconds", 19.9 * 86400.0, 20.0 * 86400.0),
        ("airlock_last_import_timestamp_seconds", now - 60.0, now + 1.0),
        ("process_start_time_seconds", now - 60.0, now + 1.0),
        ("airlock_blob_bytes", 200_000.0, 300_000.0),
        ("airlock_sent_bytes_total", 200_000.0, 1e7),
        ("airlock_received_bytes_total", 1000.0, 1e6),
        ("airlock_data_free_bytes{folder=\"data\"}", 1.0, size("data")),
        ("airlock_data_free_bytes{folder=\"blobs\"}", 1.0, size("blobs")),
        ("process_resident_memory_bytes", 1e6, 1e9),
        ("process_open_fds", 5.0, 200.0),
        ("process_cpu_seconds_total", 0.001, 60.0),
    ] {
        let value = scrape.value(series);
        assert!(least <= value && value <= most, "{series} is {value}");
    }
    // Nothing of it tells of a device, a snap or a store.
    for name in ["hello", "AcmeStore", "gateway", "SN-1", "127.0.0.1"] {
        assert!(!scrape.text.contains(name), "{name} in {}", scrape.text);
    }
    assert_eq!(Scrape::answer(address, "/").status, 404);
    assert_eq!(Scrape::answer(address, "/v2/snaps/find").status, 404);
    assert_eq!(get(store, "/metrics").status, 308, "not on the port of devices");
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_there_is() {
    let scrape = Scrape::of(&eventful().store);
    let dashboard = fs::read_to_string(format!("{MONITORING}/grafana-dashboard.json")).expect("a dashboard");
    let dashboard = asked(&expressions(&serde_json::from_str(&dashboard).expect("JSON")));
    let alerts = asked(&fs::read_to_string(format!("{MONITORING}/alerts.yaml")).expect("alerts"));
    assert!(dashboard.len() > 30 && alerts.len() > 10, "{dashboard:?} {alerts:?}");
    let there = scrape.names();
    let asked: BTreeSet<String> = dashboard.union(&alerts).cloned().collect();
    let missing: Vec<_> = asked.difference(&there).collect();
    assert!(missing.is_empty(), "nothing shows {missing:?}");
    // A histogram is asked for by one of its parts.
    let stem = |name: &String| {
        ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|part| name.strip_suffix(part))
            .unwrap_or(name)
            .to_owned()
    };
    let seen: BTreeSet<String> = asked.iter().map(stem).collect();
    let unseen: Vec<_> = there.iter().map(stem).filter(|name| !seen.contains(name)).collect();
    assert!(unseen.is_empty(), "nobody asks for {unseen:?}");

    let checked = |args: &[&str], input: Option<&str>| {
        let mut command = Command::new(program("promtool"));
        if let Some(text) = input {
            let file = tempfile::NamedTempFile::new().expect("there is room");
            fs::write(file.path(), text).expect("there is room");
            command.stdin(fs::File::open(file.path()).expect("a file"));
        }
        let output = command.args(args).output().expect("promtool can be started");
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let (sound, said) = checked(&["check", "rules", &format!("{MONITORING}/alerts.yaml")], None);
    assert!(sound && said.contains("SUCCESS"), "{said}");
    let (sound, said) = checked(&["check", "metrics"], Some(&scrape.text));
    assert!(sound, "{said}");
}

#[test]
fn the_port_is_open_while_it_has_an_address() {
    let store = Server::start();
    assert_eq!(store.status().metrics, None);
    let set = |value: &str| store.proxy(&["config", &format!("proxy.metrics.address={value}")]);
    let _ = set("127.0.0.1:0").ok();
    let first = metrics_address(&store);
    assert_eq!(Scrape::answer(first, "/metrics").status, 200);
    assert!(store.proxy(&["status"]).stdout.contains(&format!("http://{first}/metrics")));
    // Another key changes nothing about it.
    let _ = store.proxy(&["config", "proxy.log.level=warn"]).ok();
    assert_eq!(metrics_address(&store), first);
    let _ = set("[::1]:0").ok();
    let second = metrics_address(&store);
    assert_eq!(Scrape::answer(second, "/metrics").status, 200);
    until("the previous port is closed", || TcpStream::connect(first).is_err());
    let refusal = set(&store.address.to_string()).refused();
    assert!(refusal.contains("set proxy.metrics.address with `proxy config`"), "{refusal}");
    assert_eq!(metrics_address(&store), second, "what cannot be put in force changes nothing");
    let _ = set("").ok();
    assert_eq!(store.status().metrics, None);
    until("the port is closed", || TcpStream::connect(second).is_err());
}

#[test]
fn connections_are_counted_by_what_they_are_at() {
    let store = watched().start();
    let idle = tests::http::Connection::open(store.address).map(|mut connection| {
        let answer = connection.exchange(&tests::http::Request::new("GET", "/_status/check", "127.0.0.1"));
        assert_eq!(answer.expect("an answer").status, 200);
        connection
    });
    let mute: Vec<TcpStream> =
        (0..3).map(|_| TcpStream::connect(store.address).expect("a connection")).collect();
    let is = |phase: &str, count: f64| {
        let series = format!("airlock_connections{{phase=\"{phase}\"}}");
        (Scrape::of(&store).value(&series) - count).abs() < 0.1
    };
    until("one waits and three say nothing", || is("idle", 1.0) && is("head", 3.0));
    drop((idle, mute));
    until("all are gone", || is("idle", 0.0) && is("head", 0.0));
    assert!(Scrape::of(&store).value("airlock_connections_accepted_total") >= 4.0);
}

/// Files that lie on another disk than the data directory fill that one.
#[test]
fn the_folder_of_files_is_measured_where_it_lies() {
    let memory = Path::new("/dev/shm");
    let elsewhere = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    let elsewhere = elsewhere.expect("there is room for temporary files");
    let path = elsewhere.path().to_str().expect("a path of text");
    let store = watched().config("proxy.storage.path", path).start();
    let scrape = Scrape::of(&store);
    for (folder, at) in [("data", store.data_dir.as_path()), ("blobs", elsewhere.path())] {
        let about = nix::sys::statvfs::statvfs(at).expect("a file system");
        let size = (about.blocks() * about.fragment_size()) as f64;
        let told = scrape.value(&format!("airlock_data_size_bytes{{folder=\"{folder}\"}}"));
        assert!((told - size).abs() < 1.0, "{folder}: {told}, and it has {size}");
    }
}
