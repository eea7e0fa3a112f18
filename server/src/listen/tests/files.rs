//! Files that the kernel sends.

use std::future::poll_fn;
use std::io::Write as _;

use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

use super::super::clock::Clock;
use super::super::outlet::{Outlet, Piece, is_marker};
use super::*;

/// Two ends of a connection.
async fn pair() -> (Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let ours = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connect");
    let (theirs, _) = listener.accept().await.expect("accept");
    (Wire::new(ours, Arc::new(Clock::new(Arc::new(Limits::default())))), theirs)
}

#[tokio::test]
async fn the_kernel_says_when_it_had_to_read_the_disk() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&[7; 65_536]).expect("write");
    file.as_file().sync_all().expect("sync");
    let piece = Piece { file: Arc::new(file.reopen().expect("open")), position: 0, length: 4096 };
    let (mut wire, mut theirs) = pair().await;
    rustix::fs::fadvise(&piece.file, 0, None, Advice::DontNeed).expect("advice");
    // The last page tells whether the first one has left.
    rustix::fs::fadvise(&piece.file, 0, None, Advice::Random).expect("advice");
    let mut byte = [0];
    let probe = &mut [std::io::IoSliceMut::new(&mut byte)];
    let left = rustix::io::preadv2(&piece.file, probe, 61_440, ReadWriteFlags::NOWAIT) == Err(Errno::AGAIN);
    let cold = poll_fn(|cx| wire.poll_send(cx, &piece)).await.expect("sent");
    let warm = poll_fn(|cx| wire.poll_send(cx, &piece)).await.expect("sent");
    if left {
        assert_eq!((cold, warm), ((4096, true), (4096, false)));
    } else {
        eprintln!("NOT TESTED: this file system keeps the file in memory");
    }
    let mut came = [0; 8192];
    theirs.read_exact(&mut came).await.expect("the file twice");
    assert_eq!(came, [7; 8192]);
}

#[tokio::test]
async fn a_marker_that_stands_for_nothing_breaks_the_connection() {
    let outlet = Outlet::default();
    let file = Arc::new(tempfile::tempfile().expect("a file"));
    let marker = outlet.mark(&file, 0, 10);
    assert!(is_marker(&marker) && is_marker(&marker[9..]) && !is_marker(&[0; 10]));
    // Given to a connection that did not agree to it.
    let app = Router::new().route("/marker", get(move || async move { marker }));
    let server = start(app, Limits::default()).await;
    let mut client = server.connect().await;
    client.send("GET /marker HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.reply().await.is_none(), "the marker itself was sent");
}
