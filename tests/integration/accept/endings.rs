//! However a connection ends, no answer is cut by it (M1): who closes, in which order and how slowly, over plain TCP and TLS, while
//! certificates are swapped, while the server stops, and behind a proxy.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tests::attack::{Chance, size, until};
use tests::http::Request;
use tests::nginx::Nginx;
use tests::peer::{Came, Peer, Transport};
use tests::server::Setup;

use super::Gate;

/// A file larger than all that is buffered on its way by default.
const PAYLOAD: usize = 6_000_000;

/// Sizes around every buffer: TLS records, what hyper and TLS hold back, what the kernel takes, what is read of a file at once.
const EDGES: [usize; 9] = [1, 4 << 10, 16 << 10, 64 << 10, 128 << 10, 192 << 10, 256 << 10, 400_000, 1 << 20];

/// A store that is reached one way.
struct Door {
    gate: Gate,
    address: SocketAddr,
    transport: Transport,
}

impl Door {
    fn of(transport: Transport, setup: Setup) -> Self {
        let gate = Gate::on(setup.config("proxy.port.https", "0"), PAYLOAD);
        let mut address = gate.store.address;
        if transport != Transport::Plain {
            let _ = gate.store.proxy(&["import-certificate", "--selfsigned"]).ok();
            address = gate.store.https().expect("a port of HTTPS");
        }
        Self { gate, address, transport }
    }

    fn dial(&self) -> io::Result<Peer> {
        Peer::dial(self.address, self.transport)
    }

    /// A part of the file, by chance of a size around a buffer or any other.
    fn part(&self, chance: &mut Chance) -> (Request, Vec<u8>) {
        let file = &self.gate.snap.image.bytes;
        let edge = *chance.of(&EDGES);
        let length = match chance.below(4) {
            0 => 1 + chance.below(file.len()),
            _ => (edge + chance.below(3)).saturating_sub(1).max(1),
        };
        let from = chance.below(file.len() - length);
        let range = format!("bytes={from}-{}", from + length - 1);
        (self.gate.download().header("Range", &range), file[from..from + length].to_vec())
    }
}

/// One way of ending: sends a request, and reads all that comes.
type Way = fn(&mut Peer, &Request) -> io::Result<Came>;

const WAYS: [(&str, Way); 7] = [
    ("Connection: close", |peer, request| {
        peer.send(&closing(request))?;
        Ok(peer.drain(64 << 10))
    }),
    ("HTTP/1.0", |peer, request| {
        peer.send(&older(request))?;
        Ok(peer.drain(64 << 10))
    }),
    ("goodbye first", |peer, request| {
        peer.send(&request.bytes())?;
        peer.say_goodbye()?;
        Ok(peer.drain(64 << 10))
    }),
    ("goodbye and half-closed", |peer, request| {
        peer.send(&request.bytes())?;
        peer.say_goodbye()?;
        peer.half_close()?;
        Ok(peer.drain(64 << 10))
    }),
    ("half-closed without goodbye", |peer, request| {
        peer.send(&request.bytes())?;
        peer.half_close()?;
        Ok(peer.drain(64 << 10))
    }),
    // What nobody reads: a connection that is closed over it is reset.
    ("more than was asked for", |peer, request| {
        let mut bytes = closing(request);
        bytes.resize(bytes.len() + 100_000, b'x');
        peer.send(&bytes)?;
        Ok(peer.drain(64 << 10))
    }),
    ("small pieces", |peer, request| {
        peer.send(&closing(request))?;
        Ok(peer.drain(1000))
    }),
];

fn closing(request: &Request) -> Vec<u8> {
    request.clone().header("Connection", "close").bytes()
}

fn older(request: &Request) -> Vec<u8> {
    let text = String::from_utf8(request.bytes()).expect("a request without a body is text");
    text.replacen("HTTP/1.1", "HTTP/1.0", 1).into_bytes()
}

/// Does one transfer, and says what is wrong with it.
fn transfer(door: &Door, way: Way, chance: &mut Chance) -> Result<(), String> {
    let (request, wanted) = door.part(chance);
    let mut peer = door.dial().map_err(|error| format!("connecting: {error}"))?;
    let came = way(&mut peer, &request).map_err(|error| format!("sending: {error}"))?;
    let (status, body) = came.whole()?;
    if status != 206 || body != wanted {
        return Err(format!("{status} with {} bytes of {}", body.len(), wanted.len()));
    }
    Ok(())
}

#[test]
fn attack_no_answer_is_cut_whoever_ends_the_connection_and_how() {
    for transport in Transport::ALL {
        let door = Door::of(transport, Setup::default());
        for (name, way) in WAYS {
            // A connection without TLS has no goodbye but its end.
            if transport == Transport::Plain && name == "goodbye first" {
                continue;
            }
            let times = size(40, 1000);
            let begun = AtomicUsize::new(0);
            let wrong: Vec<String> = thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|seed| {
                        let (door, begun) = (&door, &begun);
                        scope.spawn(move || {
                            let mut chance = Chance::new(seed);
                            let mut wrong = Vec::new();
                            while begun.fetch_add(1, Ordering::Relaxed) < times {
                                wrong.extend(transfer(door, way, &mut chance).err());
                            }
                            wrong
                        })
                    })
                    .collect();
                threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
            });
            println!("{transport:?}, {name}: {} of {times} short", wrong.len());
            assert!(
                wrong.is_empty(),
                "{transport:?}, {name}: {} of {times}: {:#?}",
                wrong.len(),
                &wrong[..1]
            );
        }
    }
}

/// The limit of idle connections passes while the tail of an answer is with the kernel, or right after it came.
#[test]
fn attack_an_idle_end_cuts_nothing() {
    for transport in Transport::ALL {
        let door = Door::of(transport, Setup::default().limits("idle=30"));
        let times = size(40, 1000);
        thread::scope(|scope| {
            for seed in 0..8 {
                let door = &door;
                scope.spawn(move || {
                    let mut chance = Chance::new(seed);
                    for _ in 0..times / 8 {
                        let kept: Way = |peer, request| {
                            peer.send(&request.bytes())?;
                            Ok(peer.drain(4000))
                        };
                        let outcome = transfer(door, kept, &mut chance);
                        assert_eq!(outcome, Ok(()), "{transport:?}");
                    }
                });
            }
        });
        println!("{transport:?}: {times} connections ended for being idle, 0 short");
    }
}

/// Refusals that come before the request was read are whole, too: of a body that is too large, on the port of the other protocol,
/// on the way to HTTPS, and of a head that nobody understands.
#[test]
fn attack_early_refusals_arrive_whole() {
    let plain = Door::of(Transport::Plain, Setup::default());
    let secure = [Transport::Tls12, Transport::Tls13].map(|it| Door::of(it, Setup::default()));
    let redirects = secure[0].gate.store.address;
    let https = secure[0].address;
    let host = "Host: a\r\n";
    let body = 24 << 20;
    let post = format!("POST /v2/snaps/refresh HTTP/1.1\r\n{host}Content-Length: {body}\r\n\r\n");
    let chunked = format!("POST /nowhere HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n{body:x}\r\n");
    let vague =
        format!("POST /v2/snaps/refresh HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n");
    let mut places = vec![
        (plain.address, Transport::Plain, &post, 413),
        (plain.address, Transport::Plain, &chunked, 404),
        (plain.address, Transport::Plain, &vague, 400),
        (redirects, Transport::Plain, &post, 308),
        (redirects, Transport::Plain, &chunked, 308),
        (https, Transport::Plain, &post, 400),
        (https, Transport::Plain, &chunked, 400),
    ];
    for door in &secure {
        places.push((door.address, door.transport, &post, 413));
        places.push((door.address, door.transport, &chunked, 404));
        places.push((door.address, door.transport, &vague, 400));
    }
    for (address, transport, head, status) in places {
        for _ in 0..size(2, 20) {
            let mut peer = Peer::dial(address, transport).expect("the store listens");
            // All of it is sent before anything is read, as simple clients do.
            let sent = peer.send(head.as_bytes()).and_then(|()| {
                let piece = vec![b' '; 1 << 20];
                (0..body >> 20).try_for_each(|_| peer.send(&piece))
            });
            // Who sends more than a server takes in its last seconds may lose the connection, but has the answer then.
            let came = peer.drain(64 << 10);
            let first = head.lines().next().unwrap_or_default();
            let whole =
                came.whole().unwrap_or_else(|why| panic!("{first} over {transport:?}: {why}, {sent:?}"));
            assert_eq!(whole.0, status, "{first} over {transport:?}");
        }
    }
}

/// Transfers one after another until told to stop: connections that were refused or ended before an answer began are no answers.
fn transfers(door: &Door, seed: u64, stop: &AtomicBool, done: &AtomicUsize) -> Vec<String> {
    let mut chance = Chance::new(seed);
    let mut wrong = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let (request, wanted) = door.part(&mut chance);
        let (_, way) = *chance.of(&WAYS[..5]);
        let Ok(mut peer) = door.dial() else { continue };
        let Ok(came) = way(&mut peer, &request) else { continue };
        if came.bytes.is_empty() {
            continue;
        }
        match came.whole() {
            Ok((206, body)) if body == wanted => {
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok((status, body)) => wrong.push(format!("{status} with {} bytes", body.len())),
            Err(why) => wrong.push(why),
        }
    }
    wrong
}

/// Stops transfers when dropped, by a panic too.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs transfers beside `meanwhile`, and says how many went well; none may be short.
fn beside(door: &Door, meanwhile: impl FnOnce(&AtomicUsize, &AtomicBool)) -> usize {
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let wrong: Vec<String> = thread::scope(|scope| {
        let (stop, done) = (&stop, &done);
        let threads: Vec<_> =
            (0..6).map(|seed| scope.spawn(move || transfers(door, seed, stop, done))).collect();
        {
            let _stops = Stops(stop);
            meanwhile(done, stop);
        }
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(wrong.is_empty(), "{:?}: {} short: {:#?}", door.transport, wrong.len(), &wrong[..1]);
    done.into_inner()
}

#[test]
fn attack_no_answer_is_cut_while_certificates_are_swapped() {
    for transport in [Transport::Tls12, Transport::Tls13] {
        let door = Door::of(transport, Setup::default());
        let swaps = size(5, 100);
        let done = beside(&door, |_, _| {
            for _ in 0..swaps {
                let _ = door.gate.store.proxy(&["import-certificate", "--selfsigned"]).ok();
            }
        });
        println!("{transport:?}: {done} transfers during {swaps} swaps, 0 short");
        assert!(done > swaps, "{done}");
    }
}

#[test]
fn attack_no_answer_is_cut_when_the_server_stops() {
    for transport in Transport::ALL {
        let mut door = Door::of(transport, Setup::default());
        let (stops, mut all) = (size(2, 20), 0);
        for _ in 0..stops {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(door.gate.store.pid()).expect("a process id"));
            all += beside(&door, |done, stop| {
                until("transfers are under way", Duration::from_secs(60), || {
                    done.load(Ordering::Relaxed) > 10
                });
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("an own process");
                until("the store is closed", Duration::from_secs(60), || {
                    TcpStream::connect(door.address).is_err()
                });
                stop.store(true, Ordering::Relaxed);
            });
            let Door { gate, transport, .. } = door;
            let Gate { store, device, snap } = gate;
            let store = store.wait().start_as_it_was();
            let address = match transport {
                Transport::Plain => store.address,
                _ => store.https().expect("a port of HTTPS"),
            };
            door = Door { gate: Gate { store, device, snap }, address, transport };
        }
        println!("{transport:?}: {all} transfers around {stops} stops, 0 short");
    }
}

#[test]
fn attack_no_answer_is_cut_behind_a_proxy() {
    let door = Door::of(Transport::Tls13, Setup::default());
    let proxy = Nginx::before_https(door.address);
    let front = Door { address: proxy.address, transport: Transport::Plain, gate: door.gate };
    let times = size(40, 1000);
    let mut chance = Chance::new(1);
    for number in 0..times {
        let (_, way) = WAYS[number % 2];
        let outcome = transfer(&front, way, &mut chance);
        assert_eq!(outcome, Ok(()), "{number} of {times}: {}", proxy.log());
    }
    let complaints = proxy.log();
    assert!(!complaints.contains("reset by peer") && !complaints.contains("prematurely"), "{complaints}");
    println!("{times} transfers behind nginx, 0 short");
}
