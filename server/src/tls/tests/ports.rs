//! Which ports are open, and which protocol each of them speaks.

use super::*;

const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

/// A port that was free a moment ago.
pub(super) async fn free_port() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port().to_string()
}

#[tokio::test]
async fn tls_goes_on_and_off_while_the_site_is_served() {
    let mut site = Site::plain();
    assert_eq!(site.tls.listening().len(), 1);
    let mut early = TcpStream::connect(site.http()).await.expect("connect");
    assert_eq!(ask(&mut early, HELLO).await.expect("an answer").status, 200);

    site.turn_on();
    assert_eq!(ask(&mut early, HELLO).await.expect("an answer").status, 308);
    let (client, https) = (site.client(), site.https());
    assert_eq!(site.get(&client, "/hello").await.expect("an answer").status, 200);
    let mut running = site.connect(&client).await.expect("connect");
    running.write_all(b"GET /large HTTP/1.0\r\n\r\n").await.expect("sent");
    head(&mut running).await.expect("an answer begins");

    site.turn_off();
    assert_eq!(site.tls.listening().len(), 1);
    assert_eq!(site.plainly(site.http(), HELLO).await.status, 200);
    let gone = async {
        while TcpStream::connect(https).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, gone).await.expect("the port closes");
    let mut body = Vec::new();
    running.read_to_end(&mut body).await.expect("the transfer goes on");
    assert_eq!(body.len(), LARGE);
}

#[tokio::test]
async fn one_port_serves_both() {
    let port = free_port().await;
    let mut site = Site::with(Limits::default(), &[("proxy.port.http", &port), ("proxy.port.https", &port)]);
    assert_eq!(site.plainly(site.http(), HELLO).await.status, 200);
    site.turn_on();
    assert_eq!(
        site.tls.listening(),
        [format!("http://127.0.0.1:{port}"), format!("https://127.0.0.1:{port}")]
    );
    let reply = site.plainly(site.http(), HELLO).await;
    let there = format!("https://localhost:{port}/hello");
    assert_eq!((reply.status, reply.header("location")), (308, Some(&*there)));
    assert_eq!(site.get(&site.client(), "/hello").await.expect("an answer").status, 200);

    // And separate again.
    site.set(&[("proxy.port.https", "0")]).expect("sound");
    assert_ne!(site.https(), site.http());
    assert_eq!(site.get(&site.client(), "/hello").await.expect("an answer").status, 200);
}

#[tokio::test]
async fn ipv6_and_ipv4_share_a_dual_stack_port() {
    let mut site = Site::with(Limits::default(), &[("proxy.ipaddress", "[::]")]);
    site.turn_on();
    let (http, https) = (site.http().port(), site.https().port());
    for host in ["127.0.0.1", "::1"] {
        let address = |port| SocketAddr::new(host.parse().expect("an address"), port);
        assert_eq!(site.plainly(address(http), HELLO).await.status, 308, "{host}");
        assert_eq!(site.plainly(address(https), HELLO).await.status, 400, "{host}");
        // Health checks count as local in either spelling.
        let check = site.plainly(address(http), "GET /_status/check HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(check.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_at_its_deadline() {
    let limits = Limits { handshake: Duration::from_millis(300), ..Limits::default() };
    let port = free_port().await;
    let mut site = Site::with(limits, &[("proxy.port.http", &port), ("proxy.port.https", &port)]);
    site.turn_on();
    // Nothing at all, and the beginning of a handshake.
    for begin in [&b""[..], &[0x16, 3, 1, 2, 0, 1]] {
        let mut tcp = TcpStream::connect(site.http()).await.expect("connect");
        tcp.write_all(begin).await.expect("sent");
        assert!(closed(&mut tcp).await, "{begin:?}");
    }
    assert_eq!(site.get(&site.client(), "/hello").await.expect("an answer").status, 200);
}

#[tokio::test]
async fn what_cannot_be_put_in_force_changes_nothing() {
    let mut site = Site::secure();
    let client = site.client();
    let other = site.authority.server("localhost", 400);
    let taken = site.http().port();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let busy = holder.local_addr().expect("an address").port().to_string();
    for (pairs, why) in [
        (&[("proxy.tls.key", "")][..], "proxy.tls.cert"),
        (&[("proxy.tls.cert", &*other.cert_pem)], "does not belong"),
        (&[("proxy.port.https", &*busy)], "cannot listen on"),
        (&[("proxy.port.https", &*taken.to_string())], "cannot listen on"),
        (&[("proxy.tls.client-auth", "required"), ("proxy.tls.client-ca", "/nowhere")], "/nowhere"),
    ] {
        let refused = site.set(pairs).expect_err("refused");
        assert!(refused.contains(why), "{refused}");
        assert_eq!(site.get(&client, "/hello").await.expect("an answer").status, 200);
    }
    drop(holder);
}
