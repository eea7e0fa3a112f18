//! Where a login is sent, how it is renewed, and what is told of it.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tests::http::Request;
use tests::relay::{Fault, Relay};
use tests::server::Server;
use tests::world::World;

use super::Connected;

/// A macaroon (version 2) with this identifier and signature.
pub(super) fn macaroon(identifier: &str, caveat: &str, signature: u8) -> String {
    let mut bytes = vec![2, 2, u8::try_from(identifier.len()).expect("short")];
    bytes.extend(identifier.as_bytes());
    bytes.extend([0, 2, u8::try_from(caveat.len()).expect("short")]);
    bytes.extend(caveat.as_bytes());
    bytes.extend([0, 0, 6, 32]);
    bytes.extend([signature; 32]);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn snapcraft_login(root: &str, discharge: &str) -> String {
    STANDARD.encode(format!(r#"{{"t":"u1-macaroon","v":{{"r":"{root}","d":"{discharge}"}}}}"#))
}

fn authorization(request: &Request) -> Option<&str> {
    let header = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    header.map(|(_, value)| value.as_str())
}

#[test]
fn a_login_goes_to_its_store_only_and_is_renewed_in_memory() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    store.push_pair(&world.snap("hello").payload(50_000).revision(1), &["latest/stable"], "ubuntu");
    let root = macaroon("root", "dashboard|acl|[\"package_access\"]", 1);
    let (old, new) = (macaroon("old", "x", 2), macaroon("new", "x", 3));
    let elsewhere = Relay::start(&store, |_, _| Fault::Pass);
    let (files, fresh) = (elsewhere.url.clone(), new.clone());
    let needs_refresh = || vec![("WWW-Authenticate", "Macaroon needs_refresh=1".to_owned())];
    let expired = old.clone();
    let relay = Relay::start(&store, move |request, _| {
        if request.target == "/api/v2/tokens/refresh" {
            let known = String::from_utf8_lossy(&request.body).contains(&expired);
            let body = format!(r#"{{"discharge_macaroon":"{fresh}"}}"#);
            return Fault::Answer(if known { 200 } else { 400 }, vec![], body);
        }
        if request.target.contains("/download/") {
            return Fault::Redirect(files.clone());
        }
        // The discharge is bound, so its bytes differ from those in the file; its identifier does not.
        let sent = authorization(request).unwrap_or_default();
        let fresh_prefix = &fresh[..fresh.len() - 44];
        if sent.contains(fresh_prefix) {
            Fault::Pass
        } else {
            Fault::Answer(401, needs_refresh(), String::new())
        }
    });
    let host = Connected::to(&relay.url, &world);
    let login = host.file("viewer.login", snapcraft_login(&root, &old));
    let _ = host.fetch(&["hello", "--auth", &login]).ok();
    assert_eq!(host.bundles().len(), 1);
    let refreshes = relay
        .seen()
        .iter()
        .filter(|request| request.target.ends_with("/refresh") && request.target.starts_with("/api"))
        .count();
    assert_eq!(refreshes, 1, "one renewal serves the whole run");
    for request in relay.seen() {
        let sent = authorization(&request).unwrap_or_default();
        assert!(!sent.contains(&old) && !sent.contains(&new), "discharges are bound: {sent}");
        assert!(request.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("user-agent") && value.starts_with("airlock/")
        }));
        if !request.target.starts_with("/api/v2/tokens") {
            assert!(sent.starts_with(&format!("Macaroon root=\"{root}\", discharge=\"")), "{sent}");
        }
    }
    assert!(!elsewhere.seen().is_empty());
    assert!(
        elsewhere.seen().iter().all(|request| authorization(request).is_none()),
        "it stays with its store"
    );
    let referer = |(name, _): &(String, String)| name.eq_ignore_ascii_case("referer");
    assert!(!elsewhere.seen().iter().flat_map(|request| &request.headers).any(referer));
    assert_eq!(std::fs::read_to_string(&login).expect("the login"), snapcraft_login(&root, &old));

    // Neither does it go to another host that a link names.
    let files = elsewhere.url.clone();
    let before = elsewhere.seen().len();
    let relay = Relay::start(&store, move |request, _| {
        let host = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let own = host.map(|(_, value)| format!("http://{value}")).unwrap_or_default();
        if request.target.ends_with("/refresh") { Fault::Replace(own, files.clone()) } else { Fault::Pass }
    });
    let host = Connected::to(&relay.url, &world);
    let _ = host.fetch(&["hello", "--auth", &login]).ok();
    assert!(elsewhere.seen().len() > before);
    assert!(elsewhere.seen().iter().all(|request| authorization(request).is_none()));

    // A renewal does not follow to another place.
    let before = elsewhere.seen().len();
    let place = elsewhere.url.clone();
    let relay = Relay::start(&store, move |request, _| match request.target.as_str() {
        "/api/v2/tokens/refresh" => {
            Fault::Answer(307, vec![("Location", format!("{place}/steal"))], String::new())
        }
        _ => Fault::Answer(401, needs_refresh(), String::new()),
    });
    let host = Connected::to(&relay.url, &world);
    let refusal = host.fetch(&["hello", "--auth", &login]).refused();
    assert!(refusal.contains("sends the login on to another place, where it does not go"), "{refusal}");
    assert_eq!(elsewhere.seen().len(), before, "{:?}", elsewhere.seen());

    // What cannot be renewed is told.
    let relay = Relay::start(&store, move |request, _| match request.target.as_str() {
        "/api/v2/tokens/refresh" => {
            Fault::Answer(400, vec![], r#"{"error_list":[{"message":"too old"}]}"#.into())
        }
        _ => Fault::Answer(401, needs_refresh(), String::new()),
    });
    let host = Connected::to(&relay.url, &world);
    let refusal = host.fetch(&["hello", "--auth", &login]).refused();
    assert!(refusal.contains("the login has expired and cannot be renewed (HTTP 400: too old)"), "{refusal}");
    assert!(!refusal.contains(&root) && !refusal.contains(&old));
}

#[test]
fn whoami_says_what_a_login_is_and_never_the_secret() {
    let world = World::new();
    let store = Server::start();
    let relay = Relay::start(&store, |request, _| match request.target.as_str() {
        "/api/v2/tokens/whoami" => Fault::Answer(
            200,
            vec![],
            r#"{"account":{"username":"ann","email":"ann@acme.example"},"permissions":["package_access"],
                "expires":"2027-01-01T00:00:00Z"}"#
                .into(),
        ),
        _ => Fault::Drop,
    });
    let host = Connected::to(&relay.url, &world);
    let (root, discharge) = (macaroon("root", "d|acl|[\"store_admin\"]", 1), macaroon("d", "x", 2));
    let login = host.file("a.login", snapcraft_login(&root, &discharge));
    let told = host.proxy(&["whoami", "--auth", &login]).ok();
    assert!(
        told.contains("Form: D (snapcraft login)\nAccount: ann\nPermissions: package_access\n"),
        "{told}"
    );
    assert!(told.contains("Expires: 2027-01-01T00:00:00Z\nConfirmed by the store: yes\n"), "{told}");
    assert!(!told.contains(&root) && !told.contains("ann@acme"));

    let alone = Connected::to("http://127.0.0.1:9", &world);
    let told = alone.proxy(&["whoami", "--auth", &login, "--json"]);
    let json = told.clone().json();
    assert_eq!((json["form"].as_str(), json["confirmed"].as_bool()), (Some("D"), Some(false)));
    assert_eq!(json["permissions"][0], "store_admin");
    assert!(told.stderr.contains("cannot reach http://127.0.0.1:9") && !told.stderr.contains(&root));
    let damaged = host.file("b.login", "marker");
    let refusal = host.proxy(&["whoami", "--auth", &damaged]).refused();
    assert!(refusal.contains("not a recognizable format") && !refusal.contains("marker"), "{refusal}");
    let refusal = host.proxy(&["whoami"]).refused();
    assert!(refusal.contains("there is no login"), "{refusal}");
}

#[test]
fn a_login_that_the_store_does_not_accept_is_told() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    store.push_brand(&world.brand("acme"));
    store.push_store("AcmeStore", "acme", &[]);
    let (id, token) = store.login("AcmeStore", "package_access,store_admin");
    let _ = store.proxy(&["revoke-login", &id]).ok();
    let host = Connected::to(&store.url, &world);
    let revoked = host.file("revoked.login", token);
    let past = "2020-01-01T00:00:00";
    let expired = host.file("expired.login", macaroon("root", &format!("d|expires|{past}"), 1));
    let out = host.text("out");
    for (login, wanted) in [
        (&revoked, "the store does not accept this login (HTTP 401: ".to_owned()),
        (&expired, format!("the login expired on {past}: ask for a new one")),
    ] {
        let ran = host.proxy(&["whoami", "--auth", login]);
        assert!(ran.stdout.contains("Confirmed by the store: no"), "{ran:?}");
        let metadata = ["fetch-brand-store-metadata", "AcmeStore", login, "--export-dir", &out];
        for ran in [ran, host.proxy(&metadata), host.fetch(&["hidden", "--auth", login])] {
            let refusal = ran.refused();
            assert!(refusal.contains(&wanted), "{refusal}");
        }
    }
}

#[test]
fn store_metadata_comes_without_people() {
    let world = World::new();
    let server = Server::start();
    let store = |id: &str, parent: &str| {
        format!(
            r#"{{"store":{{"id":"{id}","brand-id":"acme","name":"{id}","private":true,"parent":{parent},
                "allowed-inclusion-source-stores":["AcmeBase"],"roles":[{{"role":"admin"}}]}},
                "users":[{{"email":"ann@acme.example"}}]}}"#
        )
    };
    let snap = r#"{"id":"fLowMeTer1234567890abcdefGHIJKLM","name":"flowmeter","store":"AcmeBase","private":true,
        "other-stores":[],"included-stores":[],"essential":false,"users":[{"email":"ann@acme.example"}]}"#;
    let relay = Relay::start(&server, move |request, _| {
        let body = match request.target.as_str() {
            "/api/v2/stores/AcmeDevices" => store("AcmeDevices", "\"AcmeBase\""),
            "/api/v2/stores/AcmeBase" => store("AcmeBase", "null"),
            "/api/v2/stores/AcmeDevices/snaps" => r#"{"snaps":[]}"#.to_owned(),
            "/api/v2/stores/AcmeBase/snaps" => format!(r#"{{"snaps":[{snap}]}}"#),
            "/api/v2/stores/Secret" => return Fault::Answer(403, vec![], String::new()),
            "/api/v2/stores/Renamed" => store("Other", "null"),
            "/api/v2/stores/OnSecret" => store("OnSecret", "\"Secret\""),
            "/api/v2/stores/OnBusy" => store("OnBusy", "\"Busy\""),
            "/api/v2/stores/Busy" => {
                return Fault::Answer(429, vec![("Retry-After", "3600".into())], String::new());
            }
            "/api/v2/stores/Portal" => "<!DOCTYPE html><title>Log in</title>".to_owned(),
            "/api/v2/stores/OnSecret/snaps"
            | "/api/v2/stores/OnBusy/snaps"
            | "/api/v2/stores/Renamed/snaps" => r#"{"snaps":[]}"#.to_owned(),
            _ => {
                return Fault::Answer(
                    404,
                    vec![],
                    r#"{"error-list":[{"code":"resource-not-found","message":"no"}]}"#.into(),
                );
            }
        };
        Fault::Answer(200, vec![], body)
    });
    let host = Connected::to(&relay.url, &world);
    let login = host.file("admin.login", macaroon("root", "d|acl|[\"store_admin\"]", 1));
    let out = host.text("out");
    let fetch =
        |args: &[&str]| host.proxy(&[&["fetch-brand-store-metadata", "--export-dir", &out], args].concat());
    let printed = fetch(&["AcmeDevices", &login]).ok();
    let path = printed.split_whitespace().last().expect("a path").to_owned();
    assert!(path.contains("/AcmeDevices-2") && path.ends_with(".json"), "{path}");
    let written = std::fs::read_to_string(&path).expect("the file");
    assert!(!written.contains('@') && !written.contains("roles"), "{written}");
    let inspected = host.proxy(&["inspect", &path]).ok();
    assert!(
        inspected.contains("store AcmeDevices \"AcmeDevices\" of brand acme, on AcmeBase"),
        "{inspected}"
    );
    assert!(inspected.contains("1 snaps in AcmeBase: flowmeter"), "{inspected}");
    let first = path;
    let printed = fetch(&["AcmeDevices", &login, "--with-people"]).ok();
    let path = printed.split_whitespace().last().expect("a path").to_owned();
    assert!(std::fs::read_to_string(&path).expect("the file").contains("ann@acme.example"));
    // Several files, as a shell finds them.
    let told = server.proxy(&["push-brand-store-metadata", &first, &path]).ok();
    for file in [&first, &path] {
        assert!(told.contains(&format!("{file}:\nImported store AcmeBase")), "{told}");
    }
    let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "names of people are for the owner of the file");
    let ran = fetch(&["OnSecret", &login]);
    assert!(ran.stderr.contains("base store Secret is not visible to this login"), "{ran:?}");
    let _ = ran.ok();
    for (store, wanted) in [
        ("OnBusy", "run the same command again in 3600 seconds"),
        ("Renamed", "the store's answer about store Renamed is about store Other"),
        ("Portal", "it is a web page"),
    ] {
        let refusal = fetch(&[store, &login]).refused();
        assert!(refusal.contains(wanted), "{refusal}");
    }
    let refusal = fetch(&["Nothing", &login]).refused();
    assert!(refusal.contains("store Nothing is not visible to this login"), "{refusal}");
    let refusal = fetch(&["Secret", &login]).refused();
    assert!(refusal.contains("not for this login (HTTP 403)"), "{refusal}");
    assert!(relay.seen().iter().all(|request| authorization(request).is_some()));
}
