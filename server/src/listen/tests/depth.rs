//! How much the kernel holds for fast and slow readers.

use std::net::SocketAddr;

use super::deadlines::endless;
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

/// What the server's kernel holds for a peer, once that is the same for a while.
async fn held(server: &Server, peer: SocketAddr) -> u64 {
    let pair = format!(":{:04X} 0100007F:{:04X} ", server.address.port(), peer.port());
    let queued = || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("proc");
        let line = table.lines().find(|line| line.contains(&pair)).expect("a connection");
        let queues = line.split_whitespace().nth(4).expect("queues");
        u64::from_str_radix(queues.split(':').next().expect("a queue"), 16).expect("a number")
    };
    let mut ticks = tokio::time::interval(SHORT / 6);
    let mut last = (queued(), 0);
    while last.1 < 5 {
        ticks.tick().await;
        let now = queued();
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

/// A stall limit of 2 s relates to 240 KiB/s as the real one to 4 KiB/s.
#[tokio::test(flavor = "multi_thread")]
async fn attack_a_reader_that_turns_slow_is_never_cut() {
    let (server, dropped) =
        endless(Limits { write_stall: Duration::from_secs(2), ..Limits::default() }).await;
    let mut tcp = fast(&server).await;
    let slow_reader = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(33));
        for _ in 0..300 {
            ticks.tick().await;
            take(&mut tcp, 8 * 1024).await;
        }
        // It was seen to be slow.
        held(&server, tcp.local_addr().expect("an address")).await
    };
    tokio::select! {
        held = slow_reader => assert!(held < BETWEEN, "{held}"),
        () = dropped.notified() => panic!("the reader was cut"),
    }
}
