//! Real sockets against [`serve`], with short limits.

mod deadlines;
mod depth;
mod endings;
mod files;
mod framing;
mod places;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;

/// Far longer than anything here should take.
const LONG: Duration = Duration::from_secs(20);

/// Short enough to wait for, long enough for a busy machine.
const SHORT: Duration = Duration::from_millis(300);

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(app: Router, limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(listener, app, limits, shutdown.clone()));
    Server { address, shutdown, task }
}

impl Server {
    async fn connect(&self) -> Client {
        let tcp = TcpStream::connect(self.address).await.expect("connect");
        Client { tcp, read: Vec::new() }
    }

    /// A client with a receive buffer of this size.
    async fn connect_with_buffer(&self, bytes: u32) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a buffer");
        let tcp = socket.connect(self.address).await.expect("connect");
        Client { tcp, read: Vec::new() }
    }

    /// Waits until the kernel, too, has dropped the connection of `peer`.
    async fn lets_go(&self, peer: SocketAddr) {
        let pair = format!(":{:04X} 0100007F:{:04X}", self.address.port(), peer.port());
        let began = Instant::now();
        let mut ticks = tokio::time::interval(SHORT / 10);
        while std::fs::read_to_string("/proc/net/tcp").expect("proc").contains(&pair) {
            assert!(began.elapsed() < LONG, "the connection lives on");
            ticks.tick().await;
        }
    }
}

/// A device's connection that the test controls to the byte.
struct Client {
    tcp: TcpStream,
    read: Vec<u8>,
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.write_all(bytes.as_ref()).await.expect("send");
    }

    async fn get(&mut self, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        self.reply().await.expect("a reply")
    }

    /// The next answer, or `None` if the connection ends first.
    async fn reply(&mut self) -> Option<Reply> {
        let head = loop {
            let end = self.read.windows(4).position(|part| part == b"\r\n\r\n");
            if let Some(end) = end {
                let rest = self.read.split_off(end + 4);
                let head = std::mem::replace(&mut self.read, rest);
                let head = String::from_utf8(head).expect("text");
                break head.to_ascii_lowercase();
            }
            if !self.fill().await {
                return None;
            }
        };
        let status = head.get(9..12)?.parse().ok()?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().expect("a length"));
        while self.read.len() < length {
            if !self.fill().await {
                return None;
            }
        }
        let rest = self.read.split_off(length);
        let body = std::mem::replace(&mut self.read, rest);
        Some(Reply { status, head, body })
    }

    /// Reads some more; false at the end, whether orderly or not.
    async fn fill(&mut self) -> bool {
        let read = self.tcp.read_buf(&mut self.read);
        let read = tokio::time::timeout(LONG, read).await.expect("in time");
        read.is_ok_and(|count| count > 0)
    }

    /// Waits for the server to close the connection without another byte.
    async fn closed(&mut self) {
        assert!(self.read.is_empty(), "{:?}", self.read);
        assert!(!self.fill().await, "{:?}", self.read);
    }

    /// Whether the connection stays open and silent for `time`.
    async fn stays_open(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.fill()).await.is_err()
    }
}

/// `/hello` answers at once, `/echo` reads a body, `/refuse` does not.
fn app() -> Router {
    Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/refuse", post(|| async { StatusCode::UNAUTHORIZED }))
        .route("/peer", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let server = start(app(), Limits::default()).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        let reply = client.get("/hello").await;
        assert_eq!((reply.status, &*reply.body), (200, &b"hello"[..]));
    }
    client
        .send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /peer HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let peer = client.tcp.local_addr().expect("an address").to_string();
    for expected in ["hello", "abc", &peer] {
        let reply = client.reply().await.expect("a reply");
        assert_eq!(reply.body, expected.as_bytes());
    }
}

#[tokio::test]
async fn an_answer_reaches_a_device_whose_body_nobody_read() {
    let server = start(app(), Limits::default()).await;
    let mut client = server.connect().await;
    let body = vec![b' '; 300_000];
    for _ in 0..2 {
        client.send("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n").await;
        client.send(&body).await;
        let reply = client.reply().await.expect("a reply");
        assert_eq!(reply.status, 401);
    }
}

#[tokio::test]
async fn a_device_that_waits_for_permission_to_send_gets_its_refusal() {
    let server = start(app(), Limits::default()).await;
    let mut client = server.connect().await;
    client
        .send("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let reply = client.reply().await.expect("a reply");
    assert_eq!(reply.status, 401);
    client.closed().await;
}
