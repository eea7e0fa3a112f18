//! Headers that lie about where a request came from change no answer (G11), and what comes in the clear while TLS is on is
//! sent elsewhere unread (G10).

use std::process::Command;

use tests::http::{Request, Response};
use tests::server::Setup;

use super::{Gate, get};

const LIES: [(&str, &str); 16] = [
    ("Host", "evil.example"),
    ("Host", "evil.example:443"),
    ("Host", "127.0.0.1@evil.example"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Port", "4444"),
    ("X-Forwarded-Prefix", "/evil.example"),
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-Server", "evil.example"),
    ("Forwarded", "for=203.0.113.9;host=evil.example;proto=https"),
    ("X-Original-URL", "/evil.example"),
    ("X-Rewrite-URL", "/evil.example"),
    ("X-Original-Host", "evil.example"),
    ("X-Host", "evil.example"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("Referer", "http://evil.example/"),
];

fn questions(gate: &Gate) -> Vec<Request> {
    let id = &gate.snap.snap.id;
    let refresh = gate.device.refresh_body(&[]);
    let paths = [
        "/v2/snaps/info/hello".to_owned(),
        "/v2/snaps/info/hello?fields=download,media,links,channel-map".to_owned(),
        "/v2/snaps/info/nothing".to_owned(),
        "/v2/snaps/find?q=hello".to_owned(),
        "/api/v1/snaps/sections".to_owned(),
        "/api/v1/snaps/names".to_owned(),
        format!("/v2/assertions/snap-declaration/16/{id}"),
        format!("/api/v1/snaps/download/{id}_1.snap"),
        "/v2/auth/store/assertions".to_owned(),
        "/_status/check".to_owned(),
        "/nowhere".to_owned(),
        "/".to_owned(),
    ];
    let mut all: Vec<Request> = paths.iter().map(|path| get(gate, path)).collect();
    let install =
        br#"{"context": [], "actions": [{"action": "install", "instance-key": "1", "name": "hello"}]}"#;
    let declaration = format!(r#"{{"type": "snap-declaration", "primary-key": ["16", "{id}"]}}"#);
    let fetch = format!(
        r#"{{"context": [], "actions": [{{"action": "fetch-assertions", "key": "k", "assertions": [{declaration}]}}]}}"#
    );
    // The last is answered with a link that is made for it.
    for body in [&refresh[..], install, fetch.as_bytes()] {
        all.push(Request { method: "POST".to_owned(), ..get(gate, "/v2/snaps/refresh").body(body) });
    }
    all
}

/// All that a device or a cache could see.
fn seen(answer: &Response) -> (u16, Vec<String>, Vec<u8>) {
    let own = |name: &str| ["date", "x-oops-id"].contains(&name.to_ascii_lowercase().as_str());
    let headers =
        answer.headers.iter().filter(|(name, _)| !own(name)).map(|(name, value)| format!("{name}: {value}"));
    (answer.status, headers.collect(), answer.body.clone())
}

#[test]
fn attack_foreign_hosts_and_forwarding_headers_change_no_answer() {
    let gate = Gate::on(Setup::default(), 3000);
    let mut compared = 0;
    for question in questions(&gate) {
        let honest = gate.store.send(&question);
        for (name, value) in LIES {
            let mut lie = question.clone();
            if name == "Host" {
                lie.replace("Host", Some(value));
            } else {
                lie = lie.header(name, value);
            }
            assert_eq!(
                seen(&gate.store.send(&lie)),
                seen(&honest),
                "{} with {name}: {value}",
                question.target
            );
            compared += 1;
        }
        // A whole URL as the target, as clients of proxies send it.
        let absolute =
            Request { target: format!("http://evil.example{}", question.target), ..question.clone() };
        assert_eq!(seen(&gate.store.send(&absolute)), seen(&honest), "{}", absolute.target);
        let text = honest.text();
        assert!(!text.contains("evil.example"), "{text}");
        compared += 1;
    }
    println!("{compared} answers with lying headers, each as without");
    assert!(
        gate.store.send(&gate.question()).text().contains(&gate.store.url),
        "links lead to the configured name"
    );
}

#[test]
fn attack_credentials_in_the_clear_are_sent_elsewhere_unread() {
    let setup = Setup::default().config("proxy.port.https", "0").variable("AIRLOCK_LOG", "debug");
    let gate = Gate::on(setup, 3000);
    let honest = gate.store.address;
    let _ = gate.store.proxy(&["import-certificate", "--selfsigned"]).ok();
    let https = gate.store.https().expect("a port of HTTPS");
    let token = "v4.public.very-secret-token";
    let mut sent = 0;
    for question in questions(&gate) {
        if question.target == "/_status/check" {
            continue;
        }
        for name in ["Snap-Device-Authorization", "X-Device-Authorization", "Authorization"] {
            let request = question.clone().header(name, &format!("Macaroon root=\"{token}\""));
            let answer = tests::http::exchange(honest, &request).expect("an answer");
            // A void token would be a 401, were it looked at.
            assert_eq!(answer.status, 308, "{name} on {}: {answer:?}", question.target);
            let there = answer.header("Location").unwrap_or_default();
            assert_eq!(there, format!("https://127.0.0.1:{}{}", https.port(), question.target), "{answer:?}");
            assert!(!answer.text().contains(token) && answer.header("WWW-Authenticate").is_none());
            let lying = {
                let mut lying =
                    request.header("X-Forwarded-Proto", "https").header("Forwarded", "proto=https");
                lying.replace("Host", Some("evil.example"));
                lying
            };
            let answer = tests::http::exchange(honest, &lying).expect("an answer");
            assert_eq!((answer.status, answer.header("Location")), (308, Some(there)), "{name}: {answer:?}");
            sent += 2;
            // The same in the clear on the port of TLS.
            let refused = tests::http::exchange(https, &lying).expect("an answer");
            assert_eq!(refused.status, 400, "{refused:?}");
            sent += 1;
        }
    }
    assert!(!gate.store.log().contains(token), "a token is not logged");
    println!("{sent} requests with credentials in the clear");
    // Over TLS it is looked at.
    let script = format!(
        "printf 'GET /v2/snaps/info/hello HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\nX-Device-Authorization: Macaroon \
         root=\"{token}\"\\r\\n\\r\\n' | openssl s_client -quiet -ign_eof -connect {https} 2>/dev/null"
    );
    let over_tls = Command::new("/bin/sh").args(["-c", &script]).output().expect("openssl is installed");
    let text = String::from_utf8_lossy(&over_tls.stdout).into_owned();
    assert!(text.starts_with("HTTP/1.1 401"), "{text}");
}
