//! Ten thousand malformed requests, made from the recorded requests of real snapd by a seed: no 5xx, no panic, and the
//! memory comes back (G6).

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use tests::attack::{Chance, size, until};
use tests::http::Request;
use tests::server::Setup;

use super::Gate;
use crate::replay::recording::recordings;

/// Bytes that mean something to somebody who reads a request.
const SPECIAL: [&[u8]; 22] = [
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b"%",
    b"%00",
    b"%ff",
    b"%2f..%2f",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\"",
    b"{",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"\x16\x03\x01",
    b"0x",
    b"-1",
    b"99999999999999999999999",
    b"../../",
];

const METHODS: [&str; 12] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get", "M-SEARCH", ""];

const HEADERS: [&str; 20] = [
    "Content-Length: 0",
    "Content-Length: 18446744073709551615",
    "Content-Length: -1",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip",
    "Content-Encoding: gzip",
    "Content-Type: application/x-www-form-urlencoded",
    "Content-Type: multipart/form-data; boundary=x",
    "Content-Type: \u{fc}",
    "Range: bytes=0-0,1-1,2-2",
    "If-Range: W/\"x\"",
    "Expect: 200-ok",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "Connection: upgrade, close, keep-alive, content-length",
    "Host:",
    "Snap-Device-Authorization: Macaroon root=\"",
    "X-Device-Authorization: \u{ff}",
    "Authorization: Basic \u{1}",
    "Accept-Encoding: br;q=x, *;q=0",
];

/// One of many ways to spoil a request.
fn spoil(request: &mut Request, others: &[Request], chance: &mut Chance) -> Vec<u8> {
    match chance.below(8) {
        0 => request.method = (*chance.of(&METHODS)).to_owned(),
        1 => {
            let (name, value) = chance.of(&HEADERS).split_once(':').unwrap_or_default();
            let place = chance.below(request.headers.len() + 1);
            request.headers.insert(place, (name.to_owned(), value.trim().to_owned()));
        }
        2 => {
            let times = chance.below(300);
            let repeated = chance.of(&request.headers).clone();
            request.headers.extend(std::iter::repeat_n(repeated, times));
        }
        3 => {
            let piece = String::from_utf8_lossy(chance.of::<&[u8]>(&SPECIAL)).into_owned();
            request.target.push_str(&piece.repeat(chance.below(2000)));
        }
        4 => {
            let other = chance.of(others);
            request.body.clone_from(&other.body);
            request.replace("Content-Length", Some(&other.body.len().to_string()));
        }
        5 => {
            let place = chance.below(request.body.len());
            let piece = chance.of::<&[u8]>(&SPECIAL).repeat(chance.below(3000));
            request.body.splice(place..place, piece);
            let length = request.body.len();
            request.replace("Content-Length", Some(&length.to_string()));
        }
        6 => {
            let place = chance.below(request.headers.len());
            let piece = String::from_utf8_lossy(chance.of::<&[u8]>(&SPECIAL)).into_owned();
            if let Some((name, value)) = request.headers.get_mut(place) {
                if chance.below(2) == 0 { name.push_str(&piece) } else { value.push_str(&piece) }
            }
        }
        _ => {}
    }
    let mut bytes = request.bytes();
    for _ in 0..chance.below(4) {
        if bytes.is_empty() {
            break;
        }
        let place = chance.below(bytes.len());
        match chance.below(5) {
            0 => bytes[place] ^= 1 << chance.below(8),
            1 => {
                let end = (place + chance.below(40)).min(bytes.len());
                bytes.drain(place..end);
            }
            2 => {
                let piece = chance.of::<&[u8]>(&SPECIAL).to_vec();
                bytes.splice(place..place, piece);
            }
            3 => bytes.truncate(place.max(1)),
            _ => {
                let end = (place + chance.below(200)).min(bytes.len());
                let piece = bytes[place..end].to_vec();
                bytes.splice(place..place, piece);
            }
        }
    }
    bytes
}

/// The statuses that come back before the connection ends.
fn statuses(address: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let mut tcp = TcpStream::connect(address).expect("the store listens");
    tcp.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
    // The server may close before it has read everything.
    let _ = tcp.write_all(bytes);
    let mut answer = Vec::new();
    let mut piece = [0; 16 * 1024];
    // Whoever is not answered and not closed either fails here, after the deadlines of the server.
    while let Ok(count) = tcp.read(&mut piece) {
        if count == 0 {
            break;
        }
        answer.extend(&piece[..count]);
        // Nothing else is to come from here: whoever waits for the rest of a request need not wait for its deadline.
        let _ = tcp.shutdown(Shutdown::Write);
    }
    let text = String::from_utf8_lossy(&answer);
    text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

#[test]
fn attack_ten_thousand_malformed_requests() {
    let count = size(10_000, 200_000);
    let gate = Gate::on(Setup::default().limits("head=80,body_idle=80,idle=80"), 3000);
    let sound: Vec<Request> = ["2.57.6", "2.77"]
        .iter()
        .flat_map(|version| recordings(version))
        .flat_map(|recording| recording.exchanges)
        .map(|exchange| exchange.request)
        .collect();
    assert!(sound.len() > 500, "{}", sound.len());
    // Whatever a first use allocates for good is there before the measurement.
    for request in &sound {
        let _ = statuses(gate.store.address, &request.bytes());
    }
    let before = gate.store.memory();
    let seed = std::env::var("AIRLOCK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    let threads = 64;
    let counts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (gate, sound) = (&gate, &sound);
                scope.spawn(move || {
                    let mut chance = Chance::new(seed + worker as u64);
                    let mut counts = [0_usize; 6];
                    for _ in 0..count.div_ceil(threads) {
                        let mut request = chance.of(sound).clone();
                        if chance.below(2) == 0 {
                            request.replace("Host", Some(gate.store.host()));
                        }
                        let bytes = spoil(&mut request, sound, &mut chance);
                        let statuses = statuses(gate.store.address, &bytes);
                        for status in &statuses {
                            let text = String::from_utf8_lossy(&bytes);
                            assert!((100..500).contains(status), "seed {seed}: {status} to {text:?}");
                        }
                        let first = statuses.first().map_or(0, |status| usize::from(status / 100));
                        counts[first] += 1;
                    }
                    counts
                })
            })
            .collect();
        workers.into_iter().fold([0; 6], |mut sum, worker| {
            let counts = worker.join().expect("no 5xx");
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            sum
        })
    });
    let peak = gate.store.memory();
    assert!(gate.serves());
    until("all connections are gone", Duration::from_secs(5), || gate.connections() == 0);
    let after = gate.store.memory();
    println!(
        "{} malformed requests by first status (none, 1xx to 5xx): {counts:?}",
        counts.iter().sum::<usize>()
    );
    println!("memory {before} KiB before, {peak} KiB at the end, {after} KiB after");
    assert!(after < before + 32 * 1024, "{before} KiB before, {after} KiB after");
    assert!(counts[4] > count / 4, "most are refused: {counts:?}");
    let log = gate.store.log();
    assert!(!log.contains("panic"), "{log}");
}
