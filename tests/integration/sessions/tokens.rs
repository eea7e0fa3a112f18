//! Tokens: altered, foreign, expired and revoked ones open nothing, and tell the device how to go on.

use schema::session::{Session, SessionKey};
use tests::device::{Device, Dialect, Snapd, asks_for_renewal};
use tests::http::{Request, Response};
use tests::server::SECRET;

use super::Scene;

/// A request of each dialect with this token.
fn requests(device: &Device, token: &str) -> [Request; 2] {
    let mut device = device.clone();
    device.session = Some(token.to_owned());
    [
        device.info_get("hello", "download"),
        device.assertion_get("/v2/assertions/snap-declaration/16/whatever?max-format=0"),
    ]
}

/// Refused so that a device fetches a new session.
fn assert_renewal(response: &Response, what: &str) {
    assert!(asks_for_renewal(response), "{what}: {response:?}");
}

fn key(byte: u8) -> SessionKey {
    SessionKey::new(&[byte; 32])
}

/// The claims of a good session of the scene's device.
fn claims() -> Session {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    Session {
        device: "acme/gateway/SN-1".parse().expect("a device"),
        store: Some("AcmeStore".parse().expect("a store")),
        verified: true,
        issued: now - 10,
        expires: now + 3600,
    }
}

#[test]
fn every_altered_token_is_refused() {
    let scene = Scene::new();
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let token = device.session.clone().expect("a session");
    let mut connection = tests::http::Connection::open(scene.store.address).expect("the store listens");
    let mut tried = 0;
    for place in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[place] ^= 1 << bit;
            let altered = String::from_utf8(bytes).expect("ASCII stays ASCII");
            // What cannot stand between quotes in a header is not a token but another request.
            if !altered.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') {
                continue;
            }
            let response = connection.exchange(&requests(&device, &altered)[tried % 2]).expect("an answer");
            assert_renewal(&response, &altered);
            tried += 1;
        }
    }
    for cut in 1..token.len() {
        let response = connection.exchange(&requests(&device, &token[..cut])[0]).expect("an answer");
        assert_renewal(&response, &token[..cut]);
        tried += 1;
    }
    println!("{tried} altered tokens refused");
    assert!(tried > 1000, "{tried}");
    for request in requests(&device, &token) {
        assert_ne!(scene.store.send(&request).status, 401, "the real one is still good");
    }
}

#[test]
fn tokens_of_another_secret_another_time_and_another_kind_are_refused() {
    let scene = Scene::new();
    let device = scene.device();
    let secret: [u8; 32] = std::array::from_fn(|index| index as u8);
    let own = SessionKey::new(&secret);
    let good = claims();
    let refused = [
        ("of another secret", good.seal(&key(9))),
        (
            "expired",
            Session { issued: good.issued - 900_000, expires: good.issued - 1, ..good.clone() }.seal(&own),
        ),
        (
            "from the future",
            Session { issued: good.issued + 90_000, expires: good.issued + 90_001, ..good.clone() }
                .seal(&own),
        ),
        ("of a macaroon", "MDAxY2xvY2F0aW9uIHNuYXBjcmFmdC5pbwo=".to_owned()),
        ("of a recorded stand-in", "bW9jay1zZXNzaW9uLVE8sU7HQ9O-ht-gOA==".to_owned()),
    ];
    for (what, token) in &refused {
        for request in requests(&device, token) {
            assert_renewal(&scene.store.send(&request), what);
        }
    }
    for request in requests(&device, &good.seal(&own)) {
        assert_ne!(scene.store.send(&request).status, 401, "with the secret {SECRET}");
    }
    // A device meets all of that once, and then goes on by itself.
    let mut device = scene.device();
    device.session = Some(refused[0].1.clone());
    device.info("hello").expect("after a renewal");
    assert_ne!(device.session.as_deref(), Some(refused[0].1.as_str()));
}

#[test]
fn two_sessions_at_once_are_refused_and_one_in_both_families_is_good() {
    let scene = Scene::new();
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let first = device.session.clone().expect("a session");
    let sibling = scene.brand.device(&scene.identity.model, "SN-2");
    let mut other = Device::new(&scene.store, Snapd::V2_77, &sibling);
    other.ensure_session().expect("a session");
    let second = other.session.expect("a session");
    let [v2, v1] = Dialect::ALL.map(Dialect::authorization);
    let value = |token: &str| format!("Macaroon root=\"{token}\"");
    let plain = Request::new("GET", "/v2/snaps/info/hello", scene.store.host());
    let with = |headers: &[(&str, &str)]| {
        let add = |request: Request, &(name, token): &(&str, &str)| request.header(name, &value(token));
        scene.store.send(&headers.iter().fold(plain.clone(), add)).status
    };
    assert_eq!(with(&[(v2, &first)]), 200);
    assert_eq!(with(&[(v1, &first)]), 200);
    assert_eq!(with(&[(v1, &first), (v2, &first)]), 200);
    assert_eq!(with(&[(v1, &first), (v2, &second)]), 400);
    assert_eq!(with(&[(v2, &first), (v2, &second)]), 400);
    // A stale log-in of a person is not ours to judge.
    let login = plain.clone().header("Authorization", "Macaroon root=\"a\", discharge=\"b\"");
    assert_eq!(scene.store.send(&login).status, 404);
}

#[test]
fn a_blocked_device_is_stopped_at_its_next_request() {
    let scene = Scene::new();
    let mut device = scene.device();
    device.info("hello").expect("before");
    scene.store.block(&scene.identity);
    let stopped = |device: &mut Device| {
        let refusal = device.info("hello").expect_err("a blocked device");
        assert!(matches!(refusal.status(), Some(401 | 403)), "{refusal}");
    };
    stopped(&mut device);
    let mut fresh = scene.device();
    stopped(&mut fresh);
    let sibling = scene.brand.device(&scene.identity.model, "SN-2");
    let mut other = Device::new(&scene.store, Snapd::V2_77, &sibling);
    other.info("hello").expect("its sibling is not blocked");
    let _ = scene.store.proxy(&["unblock-device", &scene.identity.name()]).ok();
    device.info("hello").expect("after");
}
