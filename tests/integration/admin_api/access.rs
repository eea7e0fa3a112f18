//! Every route of the admin API, asked with every kind of credential, over real TLS. The routes and the permissions that
//! open them are those of the served document, which is made of the server's one table.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use schema::config::Settings;
use schema::service_login::{Acl, LoginKey, ServiceLogin};
use serde_json::Value;
use tests::http::{Connection, Request, Response};
use tests::server::{Ran, SECRET, Setup, program};

use super::{Site, address};

/// What an answer to a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unknown,
    Forbidden,
    Admitted,
}

/// A credential, and the permissions that it gives; none for one that is void.
struct Credential {
    name: &'static str,
    token: Option<String>,
    gives: Option<BTreeSet<&'static str>>,
}

/// One operation of the document.
struct Operation {
    method: String,
    target: String,
    opened_by: BTreeSet<String>,
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("operations") {
            let wanted = operation["security"].as_array().expect("permissions");
            let opened_by = wanted.iter().map(|one| one["login"][0].as_str().expect("a name").to_owned());
            // Nothing has this name.
            let target = path.replace("{id}", "AAAAAAAAAAAAAAAA").replace("{fingerprint}", "nothing");
            all.push(Operation {
                method: method.to_ascii_uppercase(),
                target,
                opened_by: opened_by.collect(),
            });
        }
    }
    all
}

fn credentials(site: &Site) -> Vec<Credential> {
    let store = &site.store;
    let void = |name, token: Option<String>| Credential { name, token, gives: None };
    let good = |name, token: String, gives: &[&'static str]| Credential {
        name,
        token: Some(token),
        gives: Some(gives.iter().copied().collect()),
    };
    let own: [u8; 32] = std::array::from_fn(|index| index as u8);
    assert!(SECRET.starts_with("AAECAwQF"), "the secret that `own` spells");
    let (reader_id, reader) = store.site_login("admin:read");
    let year_2100 = 4_102_444_800;
    let minted = |secret: [u8; 32], id: &str, acl: Acl, expires: u64| {
        let login = ServiceLogin { id: id.to_owned(), store: None, acls: [acl].into(), expires };
        login.mint(&LoginKey::new(&secret)).expect("a time that can be written")
    };
    let (admin_id, admin) = store.site_login("admin");
    let mut altered = admin.clone();
    let at = altered.len() / 2;
    let other = if &altered[at..=at] == "A" { "B" } else { "A" };
    altered.replace_range(at..=at, other);
    let (revoked_id, revoked) = store.site_login("admin");
    let _ = store.proxy(&["revoke-login", &revoked_id]).ok();
    store.push_store("AcmeStore", "acme", &[]);
    let (_, of_store) = store.login("AcmeStore", "package_access,store_admin");
    vec![
        void("nobody", None),
        void("garbage", Some("nonsense".into())),
        void("an altered login", Some(altered)),
        void("an expired login", Some(minted(own, &admin_id, Acl::Admin, 1_700_000_000))),
        void("a revoked login", Some(revoked)),
        void("a login of another secret", Some(minted([9; 32], &admin_id, Acl::Admin, year_2100))),
        void("a login that was never made", Some(minted(own, "AAAAAAAAAAAAAAAA", Acl::Admin, year_2100))),
        good("a login for a store", of_store, &[]),
        good("a reader", reader, &["admin:read"]),
        good("a pipeline", store.site_login("admin:imports").1, &["admin:imports"]),
        good("a tool for overrides", store.site_login("overrides").1, &["overrides"]),
        // Whoever has the secret and knows of a login gets no further than that login.
        good("a reader who made itself more", minted(own, &reader_id, Acl::Admin, year_2100), &[]),
        good("an operator", admin, &["admin"]),
    ]
}

#[test]
fn every_route_asks_for_its_permission() {
    let site = Site::new();
    let credentials = credentials(&site);
    let (_, reader) = site.store.site_login("admin:read");
    let document = site.ask("GET", "/v1/openapi.json", &reader).json();
    let operations = operations(&document);
    assert!(operations.len() >= 34, "{}", operations.len());
    let events = || {
        let all = site.store.proxy(&["audit", "--json"]).json_lines();
        all.iter().filter(|event| event["outcome"] != "refused").count()
    };
    let before = events();
    let (mut connection, mut checks) = (site.open(), 0);
    let mut told = String::new();
    for credential in &credentials {
        for operation in &operations {
            let mut request = Request::new(&operation.method, &operation.target, "store");
            if let Some(token) = &credential.token {
                request = request.header("Authorization", &format!("Bearer {token}"));
            }
            let response = exchange(&mut connection, &site, &request);
            let place = format!("{} asks {} {}", credential.name, operation.method, operation.target);
            let expected = match &credential.gives {
                None => Verdict::Unknown,
                Some(gives) if gives.iter().any(|one| operation.opened_by.contains(*one)) => {
                    Verdict::Admitted
                }
                Some(_) => Verdict::Forbidden,
            };
            let verdict = match response.status {
                401 => Verdict::Unknown,
                403 => Verdict::Forbidden,
                404 | 405 => panic!("{place}: there is no such route: {response:?}"),
                _ => Verdict::Admitted,
            };
            assert_eq!(verdict, expected, "{place}: {response:?}");
            if verdict == Verdict::Unknown {
                let challenge = response.header("WWW-Authenticate").unwrap_or_default();
                assert!(challenge.starts_with("Bearer ") && !challenge.contains("device"), "{response:?}");
                assert_eq!(response.json()["code"], "login-required", "{place}");
            }
            let kept = response.header("Cache-Control").unwrap_or_default();
            assert!(kept.contains("no-store"), "{place}: may be cached: {response:?}");
            told.push_str(&format!("{response:?}{}", response.text()));
            checks += 1;
        }
        if credential.name == "a reader who made itself more" {
            assert_eq!(events(), before, "what is refused, or only reads, leaves nothing behind");
        }
    }
    println!("{checks} checks");
    told.push_str(&site.store.log());
    told.push_str(&site.store.proxy(&["audit", "--json"]).ok());
    for token in credentials.iter().filter_map(|credential| credential.token.as_ref()) {
        assert!(token == "nonsense" || !told.contains(token), "a token in an answer or the log");
    }
    assert!(!told.contains(SECRET), "a secret in an answer or the log");
}

/// Asks over a connection that is kept; the server may have closed it.
fn exchange(connection: &mut Connection, site: &Site, request: &Request) -> Response {
    if let Ok(response) = connection.exchange(request) {
        return response;
    }
    *connection = site.open();
    connection.exchange(request).unwrap_or_else(|error| panic!("no answer to {request:?}: {error}"))
}

#[test]
fn the_admin_api_is_open_where_and_while_it_is_meant_to_be() {
    let site = Site::new();
    let (_, token) = site.store.site_login("admin");
    let status =
        Request::new("GET", "/v1/status", "store").header("Authorization", &format!("Bearer {token}"));
    assert_eq!(site.open().exchange(&status).expect("an answer").status, 200);
    // In the clear nothing is looked at, and the devices' ports know nothing of it.
    let clear = tests::http::exchange(site.address, &status).expect("an answer");
    assert_eq!((clear.status, clear.text().as_str()), (400, "This port speaks HTTPS only.\n"));
    assert_eq!(site.store.send(&status).status, 308);
    let https = site.store.status().listening;
    let https = https.iter().find_map(|at| at.strip_prefix("https://")?.parse().ok()).expect("an HTTPS port");
    let beside = Connection::open_tls(https, &site.ca).and_then(|mut port| port.exchange(&status));
    assert_eq!(beside.expect("an answer").status, 404);

    // Without a certificate it is not open, so the certificate stays while it is.
    let refused = site.store.proxy(&["config", "proxy.tls.cert=", "proxy.tls.key="]).refused();
    assert!(refused.contains("proxy.admin.address"), "{refused}");
    let plain = Setup::default().start();
    let refused = plain.proxy(&["config", "proxy.admin.address=127.0.0.1:0"]).refused();
    assert!(refused.contains("proxy import-certificate"), "{refused}");
    let refused = plain.proxy(&["config", "proxy.admin.address=8444"]).refused();
    assert!(refused.contains("an IP address and a port"), "{refused}");

    // Nor does a server start that would have to open it in the clear.
    let folder = tempfile::tempdir().expect("there is room");
    let mut settings = Settings::default();
    for (name, value) in [("proxy.port.http", "0"), ("proxy.admin.address", "127.0.0.1:0")] {
        settings.set(name, value).expect("a sound value");
    }
    settings.save(folder.path()).expect("there is room");
    let refused = Setup::empty().start_at(folder.path()).err().expect("no server comes up");
    assert!(refused.contains("proxy import-certificate"), "{refused}");

    // It moves and closes with its key; who is there finishes.
    let mut early = site.open();
    let taken = format!("proxy.admin.address={}", site.store.address);
    assert!(site.store.proxy(&["config", &taken]).refused().contains("cannot listen on"));
    assert_eq!(address(&site.store), Some(site.address));
    let _ = site.store.proxy(&["config", "proxy.admin.address=[::1]:0"]).ok();
    let moved = address(&site.store).expect("the admin API is open");
    assert!(moved.is_ipv6());
    assert_eq!(early.exchange(&status).expect("an answer").status, 200);
    let _ = site.store.proxy(&["config", "proxy.admin.address="]).ok();
    assert_eq!(address(&site.store), None);
    let begun = std::time::Instant::now();
    while std::net::TcpStream::connect(moved).is_ok() {
        assert!(begun.elapsed().as_secs() < 30, "the port closes");
        std::thread::yield_now();
    }
}

#[test]
fn a_client_certificate_is_asked_for_here_too() {
    let site = Site::new();
    let (_, token) = site.store.site_login("admin:read");
    let folder = tempfile::tempdir().expect("there is room");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("ca.pem"), &site.ca).expect("there is room");
    fs::write(path("header"), format!("Authorization: Bearer {token}\n")).expect("there is room");
    let out = folder.path().to_str().expect("a path of text");
    let _ = site.store.proxy(&["ca", "issue-client", "pipeline", "--out", out]).ok();
    let client_ca = format!("proxy.tls.client-ca={}", path("ca.pem"));
    let _ = site.store.proxy(&["config", &client_ca, "proxy.tls.client-auth=required"]).ok();
    let ask = |more: &[&str]| -> Ran {
        let url = format!("https://{}/v1/status", site.address);
        let (ca, header) = (path("ca.pem"), format!("@{}", path("header")));
        let args = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", &ca, "-H", &header, &url];
        Command::new("curl").args(args).args(more).output().expect("curl is installed").into()
    };
    assert_eq!(ask(&["--cert", &path("pipeline.pem"), "--key", &path("pipeline.key")]).ok(), "200");
    let without = ask(&[]);
    assert!(without.code != Some(0) || without.stdout == "421", "{without:?}");

    // The companion shows the same.
    fs::write(path("login"), token).expect("there is room");
    let url = format!("https://{}", site.address);
    let companion = |shown: &[&str]| -> Ran {
        let fixed =
            ["--server", &url, "--token-file", &path("login"), "--ca", &path("ca.pem")].map(str::to_owned);
        let all = fixed.into_iter().chain(shown.iter().map(|arg| (*arg).to_owned()));
        Command::new(program("proxy")).args(all).arg("list-stores").output().expect("proxy is there").into()
    };
    let (cert, key) = (path("pipeline.pem"), path("pipeline.key"));
    let _ = companion(&["--cert", &cert, "--key", &key]).ok();
    let _ = companion(&[]).refused();
    assert_eq!(companion(&["--cert", &cert]).code, Some(2));
    let _ = site.store.proxy(&["ca", "issue-client", "other", "--out", out]).ok();
    let unfit = companion(&["--cert", &cert, "--key", &path("other.key")]).refused();
    assert!(unfit.contains("cannot use --cert and --key"), "{unfit}");
    let locked = Command::new("openssl")
        .args(["pkey", "-in", &key, "-aes256", "-passout", "pass:x", "-out", &path("locked.key")])
        .output();
    assert!(locked.expect("openssl is installed").status.success());
    let refused = companion(&["--cert", &cert, "--key", &path("locked.key")]).refused();
    assert!(refused.contains("locked.key") && refused.contains("without a passphrase"), "{refused}");
}
