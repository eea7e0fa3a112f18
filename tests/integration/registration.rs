//! Devices without a serial: what the store promises them, and what it carries to a brand's own device service and back.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use schema::assertion::{Assertion, AssertionType, PublicKey};
use serde_json::json;
use tests::http::{Request, Response};
use tests::serials::{DeviceService, answer};
use tests::server::{Server, Setup};
use tests::world::World;

use crate::replay::recording::{Exchange, recordings};

const LIST: &str = "proxy.device-auth.allowed-device-service-urls";

/// A store that relays to these services.
fn relaying_to(services: &[&str]) -> Server {
    Setup::default().config(LIST, &json!(services).to_string()).start()
}

fn promised(store: &Server) -> u32 {
    let response = store.send(&Request::new("HEAD", "/", store.host()));
    assert_eq!(response.status, 200, "{response:?}");
    response.header("Snap-Store-Version").and_then(|text| text.parse().ok()).expect("a number")
}

/// What snapd sends for a request id, with the service that its gadget names.
fn request_id(store: &Server, service: &str) -> Request {
    Request::new("POST", "/api/v1/snaps/auth/request-id", store.host())
        .header("User-Agent", "snapd/2.77 (series 16; classic) debian/12 (amd64) linux/6.1")
        .header("X-Snap-Device-Service-Url", service)
        .body(b"")
}

#[test]
fn the_version_says_whether_registration_is_relayed() {
    let store = Server::start();
    assert!(promised(&store) < 6);
    let info = store.send(&Request::new("GET", "/v2/snaps/find", store.host()));
    let others = info.header("Snap-Store-Version").and_then(|text| text.parse::<u32>().ok());
    assert!(others.is_some_and(|version| version >= 55), "{info:?}");

    let service = DeviceService::start(|_| answer("200 OK", "application/json", b"{\"request-id\": \"1\"}"));
    let _ = store.proxy(&["config", &format!("{LIST}={}", json!([service.url]))]).ok();
    assert!(promised(&store) >= 6);
    assert_eq!(store.send(&request_id(&store, &service.url)).status, 200);
    let _ = store.proxy(&["config", &format!("{LIST}=")]).ok();
    assert!(promised(&store) < 6);
    assert_eq!(store.send(&request_id(&store, &service.url)).status, 403);
    // A store that serves no devices yet relays nothing either.
    let mut setup = Setup::empty().config(LIST, &json!([service.url]).to_string());
    for (key, value) in [("proxy.port.http", "0"), ("proxy.ipaddress", "127.0.0.1")] {
        setup = setup.config(key, value);
    }
    assert!(promised(&setup.start()) < 6);
}

/// The recorded requests of a registration.
pub(crate) fn recorded(version: &str) -> Vec<Exchange> {
    let all = recordings(version).into_iter().filter(|recording| recording.action.contains("register"));
    let wanted = |exchange: &Exchange| {
        ["/request-id", "/devices"].iter().any(|end| exchange.path().ends_with(&format!("auth{end}")))
    };
    let found: Vec<Exchange> = all.flat_map(|recording| recording.exchanges).filter(wanted).collect();
    assert!(found.len() >= 2, "a registration of {version} is recorded");
    found
}

#[test]
fn recorded_devices_get_their_serials_from_the_brand() {
    let world = World::rooted("testrootorg");
    let brand = world.brand("rig-brand");
    let service = DeviceService::of(brand.clone(), brand.account_keys());
    let store = relaying_to(&[&service.url]);
    for version in ["2.57.6", "2.77"] {
        for exchange in recorded(version) {
            let mut request = exchange.request.clone();
            request.replace("Host", Some(store.host()));
            // As snapd does when its gadget names a service, with a header that the gadget adds.
            let request = request
                .header("X-Snap-Device-Service-Url", &service.url)
                .header("Api-Key", "a key of the gadget")
                .header("X-Device-Authorization", "Macaroon root=\"of this store\"")
                .header("X-Forwarded-For", "10.0.0.9");
            let response = store.send(&request);
            let came = service.received().pop().expect("the service was asked");
            assert_eq!(came.body, request.body, "{version}");
            for kept in ["User-Agent", "Content-Type", "Snap-Device-Capabilities", "Api-Key"] {
                let sent = request.headers.iter().find(|(name, _)| name == kept);
                assert_eq!(came.header(kept), sent.map(|(_, value)| &**value), "{version} {kept}");
            }
            for ours in ["X-Snap-Device-Service-Url", "X-Device-Authorization", "X-Forwarded-For"] {
                assert_eq!(came.header(ours), None, "{version}: {came:?}");
            }
            assert!(service.url.ends_with(&format!("{}/v1", came.header("Host").expect("a host"))));
            assert_eq!(response.status, 200, "{version}: {response:?}");
            if exchange.path().ends_with("/request-id") {
                assert_eq!(came.path(), "/v1/request-id");
                assert_eq!(response.json()["request-id"], "rq-1");
            } else {
                assert_eq!(came.path(), "/v1/serial");
                accept_serial(&request, &response);
            }
        }
    }
}

/// As snapd takes a serial: exactly one, of the same brand, model and key, by the brand.
fn accept_serial(request: &Request, response: &Response) {
    let asked = Assertion::decode_stream(&request.body).expect("what snapd sends");
    let stream = Assertion::decode_stream(&response.body).expect("a stream");
    let serials: Vec<_> = stream.iter().filter(|found| found.kind() == AssertionType::Serial).collect();
    let [serial] = serials[..] else { panic!("exactly one serial: {response:?}") };
    for name in ["brand-id", "model", "device-key"] {
        assert_eq!(serial.text(name), asked[0].text(name), "{name}");
    }
    assert_eq!(serial.authority_id(), asked[0].text("brand-id"));
    let signer = stream.iter().find(|found| found.text("public-key-sha3-384") == Some(serial.sign_key_id()));
    let signer = std::str::from_utf8(signer.expect("its account-key").body()).expect("text");
    let signer = PublicKey::decode(signer).expect("a key");
    serial.verify_with(&signer).expect("signed by the brand");
}

#[test]
fn attack_nothing_beyond_the_list_is_asked() {
    let service = DeviceService::start(|_| answer("200 OK", "application/json", b"{}"));
    let other = DeviceService::start(|_| answer("200 OK", "application/json", b"{}"));
    let store = relaying_to(&[&service.url]);
    let host = service.url.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    let strange = other.url.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    for address in [
        other.url.clone(),
        format!("http://{host}"),
        format!("http://{host}/v10"),
        format!("http://{host}/v1/../admin"),
        format!("http://{host}/v1/%2e%2e/admin"),
        format!("http://{host}/v1/..%2fadmin"),
        format!("http://{host}/v1\\..\\admin"),
        format!("http://{host}//v1"),
        format!("http://{host}/v1?to=http://{strange}"),
        format!("http://{host}/v1#x"),
        format!("http://{host}@{strange}/v1"),
        format!("http://{strange}@{host}/v1"),
        format!("http://{strange}/http://{host}/v1"),
        format!("https://{host}/v1"),
        format!("http:/{host}/v1"),
        format!("//{host}/v1"),
        format!("file://{host}/v1"),
        format!("{}, {}", service.url, other.url),
        String::new(),
    ] {
        let response = store.send(&request_id(&store, &address));
        assert!(matches!(response.status, 400 | 403), "{address}: {response:?}");
        assert_eq!(response.header("Content-Type"), Some("application/json"));
        // snapd shows this to whoever looks why the device has no serial.
        assert!(response.json()["error_list"][0]["message"].is_string(), "{response:?}");
    }
    let twice = request_id(&store, &service.url).header("X-Snap-Device-Service-Url", &other.url);
    assert_eq!(store.send(&twice).status, 400);
    for service in [&service, &other] {
        let came = service.received();
        assert!(came.is_empty(), "{came:?}");
    }
    for below in [service.url.clone(), format!("{}/", service.url), format!("{}/line7", service.url)] {
        assert_eq!(store.send(&request_id(&store, &below)).status, 200, "{below}");
    }
    assert_eq!(
        service.received().last().map(|came| came.path().to_owned()),
        Some("/v1/line7/request-id".into())
    );
}

#[test]
fn what_the_service_says_is_passed_on_and_nothing_else() {
    let next = Mutex::new(Vec::new());
    let other = DeviceService::start(|_| answer("200 OK", "application/json", b"{}"));
    let away = format!("{}/request-id", other.url);
    let service = {
        let answers: Vec<Vec<u8>> = vec![
            answer("202 Accepted", "text/plain", b"later"),
            answer("400 Bad Request", "application/json", b"{\"message\": \"no such model\"}"),
            answer("401 Unauthorized", "application/json", b"{\"message\": \"the API key\"}"),
            answer("500 Internal Server Error", "text/html", b"<p>oops"),
            format!("HTTP/1.1 302 Found\r\nLocation: {away}\r\nContent-Length: 0\r\n\r\n").into_bytes(),
            format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {away}\r\nContent-Length: 0\r\n\r\n")
                .into_bytes(),
            answer("200 OK", "application/json", &vec![b' '; (1 << 20) + 1]),
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec(),
            b"no HTTP at all".to_vec(),
            Vec::new(),
        ];
        *next.lock().expect("one thread") = answers.clone().into_iter().rev().collect();
        DeviceService::start(move |_| next.lock().expect("one at a time").pop().unwrap_or_default())
    };
    let store = relaying_to(&[&service.url, "http://127.0.0.1:1/"]);
    let ask = || store.send(&request_id(&store, &service.url));
    for (status, kind, body) in [
        (202, "text/plain", "later"),
        (400, "application/json", "{\"message\": \"no such model\"}"),
        (401, "application/json", "{\"message\": \"the API key\"}"),
        (500, "text/html", "<p>oops"),
    ] {
        let response = ask();
        assert_eq!((response.status, response.text().as_str()), (status, body));
        assert_eq!(response.header("Content-Type"), Some(kind));
        assert_eq!(response.header("WWW-Authenticate"), None, "{response:?}");
    }
    let mut faults: Vec<Response> = (0..6).map(|_| ask()).collect();
    faults.push(store.send(&request_id(&store, "http://127.0.0.1:1")));
    for response in faults {
        // snapd comes again after 503; what went wrong is for the log.
        assert_eq!(response.status, 503, "{response:?}");
        let text = response.text();
        for inner in ["127.0.0.1", "hyper", "refused", "os error", "reqwest"] {
            assert!(!text.contains(inner), "{text}");
        }
    }
    assert!(other.received().is_empty(), "a redirect was followed");
    assert!(store.log().contains("redirects are not followed"));
    let large = request_id(&store, &service.url).header("X", "1");
    let large = Request { headers: large.headers[..3].to_vec(), ..large }.body(&vec![b'x'; (1 << 20) + 1]);
    assert_eq!(store.send(&large).status, 400);
}

#[test]
fn attack_a_service_that_hangs_keeps_nobody_else_waiting() {
    let (_never, hang) = channel::<()>();
    let hang = Mutex::new(hang);
    let hanging = DeviceService::start(move |_| {
        let _ = hang.lock().map(|hang| hang.recv());
        Vec::new()
    });
    let sound = DeviceService::start(|_| answer("200 OK", "application/json", b"{\"request-id\": \"1\"}"));
    let store = relaying_to(&[&hanging.url, &sound.url]);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let ask = || store.send(&request_id(&store, &hanging.url)).status;
        let waiting: Vec<_> = (0..64).map(|_| scope.spawn(ask)).collect();
        let mut came = 0;
        while came < waiting.len() {
            came += hanging.received().len();
            assert!(begun.elapsed() < Duration::from_secs(20), "{came} came");
            std::thread::yield_now();
        }
        // There is no more room for this one, which is told at once.
        let one_more = Instant::now();
        assert_eq!(ask(), 503);
        assert!(one_more.elapsed() < Duration::from_secs(5));
        assert_eq!(store.send(&request_id(&store, &sound.url)).status, 200);
        for asked in waiting {
            assert_eq!(asked.join().expect("an answer"), 503);
        }
    });
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "snapd waits for 30 s for each: {:?}",
        begun.elapsed()
    );
}
