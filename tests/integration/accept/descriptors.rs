//! Descriptors run out: the listener lives on, turns no circles, and recovers (G3).

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::attack::{open_many, until};
use tests::http::Connection;
use tests::server::{Server, Setup};

use super::Gate;

/// Sets the limit of a running process, as an operator could.
fn limit(store: &Server, count: usize) {
    let ran = Command::new("prlimit")
        .args(["--pid", &store.pid().to_string(), &format!("--nofile={count}:256")])
        .output()
        .expect("prlimit is part of every Debian");
    assert!(ran.status.success(), "{ran:?}");
}

#[test]
fn attack_with_256_descriptors_a_flood_keeps_nobody_out() {
    open_many(2000);
    let gate = Gate::on(Setup::default().descriptors(256), 4_000_000);
    let mut busy = Vec::new();
    let mut silent = Vec::new();
    for round in 0..600 {
        let mut tcp = TcpStream::connect(gate.store.address).expect("the store listens");
        if round < 40 {
            // Each of these takes two: the connection and the file.
            tcp.write_all(&gate.download().bytes()).expect("a request goes out");
            busy.push(tcp);
        } else {
            silent.push(tcp);
        }
        if round % 50 == 49 {
            assert!(gate.serves(), "after {round} connections");
        }
    }
    drop(busy);
    drop(silent);
    let took = until("it serves again", Duration::from_secs(5), || gate.serves());
    println!("600 connections at 256 descriptors; served again after {took:?}");
}

#[test]
fn attack_a_listener_without_descriptors_waits_and_recovers() {
    let gate = Gate::on(Setup::default().descriptors(256), 3000);
    let mut kept = Connection::open(gate.store.address).expect("the store listens");
    assert_eq!(kept.exchange(&gate.question()).expect("an answer").status, 200);
    // Not one more than it has, as if something else had taken the rest.
    limit(&gate.store, 8);
    let mut waiting = Connection::open(gate.store.address).expect("the kernel takes the connection");
    waiting.send(&gate.question().bytes()).expect("a request goes out");
    until("it says so", Duration::from_secs(5), || gate.store.log().contains("Cannot accept connections"));
    let (begun, cpu) = (Instant::now(), gate.store.cpu());
    until("a second is over", Duration::from_secs(3), || begun.elapsed() > Duration::from_secs(1));
    let spent = gate.store.cpu() - cpu;
    limit(&gate.store, 256);
    let begun = Instant::now();
    let answer = waiting.receive(false, usize::MAX).expect("an answer, in the end");
    println!(
        "answered {:?} after the descriptors were back; {spent:?} of CPU in a second without",
        begun.elapsed()
    );
    assert_eq!(answer.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(spent < Duration::from_millis(200), "{spent:?} spent on waiting");
    assert!(gate.serves());
}
