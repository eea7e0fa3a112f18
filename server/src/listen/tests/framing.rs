//! Requests that two readers could understand differently get a 400 and a closed connection.

use super::*;

#[tokio::test]
async fn ambiguous_requests_are_refused_and_the_connection_ends() {
    let server = start(app(), Limits::default()).await;
    for request in [
        // Both length headers, in either order.
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        // Repeated ones.
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        // Odd lengths and encodings.
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5x\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        // Line ends.
        "GET /hello HTTP/1.1\nHost: a\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\n\n",
        "GET /hello HTTP/1.1\n\n",
        "GET /hello HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\r\n\r\n",
        // Folded headers and other shapes of lines.
        "GET /hello HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n",
        "GET /hello HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hello  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hel lo HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hello\r\n\r\n",
        "GET /hello HTTP/1.2\r\n\r\n",
        "GET /hello HTTP/2.0\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
    ] {
        let mut client = server.connect().await;
        client.send(request).await;
        let reply = client.reply().await;
        let status = reply.map(|reply| reply.status);
        assert_eq!(status, Some(400), "{request:?}");
        client.closed().await;
    }
}

/// hyper recognises the HTTP/2 preface and closes silently.
#[tokio::test]
async fn http_2_is_not_spoken() {
    let server = start(app(), Limits::default()).await;
    let mut client = server.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.closed().await;
}

#[tokio::test]
async fn odd_chunks_are_refused_and_the_connection_ends() {
    let server = start(app(), Limits::default()).await;
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5;ext\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    ] {
        let began = Instant::now();
        let mut client = server.connect().await;
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.send(body).await;
        let reply = client.reply().await;
        let status = reply.map(|reply| reply.status);
        assert_eq!(status, Some(400), "{body:?}");
        assert!(began.elapsed() < LONG / 4, "{body:?}");
        client.closed().await;
    }
}

#[tokio::test]
async fn nothing_after_a_chunked_body_is_taken_for_a_request() {
    let server = start(app(), Limits::default()).await;
    let mut client = server.connect().await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let reply = client.reply().await.expect("a reply");
    assert_eq!((reply.status, &*reply.body), (200, &b"hello"[..]));
    assert!(reply.head.contains("connection: close"), "{}", reply.head);
    client.closed().await;
}

#[tokio::test]
async fn large_heads_are_refused() {
    let server = start(app(), Limits::default()).await;
    let many = "X: y\r\n".repeat(200);
    let long = format!("X: {}\r\n", "y".repeat(17 * 1024));
    for headers in [many, long] {
        let mut client = server.connect().await;
        client.send(format!("GET /hello HTTP/1.1\r\nHost: a\r\n{headers}\r\n")).await;
        let reply = client.reply().await.expect("a reply");
        assert_eq!(reply.status, 431);
        client.closed().await;
    }
    let mut client = server.connect().await;
    let path = "y".repeat(17 * 1024);
    client.send(format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let reply = client.reply().await.expect("a reply");
    assert!((400..=431).contains(&reply.status), "{}", reply.status);
    client.closed().await;

    // snapd's headers are far below this: a session has about 2 KiB.
    let mut client = server.connect().await;
    let session = "y".repeat(8 * 1024);
    client.send(format!("GET /hello HTTP/1.1\r\nHost: a\r\nX: {session}\r\n\r\n")).await;
    assert_eq!(client.reply().await.expect("a reply").status, 200);
}

#[tokio::test]
async fn a_request_names_one_host() {
    let server = start(app(), Limits::default()).await;
    for (head, status) in [
        ("HTTP/1.1\r\n", 400),
        ("HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        ("HTTP/1.1\r\nHost: a\r\nhost: b\r\n", 400),
        ("HTTP/1.1\r\nHost: a b\r\n", 400),
        ("HTTP/1.1\r\nHost: a/b\r\n", 400),
        ("HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
        ("HTTP/1.0\r\n", 200),
        ("HTTP/1.0\r\nHost: a\r\n", 200),
        ("HTTP/1.1\r\nHost: \r\n", 200),
        ("HTTP/1.1\r\nHost: [::1]:8080\r\n", 200),
    ] {
        let mut client = server.connect().await;
        client.send(format!("GET /hello {head}\r\n")).await;
        assert_eq!(client.reply().await.expect("a reply").status, status, "{head:?}");
        if status == 400 {
            client.closed().await;
        }
    }
}
