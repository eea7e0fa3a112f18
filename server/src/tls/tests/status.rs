//! The check from a device's point of view, with a whole store.

use time::OffsetDateTime;

use super::*;
use crate::run::{Given, Server};

async fn check(site: &Site) -> schema::api::admin::TlsStatus {
    super::check::check(&site.tls, site.folder.path()).await.tls.expect("TLS is on")
}

/// A site whose authority is the data directory's own.
fn trusted() -> Site {
    let site = Site::secure();
    let folder = site.folder.path().join("ca");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("ca.pem"), site.authority.pem()).expect("written");
    site
}

#[tokio::test]
async fn a_device_gets_through() {
    let site = trusted();
    let status = check(&site).await;
    assert_eq!(status.problems, Vec::<String>::new());
    let certificate = status.certificate.expect("one is served");
    assert_eq!((&*certificate.subject, &*certificate.names), ("localhost", &["localhost".to_owned()][..]));
    assert!((399..=400).contains(&certificate.days_left), "{certificate:?}");
    assert_eq!((&*status.client_auth, status.warning), ("off", None));
    assert!(super::check::check(&Site::plain().tls, site.folder.path()).await.tls.is_none());
}

#[tokio::test]
async fn what_keeps_a_device_out_is_named() {
    let mut site = trusted();
    for (pair, why) in [
        (Authority::new("Foreign CA").server("localhost", 400), "is not trusted"),
        (site.authority.server("elsewhere.example", 400), "does not cover the name localhost"),
        (site.authority.server("localhost", -1), "has expired"),
        (site.authority.server("localhost", 5), "expires in 4 days"),
    ] {
        site.serve(&pair);
        let status = check(&site).await;
        assert!(status.problems.iter().any(|problem| problem.contains(why)), "{why}: {:?}", status.problems);
    }
    let soon = site.authority.server("localhost", 25);
    site.serve(&soon);
    let status = check(&site).await;
    assert!(status.problems.is_empty() && status.warning.is_some(), "{status:?}");

    site.set(&[("proxy.domain", "name.invalid")]).expect("sound");
    let problems = check(&site).await.problems;
    assert!(problems.iter().any(|problem| problem.contains("cannot be resolved")), "{problems:?}");
    site.set(&[("proxy.domain", "127.0.0.2")]).expect("sound");
    let problems = check(&site).await.problems;
    assert!(problems.iter().any(|problem| problem.contains("cannot be reached")), "{problems:?}");
}

/// snapd presents no client certificate, so `required` locks out every device.
#[tokio::test]
async fn a_device_without_a_certificate_is_what_is_checked() {
    let mut site = trusted();
    let folder = site.folder.path().to_str().expect("text").to_owned();
    std::fs::write(site.folder.path().join("devices.pem"), site.authority.pem()).expect("written");
    site.set(&[("proxy.tls.client-auth", "required"), ("proxy.tls.client-ca", &folder)]).expect("sound");
    let problems = check(&site).await.problems;
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert!(problem.contains("turns devices away"), "{problem}");
    assert!(problem.contains("`proxy config proxy.tls.client-auth=optional`"), "{problem}");
    site.set(&[("proxy.tls.client-auth", "optional")]).expect("sound");
    assert_eq!(check(&site).await.problems, Vec::<String>::new());
}

#[test]
fn the_end_of_a_certificate_is_announced() {
    let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
    let say = |left: time::Duration, renews| {
        let leaf = Leaf {
            subject: "a".into(),
            issuer: "b".into(),
            names: Vec::new(),
            // The authority above is younger.
            not_before: now - time::Duration::days(1),
            begun: now - time::Duration::days(280),
            not_after: now + left,
        };
        super::check::expiry(&leaf, now, renews)
    };
    let said = |left| say(left, false);
    let days = time::Duration::days;
    assert_eq!(said(days(91)), None);
    for (left, urgent, text) in [
        (days(89), false, "in 89 days"),
        (days(29), false, "in 29 days"),
        (days(6), true, "in 6 days"),
        (days(1), true, "in 1 day,"),
        (time::Duration::hours(3), true, "in 3 hours"),
        (time::Duration::seconds(-1), true, "expired on"),
    ] {
        let (is_urgent, said) = said(left).expect("said");
        assert!(is_urgent == urgent && said.contains(text), "{left}: {said}");
    }
    // No warning while ACME renews, until the renewal is overdue.
    assert_eq!(say(days(70), true), None);
    let (is_urgent, said) = say(days(6), true).expect("said");
    assert!(is_urgent && said.contains("`proxy acme status`"), "{said}");
}

#[tokio::test]
async fn the_end_is_announced_once_a_day_and_for_every_new_pair() {
    let mut site = Site::secure();
    let now = Instant::now();
    assert_eq!(site.tls.announcement(now), None);
    let soon = site.authority.server("localhost", 20);
    site.serve(&soon);
    assert!(site.tls.announcement(now).is_some());
    assert_eq!(site.tls.announcement(now + Duration::from_secs(86_000)), None);
    assert!(site.tls.announcement(now + Duration::from_secs(86_400)).is_some());
}

#[tokio::test]
async fn only_settings_that_answers_depend_on_touch_the_catalog() {
    provider::install();
    let folder = TempDir::new().expect("a folder");
    let mut settings = Settings::default();
    let usual = [("proxy.ipaddress", "127.0.0.1"), ("proxy.port.http", "0"), ("proxy.port.https", "0")];
    settings.set_all(usual).expect("sound");
    settings.save(folder.path()).expect("written");
    let server = Server::start(folder.path(), Given::default(), Limits::default()).await.expect("a server");
    let store = Arc::clone(&server.store);
    let before = store.catalog();
    for (name, value) in [
        ("proxy.log.level", "debug"),
        ("proxy.verify.rate", "7"),
        ("proxy.device-auth.session-lifetime", "1d"),
        ("proxy.port.http", "0"),
        ("proxy.storage.s3.region", "eu-north-1"),
    ] {
        store.configure("me", |settings| settings.set_all([(name, value)])).await.expect("taken");
        let event = store.database().events(i64::MAX, 1).await.expect("events").remove(0).event;
        let changed = if name == "proxy.port.http" { "" } else { name };
        assert_eq!((&*event.what, &*event.subject, &*event.outcome), ("config", changed, "done"));
        assert!(Arc::ptr_eq(&before, &store.catalog()), "{name}");
    }
    let front = [("proxy.public-url", "https://snaps.example")];
    store.configure("me", |settings| settings.set_all(front)).await.expect("taken");
    assert_eq!(&*store.catalog().base_url, "https://snaps.example");
    assert_eq!(
        store.catalog().position.generation,
        before.position.generation,
        "other servers have nothing to do"
    );
    server.stop().await.expect("stopped");
}

#[tokio::test]
async fn the_store_takes_a_pair_while_it_runs() {
    provider::install();
    let folder = TempDir::new().expect("a folder");
    let mut settings = Settings::default();
    let usual = [("proxy.ipaddress", "127.0.0.1"), ("proxy.port.http", "0"), ("proxy.port.https", "0")];
    settings.set_all(usual).expect("sound");
    settings.save(folder.path()).expect("written");
    let server = Server::start(folder.path(), Given::default(), Limits::default()).await.expect("a server");
    let store = Arc::clone(&server.store);
    let http = store.tls().http_address();
    assert_eq!(*store.catalog().base_url, format!("http://localhost:{}", http.port()));

    let pair = Authority::new("CA").server("localhost", 400);
    // The first half waits for the other.
    let half = [("proxy.tls.cert", &*pair.cert_pem)];
    store.configure("me", |settings| settings.set_all(half)).await.expect("taken");
    assert!(store.tls().state().base_url.starts_with("http:"), "{}", store.tls().state().base_url);
    assert!(store.tls().problems(&store.settings())[0].starts_with("HTTPS stays off"));
    let both = [("proxy.tls.cert", &*pair.cert_pem), ("proxy.tls.key", &*pair.key_pem)];
    store.configure("me", |settings| settings.set_all(both)).await.expect("taken");
    let base = store.tls().state().base_url.clone();
    assert!(base.starts_with("https://localhost:") && *store.catalog().base_url == base, "{base}");
    let mut tcp = TcpStream::connect(http).await.expect("connect");
    let request = "POST /api/v1/snaps/auth/nonces HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let reply = ask(&mut tcp, request).await.expect("an answer");
    let there = format!("{base}/api/v1/snaps/auth/nonces");
    assert_eq!((reply.status, reply.header("location")), (308, Some(&*there)));

    // It is still there after a restart.
    drop(tcp);
    server.stop().await.expect("stopped");
    drop(store);
    let again = async {
        // Wait until no reader has the database open.
        loop {
            if let Ok(server) = Server::start(folder.path(), Given::default(), Limits::default()).await {
                break server;
            }
        }
    };
    let server = tokio::time::timeout(LONG, again).await.expect("a server");
    assert!(server.store.catalog().base_url.starts_with("https://"));
    server.stop().await.expect("stopped");
}
