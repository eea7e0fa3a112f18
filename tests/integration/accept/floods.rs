//! Connections that only take up room: thousands of them double nobody's waiting time, and all are gone in time (G1, G8).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tests::attack::{open_many, percentile, size};
use tests::http::exchange;
use tests::server::Setup;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::Gate;

/// The limit of every phase in these tests.
const LIMIT: Duration = Duration::from_millis(1500);
/// What the server may take beyond a limit.
const GRACE: Duration = Duration::from_secs(2);
/// What a busy machine adds to the slowest of hundred requests without anybody's fault.
const NOISE: Duration = Duration::from_millis(15);

/// How a connection takes up room.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Sends these bytes and nothing more.
    Stops(&'static [u8]),
    /// Sends these bytes one by one, and never comes to an end.
    Drips(&'static [u8]),
    /// Asks, is answered, and stays.
    Stays,
}

const PLAIN: [(&str, Kind); 6] = [
    ("silent", Kind::Stops(b"")),
    ("half a head", Kind::Stops(b"GET / HTTP/1.1\r\nHost: a\r\n")),
    ("half a line", Kind::Stops(b"GE")),
    ("a head in drops", Kind::Drips(b"GET / HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")),
    (
        "half a body",
        Kind::Stops(b"POST /v2/snaps/refresh HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"con"),
    ),
    ("idle after an answer", Kind::Stays),
];

const TLS: [(&str, Kind); 3] = [
    ("silent before a handshake", Kind::Stops(b"")),
    ("half a handshake", Kind::Stops(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and no more")),
    (
        "a handshake in drops",
        Kind::Drips(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaa"),
    ),
];

fn setup() -> Setup {
    let millis = LIMIT.as_millis();
    Setup::default()
        .config("proxy.port.https", "0")
        .limits(&format!("handshake={millis},head={millis},body_idle={millis},idle={millis}"))
}

/// The slowest but one in a hundred of a device's requests, each on a connection of its own.
fn waiting_time(gate: &Gate) -> Duration {
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let begun = Instant::now();
            let answer = exchange(gate.store.address, &gate.question()).expect("a device is answered");
            assert_eq!(answer.status, 200);
            begun.elapsed()
        })
        .collect();
    percentile(&mut times, 99)
}

/// Connections from eight addresses, as one would have.
async fn connect(number: usize, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = [127, 0, 0, 2 + u8::try_from(number % 16).unwrap_or_default()];
    socket.bind(SocketAddr::from((from, 0))).expect("every loopback address is ours");
    socket.connect(to).await.expect("the store listens")
}

/// One connection until the server closes it; when that was.
async fn hold(mut tcp: TcpStream, kind: Kind, gate_question: Vec<u8>) -> Instant {
    // Whatever fails here was closed by the server, which is what is waited for.
    match kind {
        Kind::Stops(bytes) => drop(tcp.write_all(bytes).await),
        Kind::Stays => drop(tcp.write_all(&gate_question).await),
        Kind::Drips(bytes) => {
            for byte in bytes {
                let pause = tokio::time::timeout(LIMIT / 8, tcp.readable()).await;
                if pause.is_ok() || tcp.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
        }
    }
    let mut rest = Vec::new();
    // One that is never closed is told of all the same.
    let _ = tokio::time::timeout(2 * (LIMIT + GRACE), tcp.read_to_end(&mut rest)).await;
    Instant::now()
}

fn flood(gate: &Gate, to: SocketAddr, (name, kind): (&str, Kind), count: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    // A measurement that another program disturbed may be repeated; what the flood does, it does each time.
    let mut told = Vec::new();
    for _ in 0..5 {
        let before = waiting_time(gate);
        let question = gate.question().bytes();
        let (begun, held) = runtime.block_on(async {
            let mut held = Vec::new();
            for number in 0..count {
                let tcp = connect(number, to).await;
                held.push(tokio::spawn(hold(tcp, kind, question.clone())));
            }
            (Instant::now(), held)
        });
        let during = waiting_time(gate);
        let gone = runtime.block_on(async {
            let mut last = begun;
            for connection in held {
                last = last.max(connection.await.expect("a connection that ends"));
            }
            last.saturating_duration_since(begun)
        });
        assert!(gone < LIMIT + GRACE, "{name}: the last of {count} was gone after {gone:?}");
        println!(
            "{count} connections, {name}: p99 {before:?} before, {during:?} during; all gone after {gone:?}"
        );
        if during <= 2 * before + NOISE {
            return;
        }
        told.push((before, during));
    }
    panic!("{name}: a device waits longer while {count} connections take up room: {told:?}");
}

#[test]
fn attack_connections_that_send_too_little_keep_nobody_waiting() {
    let count = size(500, 5000);
    open_many(count);
    let gate = Gate::on(setup(), 3000);
    for kind in PLAIN {
        flood(&gate, gate.store.address, kind, count);
    }
}

#[test]
fn attack_handshakes_that_do_not_end_keep_nobody_waiting() {
    let count = size(500, 5000);
    open_many(count);
    let gate = Gate::on(setup(), 3000);
    let _ = gate.store.proxy(&["import-certificate", "--selfsigned"]).ok();
    let https = gate.store.https().expect("a port of HTTPS");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    for (name, kind) in TLS {
        let (begun, held) = runtime.block_on(async {
            let mut held = Vec::new();
            for number in 0..count {
                held.push(tokio::spawn(hold(connect(number, https).await, kind, Vec::new())));
            }
            (Instant::now(), held)
        });
        // Somebody who does finish a handshake gets through meanwhile.
        let begun_good = Instant::now();
        let good = std::process::Command::new("openssl")
            .args(["s_client", "-brief", "-connect", &https.to_string()])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl is installed");
        let took = begun_good.elapsed();
        assert!(String::from_utf8_lossy(&good.stderr).contains("CONNECTION ESTABLISHED"), "{name}: {good:?}");
        let gone = runtime.block_on(async {
            let mut last = begun;
            for connection in held {
                last = last.max(connection.await.expect("a connection that ends"));
            }
            last.saturating_duration_since(begun)
        });
        println!("{count} connections, {name}: a handshake took {took:?} meanwhile; all gone after {gone:?}");
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
        assert!(gone < LIMIT + GRACE, "{name}: the last was gone after {gone:?}");
    }
}

#[test]
fn attack_one_address_takes_no_more_than_its_share() {
    let gate = Gate::on(Setup::default().limits("per_address=32"), 4_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let download = gate.download().bytes();
    // Readers that begin a large file and rest are busy, and make no room.
    let (busy, refused) = runtime.block_on(async {
        let (mut busy, mut refused) = (Vec::new(), 0);
        for _ in 0..48 {
            let mut tcp = connect(0, gate.store.address).await;
            let _ = tcp.write_all(&download).await;
            let mut first = [0; 16];
            match tcp.read_exact(&mut first).await {
                Ok(_) => busy.push(tcp),
                Err(_) => refused += 1,
            }
        }
        (busy, refused)
    });
    assert_eq!((busy.len(), refused), (32, 16), "the cap of one address");
    for _ in 0..50 {
        assert!(gate.serves(), "another address is served");
    }
    drop(busy);
    tests::attack::until("the address is served again", Duration::from_secs(5), || {
        runtime.block_on(async {
            let mut tcp = connect(0, gate.store.address).await;
            let mut first = [0; 16];
            tcp.write_all(&gate.question().bytes()).await.is_ok() && tcp.read_exact(&mut first).await.is_ok()
        })
    });
}

#[test]
fn attack_many_devices_behind_one_gateway_are_all_served() {
    let gate = Gate::on(Setup::default(), 3000);
    let devices = 400;
    open_many(devices);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let question = gate.question().bytes();
    runtime.expect("a runtime").block_on(async {
        let mut open = Vec::new();
        for _ in 0..devices {
            open.push(connect(0, gate.store.address).await);
        }
        for round in 0..2 {
            for tcp in &mut open {
                tcp.write_all(&question).await.expect("nobody was sent away");
            }
            for tcp in &mut open {
                let mut first = [0; 12];
                tcp.read_exact(&mut first).await.expect("an answer");
                assert_eq!(&first, b"HTTP/1.1 200", "round {round}");
                let mut rest = vec![0; 64 * 1024];
                let _ = tcp.read(&mut rest).await.expect("the rest of a short answer");
            }
        }
    });
}
