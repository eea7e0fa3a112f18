//! What happens to a connection after its last answer.

use super::*;

/// More than a small client buffers, less than the kernel accepts from the server at once.
const TAIL: usize = 200_000;

fn tail() -> Router {
    app().route("/tail", get(|| async { vec![7; TAIL] }))
}

async fn ask(server: &Server) -> Client {
    let mut client = server.connect_with_buffer(4096).await;
    client.send("GET /tail HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(client.fill().await);
    client
}

/// The server has written everything long before the reader has it. Data from the reader in the meantime must not
/// reset the connection.
#[tokio::test]
async fn a_slow_reader_that_goes_on_talking_gets_all() {
    let limits = Limits { write_stall: SHORT * 3, linger_quiet: SHORT / 3, ..Limits::default() };
    let server = start(tail(), limits).await;
    let mut client = ask(&server).await;
    let mut ticks = tokio::time::interval(SHORT / 30);
    let mut piece = [0; 2048];
    loop {
        ticks.tick().await;
        let _ = client.tcp.write_all(b"and").await;
        match client.tcp.read(&mut piece).await.expect("no reset") {
            0 => break,
            count => client.read.extend_from_slice(&piece[..count]),
        }
    }
    assert_eq!(client.reply().await.expect("a reply").body.len(), TAIL);
}

#[tokio::test]
async fn a_reader_that_stops_before_the_tail_is_dropped() {
    let limits = Limits { write_stall: SHORT, ..Limits::default() };
    let server = start(tail(), limits).await;
    let client = ask(&server).await;
    server.lets_go(client.tcp.local_addr().expect("an address")).await;
}

#[tokio::test]
async fn a_peer_that_says_no_goodbye_is_not_waited_for_longer_than_the_limit() {
    let limits = Limits { linger: SHORT * 2, linger_quiet: SHORT, ..Limits::default() };
    for talks in [false, true] {
        let server = start(app(), limits.clone()).await;
        let mut client = server.connect().await;
        client.send("GET /hello HTTP/1.0\r\n\r\n").await;
        assert_eq!(client.reply().await.expect("a reply").body, b"hello");
        client.closed().await;
        let began = Instant::now();
        let mut ticks = tokio::time::interval(SHORT / 10);
        // A peer that keeps sending sees the reset; a silent one sees nothing.
        while talks && client.tcp.write_all(b"and").await.is_ok() {
            assert!(began.elapsed() < LONG, "the connection lives on");
            ticks.tick().await;
        }
        server.shutdown.cancel();
        let stopped = tokio::time::timeout(SHORT * 5, server.task).await;
        stopped.expect("in time").expect("no panic");
    }
}
