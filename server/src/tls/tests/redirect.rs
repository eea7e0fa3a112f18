//! Unencrypted requests while TLS is on.

use super::*;

#[tokio::test]
async fn every_plain_request_is_sent_to_the_same_path_over_https() {
    let site = Site::secure();
    let base = format!("https://localhost:{}", site.https().port());
    for (method, target, there) in [
        ("GET", "/hello", "/hello"),
        ("HEAD", "/", "/"),
        ("GET", "/v2/snaps/find?q=a%20b&x=1", "/v2/snaps/find?q=a%20b&x=1"),
        ("POST", "/v2/snaps/refresh", "/v2/snaps/refresh"),
        ("DELETE", "/nowhere", "/nowhere"),
        ("GET", "http://elsewhere.example/hello?a", "/hello?a"),
        ("GET", "//elsewhere.example/x", "//elsewhere.example/x"),
        ("OPTIONS", "*", "/"),
        ("GET", "/.well-known/acme-challenge/unknown", "/.well-known/acme-challenge/unknown"),
    ] {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n");
        let reply = site.plainly(site.http(), &request).await;
        assert_eq!(reply.status, 308, "{method} {target}");
        assert_eq!(reply.header("location"), Some(&*format!("{base}{there}")), "{method} {target}");
    }
    assert_eq!(site.reached(), 0);
}

#[tokio::test]
async fn credentials_and_bodies_in_the_clear_reach_nobody() {
    let site = Site::secure();
    let request = "POST /hello HTTP/1.1\r\nHost: a\r\nSnap-Device-Authorization: Macaroon root=\"t\"\r\n\
                   Content-Length: 6\r\n\r\nsecret";
    let mut tcp = TcpStream::connect(site.http()).await.expect("connect");
    let reply = ask(&mut tcp, request).await.expect("an answer");
    assert_eq!((reply.status, site.reached()), (308, 0));
    // The connection stays usable.
    let again = ask(&mut tcp, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("an answer");
    assert_eq!((again.status, site.reached()), (308, 0));
}

#[tokio::test]
async fn health_checks_of_this_host_and_open_challenges_are_answered_in_the_clear() {
    let site = Site::secure();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let health = site.plainly(site.http(), &get("/_status/check")).await;
    assert_eq!((health.status, &*health.body), (200, "well"));

    let answering = site.tls.challenges().over_http("token".into(), "token.thumb".into());
    let path = "/.well-known/acme-challenge/token";
    let answer = site.plainly(site.http(), &get(path)).await;
    assert_eq!((answer.status, &*answer.body), (200, "token.thumb"));
    drop(answering);
    assert_eq!(site.plainly(site.http(), &get(path)).await.status, 308);
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_so() {
    let site = Site::secure();
    let mut tcp = TcpStream::connect(site.https()).await.expect("connect");
    let request = "GET /hello HTTP/1.1\r\nHost: a\r\nSnap-Device-Authorization: Macaroon root=\"t\"\r\n\r\n";
    let reply = ask(&mut tcp, request).await.expect("an answer");
    assert_eq!(reply.status, 400);
    let base = format!("https://localhost:{}", site.https().port());
    assert!(reply.body.contains(&base), "{reply:?}");
    assert!(closed(&mut tcp).await);
    assert_eq!(site.reached(), 0);
}

#[tokio::test]
async fn only_a_listed_proxy_is_believed_that_tls_ended_there() {
    let mut site = Site::plain();
    let get = |proto: &str| format!("GET /hello HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: {proto}\r\n\r\n");
    // Off: the headers have no effect.
    assert_eq!(site.plainly(site.http(), &get("http")).await.status, 200);
    let on = |list| {
        [
            ("proxy.trust-forwarded-proto", "true"),
            ("proxy.trusted-proxies", list),
            ("proxy.port.https", "443"),
        ]
    };

    site.set(&on("[\"127.0.0.0/8\"]")).expect("sound");
    assert_eq!(site.tls.state().base_url, "https://localhost");
    assert_eq!(site.plainly(site.http(), &get("https")).await.status, 200);
    let reply = site.plainly(site.http(), &get("http")).await;
    assert_eq!((reply.status, reply.header("location")), (308, Some("https://localhost/hello")));

    site.set(&on("[\"10.0.0.1\"]")).expect("sound");
    assert_eq!(site.plainly(site.http(), &get("https")).await.status, 308);

    // No proxy is trusted yet: requests are served, and the operator is warned.
    site.set(&on("[]")).expect("sound");
    assert_eq!(site.tls.state().base_url, "https://localhost");
    assert_eq!(site.plainly(site.http(), &get("https")).await.status, 200);
    let problems = site.tls.problems(&site.settings);
    assert!(problems.iter().any(|problem| problem.contains("proxy.trusted-proxies")), "{problems:?}");
}
