//! Log lines: one event is one line whatever a device sends, and no line shows a credential (hazards J1 and J4).

use std::net::TcpStream;

use serde_json::Value;
use tests::device::Device;
use tests::http::Request;
use tests::peer::{Peer, Transport};
use tests::server::{Server, Setup};

use crate::sessions::Scene;

/// Nothing but printable text on each line.
fn assert_clean(log: &str) {
    assert!(log.lines().all(|line| !line.contains(char::is_control)), "{log:?}");
}

/// Requests with line ends, escapes and quotes wherever a client can put them, and made-up methods.
fn attack(store: &Server) {
    let targets = [
        "/forged%0a%1b[31m%7b%22level%22:%22ERROR%22%7d",
        "/v2/snaps/info/%0d%0aforged%00",
        "/v2/snaps/find?q=%1b]0;forged%07%0aforged",
        "/forged\"\\{}",
    ];
    for target in targets {
        let request = Request::new("GET", target, "127.0.0.1")
            .header("User-Agent", "forged \u{e9}\t\"quoted\"")
            .header("Snap-Device-Authorization", "Macaroon root=\"forged\\u001b\"")
            .header("Connection", "close");
        let _ = tests::http::exchange(store.address, &request);
    }
    let request = Request::new("FORGED", "/", "127.0.0.1").header("Connection", "close");
    let _ = tests::http::exchange(store.address, &request);
    let body = b"{\"nonce\":\"\\u001b[2J\\nforged\",\"context\":[],\"actions\":[{\"action\":\"install\",\"name\":\"\\u001b[2Jfor\\nged\"}]}";
    let _ = store.send(
        &Request::new("POST", "/v2/snaps/refresh", "127.0.0.1").header("Connection", "close").body(body),
    );
    let _ = store.try_push_bundle(b"\x1b[2Jno bundle\n");
    let _ = store.proxy(&["override", "for\u{1b}[2Jged\nforged", "stable=1"]);
}

fn lines(store: &Server) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
    store.log().lines().map(parse).collect()
}

#[test]
fn a_request_is_one_line_in_json() {
    let store =
        Setup::default().config("proxy.log.format", "json").config("proxy.log.level", "debug").start();
    attack(&store);
    assert_clean(&store.log());
    let answered: Vec<Value> =
        lines(&store).into_iter().filter(|line| line["message"] == "Answered").collect();
    let find = answered.iter().find(|line| line["route"] == "/v2/snaps/find").expect("a line");
    let number = |name: &str| find[name].as_u64().unwrap_or_else(|| panic!("{name} in {find}"));
    assert!(number("request") > 0 && number("micros") < 60_000_000 && number("response_bytes") > 1, "{find}");
    assert_eq!((&find["method"], &find["status"]), (&"GET".into(), &401.into()), "{find}");
    let refresh = answered.iter().find(|line| line["route"] == "/v2/snaps/refresh").expect("a line");
    assert!(refresh["request_bytes"].as_u64().is_some_and(|bytes| bytes > 100), "{refresh}");
    let forged = answered.iter().find(|line| line["method"] == "other").expect("a line");
    assert_eq!((&forged["route"], &forged["status"]), (&"/".into(), &405.into()), "{forged}");
    // The number in the log is the one that the device shows.
    let missing = store.send(&Request::new("GET", "/nowhere", "127.0.0.1").header("Connection", "close"));
    let id: u64 = missing.header("X-Oops-Id").and_then(|id| id.parse().ok()).expect("an id");
    assert!(lines(&store).iter().any(|line| line["request"] == id && line["path"] == "/nowhere"), "{id}");
}

#[test]
fn a_request_is_one_line_of_text() {
    let store =
        Setup::default().config("proxy.log.format", "text").config("proxy.log.level", "debug").start();
    attack(&store);
    let log = store.log();
    // Colours are for terminals.
    assert_clean(&log);
    assert!(log.contains("Answered") && log.contains("route=\"/v2/snaps/find\""), "{log}");
    let stamped = |line: &str| line.starts_with("20") && line.get(10..11) == Some("T");
    assert!(log.lines().all(stamped), "{log}");
}

/// What the server is built on logs at these levels: values of statements, headers and keys.
#[test]
fn no_level_shows_what_dependencies_log_unless_they_are_named() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = || runtime.block_on(tests::postgres::Cluster::shared().database()).expect("a database");
    let foreign = |setup: Setup| {
        let store =
            setup.config("proxy.db.connection", &database()).config("proxy.log.format", "json").start();
        let (world, _) = (tests::world::World::new(), attack(&store));
        store.trust(&world);
        store.push_pair(&world.snap("hello").revision(1), &["latest/stable"], "ubuntu");
        let lines = lines(&store);
        let chatty = |line: &&Value| line["level"] == "DEBUG" || line["level"] == "TRACE";
        let targets: Vec<String> =
            lines.iter().filter(chatty).map(|line| line["target"].to_string()).collect();
        let own = |line: &Value| line["target"].as_str().is_some_and(|target| target.starts_with("proxyd"));
        assert!(lines.iter().any(own), "our own lines are there");
        targets.into_iter().filter(|target| !target.starts_with("\"proxyd")).collect::<Vec<_>>()
    };
    assert_eq!(foreign(Setup::default().config("proxy.log.level", "trace")), [""; 0]);
    assert_eq!(foreign(Setup::default().variable("AIRLOCK_LOG", "debug")), [""; 0]);
    let named = foreign(Setup::default().variable("AIRLOCK_LOG", "debug,tokio_postgres=debug"));
    assert!(named.iter().any(|target| target.contains("tokio_postgres")), "{named:?}");
}

#[test]
fn the_level_changes_while_the_server_runs() {
    let store = Server::start();
    let told = |store: &Server| {
        let _ = super::get(store, "/_status/check");
        store
            .log()
            .lines()
            .filter(|line| line.contains("Answered") && line.contains("/_status/check"))
            .count()
    };
    assert_eq!(told(&store), 0);
    let _ = store.proxy(&["config", "proxy.log.level=debug"]).ok();
    assert_eq!(told(&store), 1);
    let _ = store.proxy(&["config", "proxy.log.level="]).ok();
    assert_eq!(told(&store), 1);
    // Requests alone, at the level of all days.
    let _ = store.proxy(&["config", "proxy.log.access=true"]).ok();
    assert_eq!(told(&store), 2);
    let log = store.log();
    let last = log.lines().rfind(|line| line.contains("Answered")).unwrap_or_default();
    assert!(last.contains("INFO"), "{last}");
    let _ = store.proxy(&["config", "proxy.log.access=false"]).ok();
    assert_eq!(told(&store), 2);
    let format = store.proxy(&["config", "proxy.log.format=text"]);
    assert!(format!("{}{}", format.stdout, format.stderr).contains("restart"), "{format:?}");

    // What the environment says counts more, and goes on doing so.
    for variable in ["RUST_LOG", "AIRLOCK_LOG"] {
        let store = Setup::default().variable(variable, "debug").config("proxy.log.level", "error").start();
        assert_eq!(told(&store), 1);
        let _ = store.proxy(&["config", "proxy.log.level=error"]).ok();
        assert_eq!(told(&store), 2);
    }
}

#[test]
fn no_line_shows_a_credential() {
    let scene = Scene::on(Setup::default().config("proxy.log.level", "trace"));
    let mut device: Device = scene.device();
    let _ = device.install_for_good("hello", "latest/stable").expect("an install");
    let (_, login) = scene.store.login("AcmeStore", "store_admin");
    let bearer = format!("Bearer {login}");
    let request =
        Request::new("GET", "/api/v2/stores/AcmeStore", "127.0.0.1").header("Authorization", &bearer);
    let answer = scene.store.send(&request.header("Connection", "close"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = device.session.clone().expect("a session");
    let nonce = device.nonce().expect("a nonce");
    let log = scene.store.log();
    assert!(log.contains("Answered"), "{log}");
    for (what, secret) in [("session", session), ("login", login), ("nonce", nonce)] {
        assert!(secret.len() > 20);
        // A part of it is as bad.
        let part = &secret[secret.len() - 20..];
        assert!(!log.contains(part), "the {what} is in the log");
    }
    assert!(!log.contains(tests::server::SECRET));
}

/// An operator sees who is locked out by the certificate, its settings or its own list of authorities, and a flood stays one line.
#[test]
fn refused_handshakes_are_told_and_do_not_fill_the_log() {
    let store = Setup::default().config("proxy.port.https", "0").start();
    let _ = store.proxy(&["import-certificate", "--selfsigned"]).ok();
    let https = store.https().expect("a port of HTTPS");
    for _ in 0..40 {
        let tcp = TcpStream::connect(https).expect("the store listens");
        let mut peer = Peer::over(tcp, Transport::Tls13, &["h2"]).expect("a client");
        let alert = peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect_err("nothing in common");
        assert!(alert.to_string().contains("NoApplicationProtocol"), "{alert}");
    }
    let log = store.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("A TLS handshake was refused")).collect();
    assert!((1..=4).contains(&told.len()), "{told:#?}");
    assert!(told[0].contains("127.0.0.1") && told[0].contains("protocol"), "{}", told[0]);
}
