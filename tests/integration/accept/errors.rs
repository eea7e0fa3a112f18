//! Every error tells a stable code and a sentence, and nothing of what is inside (G9).

use std::collections::BTreeMap;
use std::fs;

use tests::device::session::session_request;
use tests::http::{Request, Response};
use tests::server::Setup;

use super::{Gate, get};
use crate::verify::blob;

/// What never belongs into an answer: places, programs, and how something is done.
const INSIDE: [&str; 30] = [
    "/tmp",
    "/var",
    "/home",
    "/root",
    ".rs",
    "src/",
    "::",
    "panick",
    "unwrap",
    "os error",
    "errno",
    "SQL",
    "sqlite",
    "sqlx",
    "postgres",
    "SELECT",
    "INSERT",
    "constraint",
    "tokio",
    "hyper",
    "axum",
    "serde",
    "rustls",
    "rusqlite",
    "at line",
    "line 1",
    "column",
    "thread",
    "stack",
    "blobs/",
];

/// Checks one error answer, and counts its code.
fn inspect(gate: &Gate, what: &str, answer: &Response, codes: &mut BTreeMap<String, usize>) {
    if answer.status < 400 {
        return;
    }
    let text = answer.text();
    let data_dir = gate.store.data_dir.display().to_string();
    for inside in INSIDE.iter().copied().chain([data_dir.as_str()]) {
        assert!(!text.contains(inside), "{what}: {inside:?} in {answer:?}");
    }
    for (name, value) in &answer.headers {
        assert!(
            !["server", "x-powered-by", "via"].contains(&name.to_ascii_lowercase().as_str()),
            "{what}: {name}"
        );
        assert!(!value.contains(&data_dir), "{what}: {name}: {value}");
    }
    if text.is_empty() {
        // A HEAD request, or one that hyper could not even read.
        *codes.entry(format!("{} without a body", answer.status)).or_default() += 1;
        return;
    }
    assert_eq!(answer.header("Content-Type"), Some("application/json"), "{what}: {answer:?}");
    let list = answer.json();
    let entries = list["error-list"].as_array().unwrap_or_else(|| panic!("{what}: {answer:?}"));
    assert!(
        !entries.is_empty() && list.as_object().is_some_and(|list| list.len() == 1),
        "{what}: {answer:?}"
    );
    for entry in entries {
        let code = entry["code"].as_str().unwrap_or_default();
        let stable =
            code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        assert!(!code.is_empty() && stable, "{what}: {answer:?}");
        assert!(
            entry["message"].as_str().is_some_and(|text| (5..300).contains(&text.len())),
            "{what}: {answer:?}"
        );
        *codes.entry(format!("{} {code}", answer.status)).or_default() += 1;
    }
    assert!(
        answer.header("X-Oops-Id").is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_digit())),
        "{what}"
    );
}

#[test]
fn attack_error_bodies_tell_a_code_and_nothing_of_the_inside() {
    let gate = Gate::on(Setup::default().limits("body_idle=300"), 3000);
    let mut codes = BTreeMap::new();
    let paths = [
        "/v2/snaps/refresh",
        "/api/v1/snaps/auth/nonces",
        "/api/v1/snaps/auth/sessions",
        "/v2/snaps/info/nothing",
        "/v2/snaps/info/%ff",
        "/v2/snaps/info/%00",
        "/v2/snaps/info/hello?architecture=%ff",
        "/v2/snaps/find?q=%ff&q=%zz",
        "/v2/snaps/find?private=1&scope=x&section=\u{fc}",
        "/v2/assertions/x/y/z",
        "/v2/assertions/snap-declaration/16/x?max-format=x",
        "/v2/assertions/snap-declaration/16/x?max-format=99999999999999999999",
        "/v2/assertions/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/snaps/download/x_1.snap",
        "/api/v1/snaps/download/..%2f..%2fetc%2fpasswd",
        "/api/v1/snaps/download/%ff",
        "/api/v1/snaps/resources/download/x_y_1.comp",
        "/icons/x.png",
        "/icons/..%2fx",
        "/v2/cohorts",
        "/api/v2/stores/x",
        "/api/v2/stores/%ff",
        "/api/v2/stores/x/snaps",
        "/api/v2/tokens/whoami",
        "/dev/api/account",
        "/nowhere",
        "/",
        "//",
        "/_status/check",
    ];
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 9] = [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        deep.as_bytes(),
        b"{\"context\": 1, \"actions\": []}",
        b"{\"context\": [], \"actions\": [{\"action\": \"fly\"}]}",
        b"{\"device-session-request\": \"type: x\", \"model-assertion\": \"\", \"serial-assertion\": \"\"}",
        b"{\"snaps\": [\"nothing\"]}",
    ];
    let credentials = [
        ("Accept", "*/*"),
        ("Snap-Device-Authorization", "Macaroon root=\"v4.public.x\""),
        ("X-Device-Authorization", "Basic x"),
        ("Authorization", "Macaroon root=\"x\", discharge=\"y\""),
        ("Accept-Encoding", "gzip"),
    ];
    let mut asked = 0;
    for path in paths {
        for method in ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
            let bodies = if method == "POST" { &bodies[..] } else { &bodies[..1] };
            for body in bodies {
                for (name, value) in credentials {
                    let request = Request { method: method.to_owned(), ..get(&gate, path) };
                    let request = request.header(name, value).body(body);
                    let answer = gate.store.send(&request);
                    assert!(answer.status < 500, "{method} {path}: {answer:?}");
                    inspect(&gate, &format!("{method} {path}"), &answer, &mut codes);
                    asked += 1;
                }
            }
        }
    }
    // Too large, too slow, in pieces that make no sense.
    let large = get(&gate, "/v2/snaps/refresh").body(&vec![b' '; 9 << 20]);
    let large = Request { method: "POST".to_owned(), ..large };
    let answer = gate.store.send(&large);
    assert_eq!(answer.status, 413, "{answer:?}");
    inspect(&gate, "a large body", &answer, &mut codes);
    for head in ["Content-Length: 10\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\nzz\r\n"] {
        let mut connection = tests::http::Connection::open(gate.store.address).expect("the store listens");
        let text = format!("POST /v2/snaps/refresh HTTP/1.1\r\nHost: {}\r\n{head}", gate.store.host());
        connection.send(text.as_bytes()).expect("a request goes out");
        let answer = connection.receive(false, usize::MAX).expect("an answer");
        assert!((400..500).contains(&answer.status), "{head}: {answer:?}");
        inspect(&gate, head, &answer, &mut codes);
    }

    // Our own faults: a file that is gone, a database that is gone.
    fs::remove_file(blob(&gate.store.data_dir, &gate.snap.image.digest)).expect("a file of the store");
    let answer = gate.store.send(&gate.download());
    assert_eq!(answer.status, 503, "{answer:?}");
    inspect(&gate, "a lost file", &answer, &mut codes);
    println!("{asked} requests; errors by code: {codes:#?}");
    assert!(codes.len() >= 12, "{codes:?}");
}

#[test]
fn attack_a_lost_database_is_told_without_its_name() {
    let cluster = tests::postgres::Cluster::start().expect("a PostgreSQL of its own");
    let url = crate::sessions::restart::database(&cluster);
    let scene = crate::sessions::Scene::on(Setup::default().config("proxy.db.connection", &url));
    let device = scene.device();
    let nonce = device.nonce().expect("a nonce");
    let triple = device.triple(&session_request(&scene.identity, &nonce), &scene.identity);
    cluster.stop().expect("the database stops");
    let answer = scene.store.send(&device.session_post(&triple));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(
        answer.header("Retry-After").is_some() && answer.header("WWW-Authenticate").is_none(),
        "{answer:?}"
    );
    assert_eq!(answer.json()["error-list"][0]["message"], "the store's database is not available");
    let text = answer.text();
    for inside in ["postgres", "test", "socket", "/", "refused", "connection", "SQL"] {
        assert!(!text.contains(inside), "{inside}: {text}");
    }
}
