//! How much the kernel holds for fast and slow readers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use tokio::sync::Notify;

use super::super::outlet::{MARKED, Outlet};
use super::deadlines::{Endless, endless};
use super::*;
use crate::listen::depth::PLACES;

/// More than a peer must take to count as fast.
const PLENTY: usize = 32 * 1024 * 1024;

/// Between what the kernel holds for a slow reader and for a fast one.
const BETWEEN: u64 = 384 * 1024;

/// A connection that took plenty of an endless answer as fast as it could.
async fn fast(server: &Server) -> TcpStream {
    let mut tcp = server.connect_with_buffer(64 * 1024).await.tcp;
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("send");
    take(&mut tcp, PLENTY).await;
    tcp
}

async fn take(tcp: &mut TcpStream, mut bytes: usize) {
    let mut piece = vec![0; 256 * 1024];
    while bytes > 0 {
        let want = bytes.min(piece.len());
        bytes -= tcp.read_exact(&mut piece[..want]).await.expect("more");
    }
}

/// What the server's kernel holds for a peer.
fn queued(server: &Server, peer: SocketAddr) -> u64 {
    let pair = format!(":{:04X} 0100007F:{:04X} ", server.address.port(), peer.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("proc");
    let line = table.lines().find(|line| line.contains(&pair)).expect("a connection");
    let queues = line.split_whitespace().nth(4).expect("queues");
    u64::from_str_radix(queues.split(':').next().expect("a queue"), 16).expect("a number")
}

/// The same, once it does not change for a while.
async fn held(server: &Server, peer: SocketAddr) -> u64 {
    let mut ticks = tokio::time::interval(SHORT / 6);
    let mut last = (queued(server, peer), 0);
    while last.1 < 5 {
        ticks.tick().await;
        let now = queued(server, peer);
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
    }
    last.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_reader_is_given_more_at_a_time() {
    let (server, _) = endless(Limits::default()).await;
    let tcp = fast(&server).await;
    let peer = tcp.local_addr().expect("an address");
    let (deep, slow) = (held(&server, peer).await, server.connect_with_buffer(64 * 1024).await);
    assert!(deep > BETWEEN, "{deep}");

    // One that reads nothing at all is given little.
    let mut slow = slow.tcp;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("send");
    slow.readable().await.expect("an answer");
    let shallow = held(&server, slow.local_addr().expect("an address")).await;
    assert!(shallow < BETWEEN, "{shallow}");
}

/// What the kernel holds for all fast readers together is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn attack_readers_that_stop_after_they_were_fast_do_not_fill_memory() {
    let _taken = PLACES.acquire_many(64).await.expect("all places");
    let (server, _) = endless(Limits::default()).await;
    let tcp = fast(&server).await;
    let shallow = held(&server, tcp.local_addr().expect("an address")).await;
    assert!(shallow < BETWEEN, "{shallow}");
}

/// A server of a file without end, which the kernel sends, and the signal of its end.
async fn endless_file(limits: Limits) -> (Server, Arc<Notify>) {
    let dropped = Arc::new(Notify::new());
    let tell = Arc::clone(&dropped);
    let file = tempfile::tempfile().expect("a file");
    file.set_len(MARKED as u64).expect("a length");
    let file = Arc::new(file);
    let answer = move || async move {
        let outlet = Outlet::default();
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(outlet.clone());
        *response.body_mut() =
            Body::new(Endless { piece: move || outlet.mark(&file, 0, MARKED), dropped: tell });
        response
    };
    (start(Router::new().route("/", get(answer)), limits).await, dropped)
}

/// Pages of a file are in memory anyway, so the kernel holds more of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_fast_reader_of_a_file_is_given_more_still() {
    let (server, _) = endless_file(Limits::default()).await;
    let tcp = fast(&server).await;
    let deep = held(&server, tcp.local_addr().expect("an address")).await;
    assert!(deep > 1536 * 1024, "{deep}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_reader_that_turns_slow_is_never_cut() {
    // Relates to 240 KiB/s as the limit in force to 4 KiB/s.
    let stall = Duration::from_secs(2);
    let copied = endless(Limits { write_stall: stall, ..Limits::default() }).await;
    is_never_cut(copied, Duration::from_millis(33), 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_reader_of_a_file_that_turns_slow_is_never_cut() {
    // Relates to 960 KiB/s as the limit in force to 4 KiB/s.
    let stall = Duration::from_millis(500);
    let file = endless_file(Limits { write_stall: stall, ..Limits::default() }).await;
    is_never_cut(file, Duration::from_micros(8_250), 1200).await;
}

/// A reader that was fast, and reads 8 KiB at each tick from then on.
async fn is_never_cut((server, dropped): (Server, Arc<Notify>), tick: Duration, times: u32) {
    let mut tcp = fast(&server).await;
    let slow_reader = async {
        let mut ticks = tokio::time::interval(tick);
        for _ in 0..times {
            ticks.tick().await;
            take(&mut tcp, 8 * 1024).await;
        }
        // It was seen to be slow.
        queued(&server, tcp.local_addr().expect("an address"))
    };
    tokio::select! {
        held = slow_reader => assert!(held < BETWEEN, "{held}"),
        () = dropped.notified() => panic!("the reader was cut"),
    }
}
