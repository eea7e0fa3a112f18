//! Framing that two readers could understand differently, sent to the server itself and through a real proxy: whatever the
//! first reader thinks, no request comes out of the body of another (G4), and HTTP/2 is not spoken (G7).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tests::nginx::Nginx;
use tests::server::Setup;

use super::Gate;

/// What hides in a body: nobody ever asks for this.
const HIDDEN: &str = "GET /v2/snaps/info/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Heads of a POST that two readers could end differently; each hides a request behind the end that one of them sees.
fn ambiguous_heads() -> Vec<String> {
    let post = "POST /v2/snaps/refresh HTTP/1.1\r\nHost: a\r\n";
    let (length, short) = (HIDDEN.len(), 4);
    let chunks = format!("0\r\n\r\n{HIDDEN}");
    let both = format!("Content-Length: {}\r\n", chunks.len());
    let mut all = vec![
        // Both length headers: the one says that the hidden request is body, the other that it is not.
        format!("{post}{both}Transfer-Encoding: chunked\r\n\r\n{chunks}"),
        format!("{post}Transfer-Encoding: chunked\r\n{both}\r\n{chunks}"),
        format!(
            "{post}Content-Length: {short}\r\nTransfer-Encoding: chunked\r\n\r\n31\r\n{HIDDEN}\r\n0\r\n\r\n"
        ),
        // Two lengths.
        format!("{post}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{HIDDEN}"),
        format!("{post}Content-Length: {length}\r\nContent-Length: 0\r\n\r\n{HIDDEN}"),
        format!("{post}Content-Length: 0, {length}\r\n\r\n{HIDDEN}"),
        format!("{post}Content-Length: {length}\r\nContent-Length: {length}\r\n\r\n{HIDDEN}"),
        format!("POST /v2/snaps/refresh HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"),
    ];
    // A length, or an encoding, that only one of the two recognises.
    for value in ["+0", "-0", "0x0", "0 0", "\"0\"", "0;", "0\t0", " ", "18446744073709551616"] {
        all.push(format!("{post}Content-Length: {value}\r\n\r\n{HIDDEN}"));
    }
    for name in [
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding:\r\n chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        " Transfer-Encoding: chunked",
    ] {
        all.push(format!("{post}{both}{name}\r\n\r\n{chunks}"));
        all.push(format!("{post}{name}\r\n\r\n{chunks}"));
    }
    for (head, end) in [("\n", "\n"), ("\r\n", "\n"), ("\n", "\r\n"), ("\r", "\r"), ("\r\n", "\r\r\n")] {
        all.push(format!("{post}X: y{head}Content-Length: {length}\r\n{end}{HIDDEN}"));
    }
    all
}

/// Sound heads with bodies that two readers could end differently, or that nobody expects.
fn odd_bodies() -> Vec<String> {
    let post = "POST /v2/snaps/refresh HTTP/1.1\r\nHost: a\r\n";
    let length = HIDDEN.len();
    let mut all: Vec<String> = [
        "31\n",
        "31;\n",
        "31 \r\n",
        "0x31\r\n",
        "+31\r\n",
        "31;a=\"\r\n",
        "FFFFFFFFFFFFFFFF31\r\n",
        "\r\n31\r\n",
    ]
    .map(|size| format!("{post}Transfer-Encoding: chunked\r\n\r\n{size}{HIDDEN}\r\n0\r\n\r\n"))
    .into();
    all.push(format!("{post}Transfer-Encoding: chunked\r\n\r\n0\n\n{HIDDEN}"));
    // A header that only looks like one, and a body where none belongs.
    all.push(format!("{post}Content-Length: {length}\r\nTransfer_Encoding: chunked\r\n\r\n{HIDDEN}"));
    all.push(format!(
        "GET /v2/snaps/find?q=a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{HIDDEN}"
    ));
    all.push(format!("HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{HIDDEN}"));
    all
}

/// All that comes back until the connection ends, or nothing more comes.
fn comes_back(address: SocketAddr, bytes: &[u8]) -> String {
    let mut tcp = TcpStream::connect(address).expect("somebody listens");
    tcp.set_read_timeout(Some(Duration::from_millis(2500))).expect("a time");
    let _ = tcp.write_all(bytes);
    let mut all = Vec::new();
    // An end, a reset and silence all mean that no more answers come.
    let _ = tcp.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

/// The statuses of these answers.
fn answers(address: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let text = comes_back(address, bytes);
    text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

#[test]
fn attack_no_request_hides_in_another_directly_or_behind_a_proxy() {
    let setup = Setup::default().limits("head=700,body_idle=700,idle=700").variable("AIRLOCK_LOG", "debug");
    let gate = Gate::on(setup, 3000);
    let proxy = Nginx::before(&gate.store);
    let heads = ambiguous_heads();
    let table = [&heads[..], &odd_bodies()].concat();
    // All answers to the whole table, sent one way.
    let send = |address: SocketAddr| -> Vec<(&String, Vec<u16>)> {
        std::thread::scope(|scope| {
            let tries: Vec<_> = table
                .iter()
                .map(|request| scope.spawn(move || (request, answers(address, request.as_bytes()))))
                .collect();
            tries.into_iter().map(|thread| thread.join().expect("a try")).collect()
        })
    };
    let hidden_read = || gate.store.log().matches("/v2/snaps/info/smuggled").count();

    let directly = send(gate.store.address);
    let wrong: Vec<_> =
        directly.iter().filter(|(_, statuses)| statuses.iter().any(|it| *it >= 500 || *it == 404)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(hidden_read(), 0, "somebody read a hidden request");
    // An ambiguous head is refused before anybody who knows a route sees it: every answer of the store tells its version.
    std::thread::scope(|scope| {
        for head in &heads {
            let address = gate.store.address;
            scope.spawn(move || {
                let text = comes_back(address, head.as_bytes());
                assert!(text.starts_with("HTTP/1.1 400 "), "{text:?} to {head:?}");
                assert!(!text.to_lowercase().contains("snap-store-version"), "{text:?} to {head:?}");
            });
        }
    });

    // nginx reads some of the table otherwise, bare line feeds for example. Whatever it takes for a request of its own is no
    // secret to it; but the store must not read a request that nginx did not.
    let through = send(proxy.address);
    let known = proxy.requests().matches("/v2/snaps/info/smuggled").count();
    assert!(
        hidden_read() <= known,
        "{} hidden requests were read, {known} of them by nginx: {through:#?}",
        hidden_read()
    );
    // 501 is its own answer to an encoding that it does not know.
    assert!(
        through.iter().all(|(_, statuses)| statuses.iter().all(|it| *it < 500 || *it == 501)),
        "{through:#?}"
    );
    assert!(gate.store.log().contains("/v2/snaps/refresh"), "the log shows what was read");
    assert!(gate.serves(), "after all that");
    let sound = tests::http::exchange(proxy.address, &gate.question()).expect("nginx listens");
    assert_eq!(sound.status, 200, "{}", proxy.log());
    println!(
        "{} requests that hide another, {} by their head; of those that nginx made two of, {known} went on",
        table.len(),
        heads.len()
    );
}

#[test]
fn attack_http_2_is_off() {
    let gate = Gate::on(Setup::default().limits("head=500,idle=500"), 3000);
    assert_eq!(
        answers(gate.store.address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        [0_u16; 0]
    );
    let upgrade = "GET /v2/snaps/find?q=a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(answers(gate.store.address, upgrade.as_bytes()), [200]);
}
