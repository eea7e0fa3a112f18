//! Readers: who stops is dropped, who is slow is served to the end (G2).
//!
//! What counts is how many bytes a reader takes within the limit of a stall. The short run has a limit of 2 s in place of 120 s
//! and reads 60 times as fast: 480 KiB/s stand for 8 KiB/s, 240 KiB/s for 4 KiB/s. The long run has the real ones.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::TcpMaxSeg};

use tests::attack::{long, until};
use tests::server::Setup;

use super::Gate;

/// A connection whose kernel takes in so many KiB by itself, with the whole file asked for.
fn reader(gate: &Gate, buffer: u32) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut tcp = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(buffer * 1024).expect("a buffer of this size");
        // Segments of a real network: with the large ones of the loopback device, windows open in leaps.
        setsockopt(&socket, TcpMaxSeg, &1448).expect("a small segment");
        let tcp = socket.connect(gate.store.address).await.expect("the store listens");
        tcp.into_std().expect("a plain socket")
    });
    tcp.set_nonblocking(false).expect("a plain socket");
    tcp.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    tcp.write_all(&gate.download().header("Connection", "close").bytes()).expect("the store listens");
    tcp
}

/// Reads to the end at so many bytes a second; how many came.
fn read_slowly(mut tcp: TcpStream, bytes_a_second: usize) -> usize {
    let (begun, mut taken) = (Instant::now(), 0);
    let mut piece = vec![0; 4096];
    loop {
        match tcp.read(&mut piece) {
            Ok(0) | Err(_) => return taken,
            Ok(count) => taken += count,
        }
        let due = Duration::from_secs_f64(taken as f64 / bytes_a_second as f64);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
}

#[test]
fn attack_a_slow_reader_finishes_and_one_that_stops_is_dropped() {
    // The whole answer: the file, its head, and room for what a kernel takes in by itself.
    let (limit, speed, payload) = if long() { (120_000, 1, 1_000_000) } else { (2000, 60, 1_000_000) };
    let gate = Gate::on(Setup::default().limits(&format!("write_stall={limit},drain=1000")), payload);
    let size = gate.snap.image.bytes.len();

    let stopped: Vec<TcpStream> = (0..20).map(|_| reader(&gate, 64)).collect();
    until("all have begun", Duration::from_secs(10), || gate.connections() >= 20);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let slow: Vec<_> = [8, 4]
            .map(|kib| {
                let tcp = reader(&gate, 64);
                scope.spawn(move || (kib, read_slowly(tcp, kib * 1024 * speed)))
            })
            .into();
        let within = Duration::from_millis(limit) + Duration::from_secs(2);
        // The two slow ones stay.
        until("readers that stopped are dropped", within + Duration::from_secs(5), || {
            gate.connections() <= 2
        });
        let dropped = begun.elapsed();
        println!("20 readers that stopped were gone after {dropped:?} of {within:?}");
        assert!(dropped < within + Duration::from_secs(1), "{dropped:?}");
        for thread in slow {
            let (kib, taken) = thread.join().expect("a reader");
            println!("a reader at {kib} KiB/s took {taken} bytes, {:?} after the beginning", begun.elapsed());
            assert!(taken > size, "the reader at {kib} KiB/s was cut after {taken} of {size} bytes");
        }
    });
    drop(stopped);
    assert!(gate.serves());
}

/// The kernel of a device says nothing until much of a full buffer was read: at 4 KiB/s, which is promised never to be cut, that
/// takes up to 95 s with one of 1 MiB. The limit is longer.
#[test]
fn attack_a_reader_at_4_kib_is_never_cut_whatever_it_buffers() {
    let (limit, speed) = if long() { (120_000, 1) } else { (2000, 60) };
    let gate = Gate::on(Setup::default().limits(&format!("write_stall={limit},drain=1000")), 2_500_000);
    let size = gate.snap.image.bytes.len();
    let buffers = [4, 64, 128, 256, 1024];
    std::thread::scope(|scope| {
        let slow: Vec<_> = buffers
            .iter()
            .map(|&buffer| {
                let tcp = reader(&gate, buffer);
                scope.spawn(move || (buffer, read_slowly(tcp, 4 * 1024 * speed)))
            })
            .collect();
        let stopped: Vec<TcpStream> = buffers.iter().map(|&buffer| reader(&gate, buffer)).collect();
        until("all have begun", Duration::from_secs(10), || gate.connections() >= 2 * buffers.len());
        until(
            "readers that stopped are dropped",
            Duration::from_millis(limit) + Duration::from_secs(3),
            || gate.connections() <= buffers.len(),
        );
        for thread in slow {
            let (buffer, taken) = thread.join().expect("a reader");
            println!("a reader at 4 KiB/s that buffers {buffer} KiB took {taken} bytes");
            assert!(taken > size, "one that buffers {buffer} KiB was cut after {taken} of {size} bytes");
        }
        drop(stopped);
    });
}
