//! Each phase ends in time, and no phase ends another.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use hyper::body::Frame;
use tokio::sync::Notify;

use super::*;

fn short_head() -> Limits {
    Limits { handshake: SHORT, head: SHORT, ..Limits::default() }
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let server = start(app(), short_head()).await;
    server.connect().await.closed().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_closed() {
    #[derive(Clone)]
    struct Never;
    impl Handshake for Never {
        type Io = Wire;
        async fn shake(&self, wire: Wire) -> Result<(Wire, Extensions), Failed> {
            std::future::pending::<()>().await;
            Ok((wire, Extensions::new()))
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let limits = Limits { handshake: SHORT, ..Limits::default() };
    let connections = Connections::new(limits);
    tokio::spawn(async move { connections.accept(listener, Never, app(), CancellationToken::new()).await });
    let tcp = TcpStream::connect(address).await.expect("connect");
    let mut client = Client { tcp, read: Vec::new() };
    client.closed().await;
}

#[tokio::test]
async fn a_dripping_head_is_closed() {
    let server = start(app(), short_head()).await;
    for before in ["", "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut client = server.connect().await;
        client.send(before).await;
        if !before.is_empty() {
            client.reply().await.expect("a reply");
        }
        let began = Instant::now();
        let mut ticks = tokio::time::interval(SHORT / 10);
        // Writing fails some time after the server has closed.
        while client.tcp.write_all(b"G").await.is_ok() {
            assert!(began.elapsed() < LONG);
            ticks.tick().await;
        }
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_deadline_of_heads() {
    let limits = Limits { idle: SHORT * 6, ..short_head() };
    let server = start(app(), limits).await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        client.get("/hello").await;
        assert!(client.stays_open(SHORT * 3).await);
    }
    client.closed().await;
}

#[tokio::test]
async fn a_slow_handler_is_not_cut_off() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let app = Router::new().route(
        "/",
        get(|| async move {
            wait.notified().await;
            "done"
        }),
    );
    let limits = Limits { idle: SHORT, write_stall: SHORT, ..short_head() };
    let server = start(app, limits).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.stays_open(SHORT * 3).await);
    go.notify_one();
    assert_eq!(client.reply().await.expect("a reply").body, b"done");
}

#[tokio::test]
async fn a_body_that_stops_is_given_up() {
    let limits = Limits { body_idle: SHORT, ..Limits::default() };
    let server = start(app(), limits).await;
    for path in ["/echo", "/refuse"] {
        let mut client = server.connect().await;
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")).await;
        let reply = client.reply().await.expect("a reply");
        assert!((400..500).contains(&reply.status), "{}", reply.status);
        client.closed().await;
    }
}

#[tokio::test]
async fn a_slow_body_is_read_to_its_end() {
    let limits = Limits { body_idle: SHORT, ..short_head() };
    let server = start(app(), limits).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").await;
    let mut ticks = tokio::time::interval(SHORT / 3);
    for byte in b"slow body" {
        ticks.tick().await;
        client.send([*byte]).await;
    }
    assert_eq!(client.reply().await.expect("a reply").body, b"slow body");
}

/// An endless body of pieces from a function, which signals when it is dropped.
pub(super) struct Endless<P> {
    pub(super) piece: P,
    pub(super) dropped: Arc<Notify>,
}

impl<P: Fn() -> Bytes> hyper::body::Body for Endless<P> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data((self.piece)()))))
    }
}

impl<P> Drop for Endless<P> {
    fn drop(&mut self) {
        self.dropped.notify_one();
    }
}

/// A server of [`Endless`] bodies, and the signal of their end.
pub(super) async fn endless(limits: Limits) -> (Server, Arc<Notify>) {
    let dropped = Arc::new(Notify::new());
    let tell = Arc::clone(&dropped);
    let piece = || Bytes::from_static(&[7; 64 * 1024]);
    let body = move || async move { Response::new(Body::new(Endless { piece, dropped: tell })) };
    let app = Router::new().route("/", get(body));
    (start(app, limits).await, dropped)
}

#[tokio::test]
async fn a_reader_that_stops_is_dropped() {
    let limits = Limits { write_stall: SHORT, ..Limits::default() };
    let (server, dropped) = endless(limits).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.fill().await);
    tokio::time::timeout(LONG, dropped.notified()).await.expect("the transfer ends");

    // The kernel drops the unsent data, too.
    server.lets_go(client.tcp.local_addr().expect("an address")).await;
}

/// A stall limit of 1 s relates to 256 KiB/s as one of 60 s does to 4 KiB/s: what matters is how many bytes the
/// kernel lets a reader take before it accepts more from the server.
#[tokio::test]
async fn a_slow_reader_is_never_cut() {
    let limits =
        Limits { write_stall: Duration::from_secs(1), idle: SHORT, head: SHORT, ..Limits::default() };
    let (server, dropped) = endless(limits).await;
    let mut tcp = server.connect_with_buffer(32 * 1024).await.tcp;
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("send");
    let slow_reader = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(31));
        let mut piece = vec![0; 8 * 1024];
        for _ in 0..100 {
            ticks.tick().await;
            tcp.read_exact(&mut piece).await.expect("more");
        }
    };
    tokio::select! {
        () = slow_reader => {}
        () = dropped.notified() => panic!("the reader was cut"),
    }
}
