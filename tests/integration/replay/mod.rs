//! Every recorded request of snapd 2.57.6 and 2.77, sent again to the real server, and its answer read as snapd reads it.
//!
//! Kept to the byte: method, path, query, header names, order and values, bodies. Replaced: the host, session tokens,
//! the signed triple of a log-in, and digests and key ids by ours of the same length. Where the recorded stand-in
//! misbehaved on purpose, the well-behaved answer is expected.

mod answer;
mod fixtures;
pub(crate) mod recording;
mod spelling;

use tests::device::session::{read_session, session_request};
use tests::device::{Device, Snapd};
use tests::http::Request;
use tests::server::Server;

use self::fixtures::Rig;
use self::recording::{Exchange, Recording, recordings};

/// Requests of all recordings of a version, as counted when they were made.
fn replay(version: &str, snapd: Snapd, expected: usize) {
    let recordings = recordings(version);
    let rig = Rig::new(&recordings);
    // Between recordings the stable channel moves and the validation set gains a point; each request goes to the store
    // that its answer came from.
    let stores = [rig.serve(1, 1), rig.serve(2, 1), rig.serve(1, 2)];
    let devices = stores.each_ref().map(|store| rig.device(store, snapd));
    let mut replayed = 0;
    for Recording { action, exchanges } in &recordings {
        let mut nonce = None;
        for (index, exchange) in exchanges.iter().enumerate() {
            let which = answer::comes_from(exchange);
            let request = rewrite(exchange, &rig, &stores[which], &devices[which], nonce.as_deref());
            let response = stores[which].send(&request);
            let place = format!("{version} {action}, request {}", index + 1);
            if exchange.path().ends_with("/auth/nonces") {
                nonce = response.json()["nonce"].as_str().map(str::to_owned);
            }
            if exchange.path().ends_with("/auth/sessions") {
                read_session(&response).unwrap_or_else(|trouble| panic!("{place}: {trouble}"));
            }
            if let Err(why) = answer::check(exchange, &response, &rig, &devices[which]) {
                panic!("{place}: {why}\n{} {}\n{response:?}", request.method, request.target);
            }
            replayed += 1;
        }
    }
    println!("{replayed} requests of snapd {version} replayed");
    assert_eq!(replayed, expected);
}

#[test]
fn every_request_of_2_57_6() {
    replay("2.57.6", Snapd::V2_57, 272);
}

#[test]
fn every_request_of_2_77() {
    replay("2.77", Snapd::V2_77, 248);
}

/// The recorded request with our host, session, triple, digests and key ids.
fn rewrite(exchange: &Exchange, rig: &Rig, store: &Server, device: &Device, nonce: Option<&str>) -> Request {
    let mut request = exchange.request.clone();
    request.replace("Host", Some(store.host()));
    let session = device.session.as_ref().expect("a device that is logged in");
    for name in ["Snap-Device-Authorization", "X-Device-Authorization"] {
        request
            .replace(name, exchange.header(name).map(|_| format!("Macaroon root=\"{session}\"")).as_deref());
    }
    let mut body = String::from_utf8(request.body).expect("recorded bodies are text");
    for (theirs, ours) in &rig.names {
        request.target = request.target.replace(theirs, ours);
        body = body.replace(theirs, ours);
    }
    request.body = body.into_bytes();
    if let Some(nonce) = nonce.filter(|_| exchange.path().ends_with("/auth/sessions")) {
        request.body = device.triple(&session_request(&rig.identity, nonce), &rig.identity);
        request.replace("Content-Length", Some(&request.body.len().to_string()));
    }
    request
}
