//! Traces: a request arrives at the collector as a span with the work under it, and carries nothing that is secret.

use tests::server::Setup;

use super::collector::{Collector, attribute};
use super::{database, get};
use crate::sessions::Scene;
use tests::postgres::Cluster;

#[test]
fn a_request_arrives_at_the_collector() {
    let mut collector = Collector::start();
    let setup = Setup::default()
        .config("proxy.otel.endpoint", &collector.url)
        .config("proxy.db.connection", &database(Cluster::shared()));
    let scene = Scene::on(setup);
    let mut device = scene.device();
    let _ = device.install_for_good("hello", "latest/stable").expect("an install");
    let session = device.session.clone().expect("a session");
    let (_, login) = scene.store.login("AcmeStore", "store_admin");
    let request =
        tests::http::Request::new("GET", "/api/v2/stores/AcmeStore?secret=in-the-query", "127.0.0.1")
            .header("Authorization", &format!("Bearer {login}"))
            .header("Connection", "close");
    assert_eq!(scene.store.send(&request).status, 200);
    assert_eq!(get(&scene.store, "/_status/check").status, 200);
    assert_eq!(get(&scene.store, "/nowhere/forged").status, 404);

    let refresh = collector.wait_for(|span| span.name == "POST /v2/snaps/refresh");
    assert_eq!(attribute(&refresh, "http.route").as_deref(), Some("/v2/snaps/refresh"));
    assert_eq!(attribute(&refresh, "http.request.method").as_deref(), Some("POST"));
    assert_eq!(attribute(&refresh, "http.response.status_code").as_deref(), Some("200"));
    assert!(attribute(&refresh, "airlock.request").is_some_and(|number| number.parse::<u64>().is_ok()));
    assert_eq!(refresh.kind, 2, "a span of a server");
    assert!(refresh.parent_span_id.is_empty() && refresh.trace_id.len() == 16);
    assert!(refresh.end_time_unix_nano > refresh.start_time_unix_nano);
    let begun = collector.wait_for(|span| span.name == "POST /api/v1/snaps/auth/sessions");
    let check = collector.wait_for(|span| span.name == "session check");
    assert_eq!((&check.trace_id, &check.parent_span_id), (&begun.trace_id, &begun.span_id));
    let _ = collector.wait_for(|span| span.name == "GET /_status/check");
    let statement =
        collector.wait_for(|span| span.name == "database write" && span.trace_id == begun.trace_id);
    assert_eq!(attribute(&statement, "statement").as_deref(), Some("SPEND"));
    let missing = collector.wait_for(|span| span.name == "GET none");
    assert_eq!(attribute(&missing, "http.response.status_code").as_deref(), Some("404"));

    // The rest comes when the server stops.
    let _ = scene.store.stop();
    let raw = String::from_utf8_lossy(&collector.raw).into_owned();
    for secret in [
        &session[session.len() - 30..],
        &login[login.len() - 30..],
        "in-the-query",
        "forged",
        "SN-1",
        "hello",
    ] {
        assert!(!raw.contains(secret), "{secret} was sent");
    }
    let known =
        ["airlock.request", "http.request.method", "http.response.status_code", "http.route", "statement"];
    for span in collector.spans() {
        let held = |key: &str| known.contains(&key) || ["busy_ns", "idle_ns"].contains(&key);
        assert!(span.attributes.iter().all(|attribute| held(&attribute.key)), "{span:?}");
        assert!(span.events.is_empty(), "log lines stay here: {span:?}");
    }
}

#[test]
fn the_store_works_without_its_collector() {
    let setup = Setup::default().config("proxy.otel.endpoint", "http://127.0.0.1:1");
    let scene = Scene::on(setup);
    let mut device = scene.device();
    let _ = device.install_for_good("hello", "latest/stable").expect("an install");
    crate::sessions::restart::until("the log tells of it", || {
        scene.store.log().contains("Traces cannot be sent")
    });
    let _ = scene.store.stop();
}
