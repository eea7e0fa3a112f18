//! Certificates from a real ACME authority: Debian's `pebble`, which follows RFC 8555 to the letter and refuses some
//! good nonces on purpose.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use schema::tls::{Authority, Stamp};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use tests::pebble::{Pebble, Setup as Authorities};
use tests::server::{Ran, Server, Setup};

/// A server whose HTTPS port, too, is one that is free.
fn server() -> Setup {
    Setup::default().config("proxy.port.https", "0")
}

/// An authority that looks for the challenges of a server there.
fn authority(store: &Server) -> Authorities {
    Authorities::new(store.address.port(), https_port(store).unwrap_or(1))
}

fn https_port(store: &Server) -> Option<u16> {
    let listening = store.status().listening;
    listening.iter().find_map(|at| at.strip_prefix("https://")?.rsplit(':').next()?.parse().ok())
}

fn enable(store: &Server, authority: &Authorities, more: &[&str]) -> Ran {
    let (directory, ca) = (authority.directory(), authority.ca_file());
    store.proxy(&[&["acme", "enable", "--directory", &directory, "--ca", &ca], more].concat())
}

fn certificate(store: &Server) -> String {
    store.proxy(&["config", "proxy.tls.cert"]).ok()
}

/// What `openssl x509` says of the certificate in use.
fn x509(store: &Server, about: &[&str]) -> String {
    let certificate = certificate(store);
    store.with_file("cert.pem", certificate.as_bytes(), |path| {
        let ran: Ran = Command::new("openssl")
            .args([&["x509", "-noout", "-in", path], about].concat())
            .output()
            .expect("openssl is installed")
            .into();
        ran.ok().trim().to_owned()
    })
}

fn serial(store: &Server) -> String {
    x509(store, &["-serial"]).trim_start_matches("serial=").to_owned()
}

/// Visits the store over HTTPS as a device that trusts the authority's root.
fn visit(store: &Server, authority: &Pebble, name: &str) -> Ran {
    let port = https_port(store).expect("HTTPS is on");
    store.with_file("root.pem", authority.management("roots/0").as_bytes(), |root| {
        let url = format!("https://{name}:{port}/_status/check");
        let resolve = format!("{name}:{port}:127.0.0.1");
        let args = ["-sS", "--fail", "--cacert", root, "--resolve", &resolve, &url];
        Command::new("curl").args(args).output().expect("curl is installed").into()
    })
}

fn status(store: &Server) -> Value {
    store.proxy(&["acme", "status", "--json"]).json()
}

fn moment(text: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(text.as_str().expect("a time"), &Rfc3339).expect("a time")
}

#[test]
fn issued_and_renewed_over_http() {
    let store = server().start();
    let pebble = authority(&store).start();
    assert_eq!(store.proxy(&["acme", "status"]).ok(), "ACME: off\n");
    let refused = store.proxy(&["acme", "renew"]).refused();
    assert!(refused.contains("ACME is off: run `proxy acme enable"), "{refused}");

    let _ = enable(&store, pebble.setup(), &["--contact", "ops@site.example"]).ok();
    assert!(x509(&store, &["-ext", "subjectAltName"]).contains("IP Address:127.0.0.1"));
    let _ = visit(&store, &pebble, "127.0.0.1").ok();
    // Renewed at two thirds of 90 days, or a twentieth later.
    let report = status(&store);
    let days = (moment(&report["next-renewal"]) - OffsetDateTime::now_utc()).whole_days();
    assert!((59..65).contains(&days), "{report}");
    assert_eq!((&report["last-error"], &report["contact"]), (&Value::Null, &json!(["ops@site.example"])));
    let text = store.proxy(&["status"]);
    assert!(text.stdout.contains("\nACME:\n  Directory: https://127.0.0.1:"), "{}", text.stdout);
    assert!(text.stdout.contains("  Next renewal: 20"), "{}", text.stdout);
    assert!(
        !text.stdout.contains("import a new one"),
        "nobody is told to do what ACME does: {}",
        text.stdout
    );
    let account = store.data_dir.join("acme/account.json");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&account), mode(&store.data_dir.join("acme"))), (0o600, 0o700));

    // With TLS on, the HTTP port still answers the authority.
    let (first, kept) = (serial(&store), fs::read(&account).expect("an account"));
    let _ = store.proxy(&["acme", "renew"]).ok();
    assert_ne!(serial(&store), first);
    assert!(fs::read(&account).expect("an account") == kept, "the account is made once");
    let events = store.proxy(&["audit", "--json"]).json_lines();
    let asked: Vec<_> = events.iter().filter(|event| event["what"] == "acme-renew").collect();
    let who = |event: &Value| event["who"].as_str().is_some_and(|who| who.starts_with("uid "));
    assert!(asked.len() == 3 && asked.iter().all(|event| who(event)), "{asked:?}");
    let outcomes: Vec<_> = asked.iter().map(|event| &event["outcome"]).collect();
    assert_eq!(outcomes, ["refused", "begun", "done"]);
    let _ = visit(&store, &pebble, "127.0.0.1").ok();

    let _ = store.proxy(&["acme", "disable"]).ok();
    assert_eq!(store.proxy(&["config", "proxy.acme.directory"]).ok().trim(), "");
    let _ = visit(&store, &pebble, "127.0.0.1").ok();
    // Turned on again, it replaces whatever is there.
    let _ = store.proxy(&["import-certificate", "--selfsigned"]).ok();
    let _ = enable(&store, pebble.setup(), &[]).ok();
    let _ = visit(&store, &pebble, "127.0.0.1").ok();
}

#[test]
fn issued_and_renewed_over_tls() {
    let store = server().config("proxy.domain", "localhost").start();
    // Nobody is there yet; but the port of TLS is opened for the challenge, with no certificate to show.
    let nobody = "https://127.0.0.1:1/dir";
    let why = store.proxy(&["acme", "enable", "--challenge", "tls-alpn-01", "--directory", nobody]).refused();
    assert!(
        why.contains("no certificate came yet: ") && why.contains("cannot connect to 127.0.0.1:1"),
        "{why}"
    );
    assert!(store.url.starts_with("http://") && store.status().store_url.starts_with("http://"));
    let pebble = authority(&store).start();

    let _ = enable(&store, pebble.setup(), &["--challenge", "tls-alpn-01"]).ok();
    assert!(x509(&store, &["-ext", "subjectAltName"]).contains("DNS:localhost"));
    let _ = visit(&store, &pebble, "localhost").ok();
    // The authority shows no client certificate, whoever else has to.
    let stamp = Stamp { now: OffsetDateTime::now_utc(), serial: [7; 16] };
    let clients = Authority::create("Clients", stamp).expect("an authority");
    let file = store.data_dir.join("clients.pem");
    fs::write(&file, clients.cert_pem()).expect("there is room");
    let file = format!("proxy.tls.client-ca={}", file.display());
    let _ = store.proxy(&["config", &file, "proxy.tls.client-auth=required"]).ok();
    let first = serial(&store);
    let _ = store.proxy(&["acme", "renew"]).ok();
    assert_ne!(serial(&store), first);
    assert_ne!(visit(&store, &pebble, "localhost").code, Some(0), "devices still need one");
}

#[test]
fn one_certificate_covers_every_name() {
    let store = server().start();
    for challenge in ["http-01", "tls-alpn-01"] {
        // The port of TLS is known from the first certificate on.
        let pebble = authority(&store).start();
        let more = ["--name", "localhost", "--name", "127.0.0.1", "--challenge", challenge];
        let told = enable(&store, pebble.setup(), &more).ok();
        assert!(
            told.contains(&format!("Certificate: 127.0.0.1, localhost, 127.0.0.1 over {challenge}")),
            "{told}"
        );
        let names = x509(&store, &["-ext", "subjectAltName"]);
        assert!(names.contains("DNS:localhost") && names.contains("IP Address:127.0.0.1"), "{names}");
        let _ = visit(&store, &pebble, "127.0.0.1").ok();
        let _ = visit(&store, &pebble, "localhost").ok();
        let _ = store.proxy(&["acme", "disable"]).ok();
    }

    // A name more makes another certificate due at once; one that leads elsewhere is named.
    let pebble = authority(&store).start();
    let _ = enable(&store, pebble.setup(), &[]).ok();
    assert!(!x509(&store, &["-ext", "subjectAltName"]).contains("localhost"));
    let first = certificate(&store);
    let why = enable(&store, pebble.setup(), &["--name", "localhost", "--name", "127.0.0.2"]).refused();
    assert!(why.contains("cannot verify over http-01 that 127.0.0.2 is this store"), "{why}");
    assert_eq!(certificate(&store), first);
    let _ = enable(&store, pebble.setup(), &["--name", "localhost"]).ok();
    assert!(x509(&store, &["-ext", "subjectAltName"]).contains("DNS:localhost"));
}

#[test]
fn revoked_and_replaced() {
    let store = server().start();
    let pebble = authority(&store).start();
    let _ = enable(&store, pebble.setup(), &[]).ok();
    let state = |serial: &str| -> Value {
        let answer = pebble.management(&format!("cert-status-by-serial/{serial}"));
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        answer["Status"].clone()
    };
    let first = serial(&store);
    assert_eq!(state(&first), "Valid");
    let _ = store.proxy(&["acme", "renew", "--revoke"]).ok();
    assert_eq!((state(&first), state(&serial(&store))), (json!("Revoked"), json!("Valid")));
    // What the authority itself has revoked can be replaced like any other.
    let second = serial(&store);
    let _ = store.proxy(&["acme", "renew"]).ok();
    assert_ne!(serial(&store), second);
    let _ = visit(&store, &pebble, "127.0.0.1").ok();
}

#[test]
fn the_old_certificate_stays_while_the_directory_is_down() {
    let store = server().start();
    let pebble = authority(&store).start();
    let _ = enable(&store, pebble.setup(), &[]).ok();
    let first = certificate(&store);
    let down = pebble.stop();
    let why = store.proxy(&["acme", "renew"]).refused();
    assert!(why.contains("cannot connect to 127.0.0.1:"), "{why}");
    assert_eq!(certificate(&store), first);
    let report = status(&store);
    assert_eq!(report["failures"], 1);
    assert!(report["last-error"].as_str().is_some_and(|why| why.contains("cannot connect to")), "{report}");
    let problems = store.status().problems;
    assert!(problems.iter().any(|why| why.starts_with("No new certificate comes from")), "{problems:?}");
    assert!(store.log().contains("Cannot get a new certificate"), "{}", store.log());
    // The authority comes back without a memory of the account.
    let pebble = down.start();
    let _ = store.proxy(&["acme", "renew"]).ok();
    assert_ne!(certificate(&store), first);
    assert_eq!((&status(&store)["failures"], &status(&store)["last-error"]), (&json!(0), &Value::Null));
    let _ = visit(&store, &pebble, "127.0.0.1").ok();
}

#[test]
fn good_nonces_that_are_refused_are_no_obstacle() {
    let store = server().start();
    let pebble = authority(&store).variable("PEBBLE_WFE_NONCEREJECT", "25").start();
    let _ = enable(&store, pebble.setup(), &[]).ok();
    for _ in 0..3 {
        let before = serial(&store);
        let _ = store.proxy(&["acme", "renew"]).ok();
        assert_ne!(serial(&store), before);
    }
    let log = pebble.setup().log();
    assert!(log.contains("Configured to reject 25% of good nonces"), "{log}");
}

#[test]
fn a_name_that_leads_elsewhere_gets_no_certificate() {
    // The store is on 127.0.0.1 alone.
    let store = server().config("proxy.domain", "127.0.0.2").start();
    let _ = store.proxy(&["import-certificate", "--selfsigned"]).ok();
    let first = certificate(&store);
    let pebble = authority(&store).config("domainBlocklist", json!(["blocked.test"])).start();
    for (challenge, reason) in
        [("http-01", "connection refused"), ("tls-alpn-01", "Failed to connect to 127.0.0.2")]
    {
        let why = enable(&store, pebble.setup(), &["--challenge", challenge]).refused();
        let said = format!("the authority cannot verify over {challenge} that 127.0.0.2 is this store (");
        assert!(why.contains(&said) && why.contains(reason) && why.contains("must lead to"), "{why}");
        assert_eq!(certificate(&store), first);
    }
    let _ = store.proxy(&["config", "proxy.domain=blocked.test"]).ok();
    let why = store.proxy(&["acme", "renew"]).refused();
    assert!(
        why.contains("cannot order a certificate at https://") && why.contains("rejectedIdentifier"),
        "{why}"
    );
    assert_eq!(certificate(&store), first);
}

#[test]
fn whom_to_trust_and_what_is_no_directory() {
    let store = server().start();
    let pebble = authority(&store).start();
    let directory = pebble.setup().directory();
    // Nobody has said whom to trust.
    let why = store.proxy(&["acme", "enable", "--directory", &directory]).refused();
    assert!(why.contains("no secure connection to 127.0.0.1") && why.contains("--ca FILE"), "{why}");
    let elsewhere = directory.replace("/dir", "/nowhere");
    let why = store
        .proxy(&["acme", "enable", "--directory", &elsewhere, "--ca", &pebble.setup().ca_file()])
        .refused();
    assert!(why.contains("404 Not Found: is proxy.acme.directory the URL of an ACME directory?"), "{why}");
    let why = store.proxy(&["acme", "enable", "--directory", "http://127.0.0.1/dir"]).refused();
    assert!(why.contains("cannot set proxy.acme.directory: expected an https URL"), "{why}");
    // Such a refusal changes nothing.
    assert_eq!(store.proxy(&["config", "proxy.acme.directory"]).ok().trim(), elsewhere);
    assert_eq!(certificate(&store).trim(), "");
}

#[test]
fn an_account_is_bound_to_one_that_the_authority_knows() {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let store = server().start();
    let pebble = authority(&store)
        .config("externalAccountBindingRequired", json!(true))
        .config("externalAccountMACKeys", json!({ "kid-1": KEY }))
        .start();
    let why = enable(&store, pebble.setup(), &[]).refused();
    assert!(why.contains("cannot make an account at") && why.contains("externalAccountRequired"), "{why}");
    let bound = |key: &str| {
        store.with_file("eab.key", key.as_bytes(), |path| {
            enable(&store, pebble.setup(), &["--eab-kid", "kid-1", "--eab-key-file", path])
        })
    };
    let why = bound("d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmc").refused();
    assert!(why.contains("cannot make an account at"), "{why}");
    assert!(
        bound("no base64!").refused().contains("cannot set proxy.acme.eab-key: expected a key in base64url")
    );
    let _ = bound(&format!("{KEY}\n")).ok();
    let _ = visit(&store, &pebble, "127.0.0.1").ok();
    assert_eq!(status(&store)["eab-kid"], "kid-1");
    // A backup carries it, and nothing else shows it.
    assert!(store.proxy(&["config", "--export-yaml"]).ok().contains(KEY));
    for text in [store.proxy(&["config"]).ok(), store.log(), status(&store).to_string()] {
        assert!(!text.contains(KEY), "{text}");
    }
}

#[test]
fn renewed_by_itself_when_two_thirds_are_over() {
    let store = server().start();
    let pebble = authority(&store).start();
    let _ = enable(&store, pebble.setup(), &[]).ok();
    let port = format!("proxy.port.http={}", store.address.port());
    let _ = store.proxy(&["config", &port]).ok();
    let (first, planned) = (serial(&store), status(&store)["next-renewal"].clone());
    // Not before, and a restart does not change when.
    let store = store.stop().start_with_clock(55 * 86_400);
    assert_eq!(status(&store)["next-renewal"], planned);
    let store = store.stop().start_with_clock(70 * 86_400);
    let begun = Instant::now();
    while serial(&store) == first {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", store.log());
    }
    let _ = visit(&store, &pebble, "127.0.0.1").ok();
}
