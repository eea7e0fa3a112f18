//! Statuses, headers and transfers that make a device give up, start over, or ask elsewhere.

use std::time::{Duration, Instant};

use tests::bundle::Bundle;
use tests::device::session::read_session;
use tests::device::{Device, Dialect, Installed, Snapd, asks_for_renewal};
use tests::http::{Connection, Request, Response};

use super::Shop;
use crate::sessions::Scene;

/// One good request to every endpoint.
fn requests(device: &Device, snap_id: &str) -> Vec<Request> {
    let download = format!("/api/v1/snaps/download/{snap_id}_1.snap");
    vec![
        device.nonce_post(),
        device.refresh_post(&device.refresh_body(&[])),
        device.info_get("hello", "download"),
        device.find_get(&[("q", "hello")]),
        device.catalogue_get("/api/v1/snaps/sections"),
        device.catalogue_get("/api/v1/snaps/names?confinement=strict"),
        device.assertion_get(&format!("/v2/assertions/snap-declaration/16/{snap_id}?max-format=7")),
        device.download_request("GET", &download, None),
        device.cohorts_post(&["hello"]),
    ]
}

#[test]
fn no_success_is_empty() {
    let shop = Shop::new();
    for request in requests(&shop.device, &shop.hello.id) {
        let response = shop.store.send(&request);
        assert_eq!(response.status, 200, "{} {}: {response:?}", request.method, request.target);
        assert!(!response.body.is_empty(), "{}", request.target);
        let version = response.header("Snap-Store-Version").and_then(|version| version.parse::<u32>().ok());
        assert!(version.is_some_and(|version| version >= 55), "{}: {response:?}", request.target);
    }
}

#[test]
fn what_is_not_there_is_told_in_json() {
    let shop = Shop::new();
    for (method, target) in [
        ("POST", "/v2/messages"),
        ("GET", "/v2/repairs/canonical/1"),
        ("GET", "/repairs/canonical/1"),
        ("POST", "/api/v1/snaps/auth/request-id"),
        ("POST", "/api/v1/snaps/auth/devices"),
        ("GET", "/api/v1/snaps/search?q=x"),
        ("GET", "/api/v1/snaps/purchases/customers/me"),
        ("GET", "/nonsense"),
    ] {
        let mut request = Request::new(method, target, shop.store.host());
        if method == "POST" {
            request = request.body(b"");
        }
        let response = shop.store.send(&request);
        assert_eq!(response.status, 404, "{target}: {response:?}");
        assert_eq!(response.header("Content-Type"), Some("application/json"), "{target}");
        assert!(response.json()["error-list"][0]["code"].is_string(), "{target}: {response:?}");
    }
}

#[test]
fn every_void_session_is_told_to_renew() {
    let mut shop = Shop::new();
    shop.device.session = Some("bW9jay1zZXNzaW9uLVE8sU7HQ9O-ht-gOA==".to_owned());
    let id = shop.hello.id.clone();
    for request in requests(&shop.device, &id).iter().filter(|request| !request.target.contains("/auth/")) {
        let signed = request.headers.iter().any(|(name, _)| name.ends_with("Device-Authorization"));
        let response = shop.store.send(request);
        assert_eq!(asks_for_renewal(&response), signed, "{}: {response:?}", request.target);
        if signed {
            let lines =
                response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("WWW-Authenticate"));
            assert_eq!(lines.count(), 1, "snapd reads the first line only");
            assert!(!response.header("WWW-Authenticate").unwrap_or_default().contains("needs_refresh"));
        }
    }
}

#[test]
fn creations_answer_200() {
    let scene = Scene::new();
    let device = scene.device();
    let nonce = scene.store.send(&device.nonce_post());
    assert_eq!(nonce.status, 200);
    let nonce = nonce.json()["nonce"].as_str().expect("a nonce").to_owned();
    assert!(nonce.bytes().all(|byte| byte.is_ascii_graphic()) && nonce.len() <= 64, "{nonce}");
    let request = tests::device::session::session_request(&scene.identity, &nonce);
    let session = scene.store.send(&device.session_post(&device.triple(&request, &scene.identity)));
    assert_eq!(session.status, 200);
    let shop = Shop::new();
    assert_eq!(shop.store.send(&shop.device.cohorts_post(&["hello"])).status, 200);
    assert_eq!(shop.store.send(&shop.device.refresh_post(&shop.device.refresh_body(&[]))).status, 200);
}

#[test]
fn both_families_work_everywhere() {
    let scene = Scene::new();
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let session = device.session.take().expect("a session");
    let id = scene.world.snap("hello").id;
    for request in requests(&device, &id) {
        for dialect in Dialect::ALL {
            let signed =
                request.clone().header(dialect.authorization(), &format!("Macaroon root=\"{session}\""));
            let response = scene.store.send(&signed);
            assert_eq!(response.status, 200, "{dialect:?} on {}: {response:?}", request.target);
        }
    }
}

#[test]
fn an_empty_accept_and_no_content_type_are_fine() {
    let shop = Shop::new();
    for mut request in requests(&shop.device, &shop.hello.id) {
        request.replace("Accept", Some(""));
        request.replace("Content-Type", None);
        let response = shop.store.send(&request);
        assert_eq!(response.status, 200, "{}: {response:?}", request.target);
        request.replace("Accept", None);
        assert_eq!(shop.store.send(&request).status, 200, "{}", request.target);
    }
}

#[test]
fn answers_come_in_time() {
    let mut shop = Shop::new();
    for number in 0..500 {
        let id = format!("{number:032}");
        shop.device.installed.push(Installed::new("somewhere-else", &id, 1, "latest/stable"));
    }
    let begun = Instant::now();
    shop.device.refresh_all().expect("a refresh of 500 snaps");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?} of snapd's 10 s", begun.elapsed());
}

#[test]
fn nobody_is_told_to_slow_down() {
    let shop = Shop::new();
    let mut connection = Connection::open(shop.store.address).expect("the store listens");
    for _ in 0..300 {
        let response = connection.exchange(&shop.device.info_get("hello", "download")).expect("an answer");
        assert_eq!(response.status, 200, "{response:?}");
    }
}

/// Asks for a range of a pushed snap.
fn range(shop: &Shop, range: &str) -> Response {
    let target = format!("/api/v1/snaps/download/{}_1.snap", shop.hello.id);
    let request = shop.device.download_request("GET", &target, None).header("Range", range);
    shop.store.send(&request)
}

#[test]
fn resuming_never_fails_on_our_side() {
    let mut shop = Shop::new();
    let outcome = shop.device.install("hello", "stable").expect("an install");
    let whole = shop.device.download(&outcome.snap.download).expect("the whole file");
    for offset in [1, 4095, 4096, 65_535, 100_000, whole.len() - 1] {
        let part = shop.device.begin_download(&outcome.snap.download, offset).expect("the first part");
        let resumed = shop.device.resume(&outcome.snap.download, part).expect("the rest");
        assert_eq!(resumed, whole, "from {offset}");
    }
}

#[test]
fn ranges_are_exact() {
    let shop = Shop::new();
    let bytes = shop.hello.revision(1).image.bytes;
    let end = bytes.len() - 1;
    for (asked, from, to) in [
        ("bytes=0-".to_owned(), 0, end),
        ("bytes=7-".to_owned(), 7, end),
        (format!("bytes={end}-"), end, end),
        ("bytes=10-19".to_owned(), 10, 19),
        ("bytes=-5".to_owned(), end - 4, end),
        (format!("bytes=100-{}", end + 1000), 100, end),
    ] {
        let response = range(&shop, &asked);
        assert_eq!(response.status, 206, "{asked}: {response:?}");
        assert_eq!(response.body, bytes[from..=to], "{asked}");
        let expected = format!("bytes {from}-{to}/{}", bytes.len());
        assert_eq!(response.header("Content-Range"), Some(expected.as_str()), "{asked}");
    }
    let beyond = range(&shop, &format!("bytes={}-", bytes.len()));
    assert_eq!(beyond.status, 416, "{beyond:?}");
    // What is no single range is answered whole, or refused; never with other bytes.
    for odd in
        ["bytes=5-1", "bytes=a-", "bytes=0-1,5-9", "items=0-5", "bytes=-0", "bytes=18446744073709551616-"]
    {
        let response = range(&shop, odd);
        let whole = response.status == 200 && response.body == bytes;
        assert!(
            whole || response.status == 416,
            "{odd}: {} with {} bytes",
            response.status,
            response.body.len()
        );
    }
}

#[test]
fn downloads_do_not_redirect() {
    let mut shop = Shop::new();
    let outcome = shop.device.install("hello", "stable").expect("an install");
    // The test device follows nothing, and the link must lead to the store itself.
    shop.device.download(&outcome.snap.download).expect("a file without a detour");
}

#[test]
fn posts_do_not_redirect() {
    let shop = Shop::new();
    for request in requests(&shop.device, "x").iter().filter(|request| request.method == "POST") {
        let mut slashed = request.clone();
        slashed.target.push('/');
        let response = shop.store.send(&slashed);
        assert!(!(300..400).contains(&response.status), "{}: {response:?}", slashed.target);
    }
}

#[test]
fn nothing_is_chunked_or_compressed_that_must_not_be() {
    let shop = Shop::new();
    for request in requests(&shop.device, &shop.hello.id) {
        let response = shop.store.send(&request);
        assert!(response.header("Content-Length").is_some(), "{}: {response:?}", request.target);
        assert!(response.header("Transfer-Encoding").is_none(), "{}", request.target);
        if request.target.ends_with(".snap") {
            assert!(response.header("Content-Encoding").is_none());
        }
    }
}

#[test]
fn icons_are_whole_and_plain() {
    let shop = Shop::new();
    let picture = [b"\x89PNG\r\n\x1a\n", &tests::snap::noise("a picture", 9000)[..]].concat();
    let pretty = shop.world.snap("pretty");
    let mut bundle = Bundle::new(&pretty, &[(&pretty.revision(1), &["latest/stable"])]);
    bundle.icon = Some(picture.clone());
    shop.store.push_bundle(&bundle);
    let info = shop.store.send(&shop.device.info_get("pretty", "media"));
    let media = info.json()["snap"]["media"][0].clone();
    assert_eq!(media["type"], "icon", "{info:?}");
    // snapd fetches it only below the store's own URL, without a session and with Go's own agent.
    let link = media["url"].as_str().expect("a link");
    let target = shop.device.target_of(link).expect("below the store's URL");
    let request = Request::new("GET", target, shop.store.host())
        .header("User-Agent", "Go-http-client/1.1")
        .header("Accept-Encoding", "gzip");
    let response = shop.store.send(&request);
    assert_eq!((response.status, &response.body), (200, &picture));
    let length: usize =
        response.header("Content-Length").and_then(|length| length.parse().ok()).expect("a length");
    assert!(length == picture.len() && length <= 300_000);
    for header in ["Transfer-Encoding", "Content-Encoding"] {
        assert!(response.header(header).is_none(), "{response:?}");
    }
    let tag = response.header("ETag").expect("an entity tag");
    assert!(tag.len() < 256);
    let again = shop.store.send(&request.header("If-None-Match", tag));
    assert_eq!(again.status, 304, "{again:?}");
}

#[test]
fn the_root_says_its_version() {
    let shop = Shop::new();
    let response = shop.store.send(&Request::new("HEAD", "/", shop.store.host()));
    assert_eq!(response.status, 200);
    // From 6 on it promises a relay to device services: `registration::the_version_says_whether_registration_is_relayed`.
    let version = response.header("Snap-Store-Version");
    assert!(version.is_some_and(|version| version.parse().is_ok_and(|it: u32| it > 0)), "{response:?}");
}

#[test]
fn downloads_can_be_asked_about() {
    let mut shop = Shop::new();
    for (name, kind) in [("snapd", "snapd"), ("core", "os")] {
        shop.store.push_pair(&shop.world.snap(name).kind(kind).revision(3), &["latest/stable"], "ubuntu");
    }
    shop.device.connectivity().expect("reachable for new clients");
    Device::anonymous(&shop.store, Snapd::V2_57).connectivity().expect("reachable for old clients");
}

#[test]
fn a_connection_may_rest() {
    let shop = Shop::new();
    let request = shop.device.info_get("hello", "download");
    let mut connection = Connection::open(shop.store.address).expect("the store listens");
    for _ in 0..3 {
        let response = connection.exchange(&request).expect("an answer on the same connection");
        assert_eq!(response.status, 200);
        let kept = response.header("Connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
        assert!(kept, "{response:?}");
        // Go keeps idle connections for 90 s; a shorter time that we announced would be heeded by nobody.
        assert!(response.header("Keep-Alive").is_none());
    }
}

#[test]
fn plain_http_1_is_enough() {
    let shop = Shop::new();
    for request in requests(&shop.device, &shop.hello.id) {
        let response = shop.store.send(&request);
        for header in ["Set-Cookie", "Upgrade", "Alt-Svc"] {
            assert!(response.header(header).is_none(), "{}: {response:?}", request.target);
        }
    }
}

#[test]
fn a_session_fits_into_a_header() {
    let scene = Scene::new();
    let mut device = scene.device();
    device.ensure_session().expect("a session that can be sent");
    let session = device.session.clone().expect("a session");
    assert!(session.len() < 1024, "{} bytes", session.len());
    let body = format!("{{\"macaroon\": \"{session}\"}}");
    let response = Response { status: 200, headers: Vec::new(), body: body.into_bytes() };
    read_session(&response).expect("visible ASCII without quotes");
}
