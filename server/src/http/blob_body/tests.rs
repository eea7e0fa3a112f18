//! Blobs over real sockets: byte for byte, or not at all.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;

use aws_lc_rs::digest;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::listen::{Limits, serve};
use crate::storage::blobs::block_checks::HASH;

const TAG: &str = "\"blob\"";

/// Three blocks and a bit.
const SIZE: usize = 3 * BLOCK as usize + 12_345;

/// A blob in a file, with its hashes.
struct Blob {
    file: NamedTempFile,
    bytes: Vec<u8>,
    checks: Option<Arc<BlockChecks>>,
}

impl Blob {
    fn new(size: usize) -> Blob {
        let mut seed = 7_u64;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        })
        .take(size)
        .collect();
        let hashes: Vec<u8> = bytes
            .chunks(BLOCK as usize)
            .flat_map(|block| digest::digest(&digest::SHA256, block).as_ref().to_vec())
            .collect();
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(&bytes).expect("write");
        let checks = BlockChecks::new(&hashes, size as u64).expect("one hash for each block");
        Blob { file, bytes, checks: Some(Arc::new(checks)) }
    }

    fn unchecked(size: usize) -> Blob {
        Blob { checks: None, ..Blob::new(size) }
    }

    fn flip(&self, position: usize) {
        let byte = [self.bytes[position] ^ 1];
        let file = self.file.as_file();
        file.write_all_at(&byte, position as u64).expect("write");
    }

    fn is_damaged(&self) -> bool {
        self.checks.as_ref().is_some_and(|checks| checks.is_damaged())
    }

    fn opener(&self) -> impl FnOnce() -> io::Result<Source> + Send + 'static {
        let path = self.file.path().to_owned();
        move || File::open(path).map(Source::File)
    }

    async fn serve(
        &self,
        method: Method,
        headers: &[(&'static str, &str)],
    ) -> Result<Response<Body>, SendError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).expect("a value"));
        }
        let size = self.bytes.len() as u64;
        let checks = self.checks.clone();
        serve_blob(self.opener(), size, TAG, checks, &method, &map).await
    }
}

/// Serves the blob on a socket.
async fn listen(blob: Arc<Blob>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = Router::new()
        .fallback(async |State(blob): State<Arc<Blob>>, request: Request| {
            let (size, checks) = (blob.bytes.len() as u64, blob.checks.clone());
            let (method, headers) = (request.method(), request.headers());
            let served = serve_blob(blob.opener(), size, TAG, checks, method, headers).await;
            served.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
        })
        .with_state(blob);
    tokio::spawn(serve(listener, app, Limits::default(), CancellationToken::new()));
    address
}

/// Asks for the blob from `start` on.
async fn ask(address: SocketAddr, start: usize) -> TcpStream {
    let mut tcp = TcpStream::connect(address).await.expect("connect");
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes={start}-\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.expect("send");
    tcp
}

/// Status, announced length, and all bytes that arrived.
async fn download(address: SocketAddr, start: usize) -> (u16, usize, Vec<u8>) {
    let mut tcp = ask(address, start).await;
    let mut bytes = Vec::new();
    // A broken transfer may end in a reset.
    let _ = tcp.read_to_end(&mut bytes).await;
    let (head, length) = head(&bytes);
    let status = head[9..12].parse().expect("a status");
    let body = bytes.split_off(head.len());
    (status, length, body)
}

fn head(bytes: &[u8]) -> (String, usize) {
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
    let head = &bytes[..end.expect("a head") + 4];
    let head = String::from_utf8(head.to_vec()).expect("text");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().expect("a length"));
    (head, length)
}

#[tokio::test]
async fn every_resumed_transfer_completes_the_blob() {
    for blob in [Blob::new(SIZE), Blob::unchecked(SIZE)] {
        let blob = Arc::new(blob);
        let address = listen(Arc::clone(&blob)).await;
        let block = BLOCK as usize;
        for start in [0, 1, 4095, block - 1, block, block + 1, 2 * block + 77, SIZE - 1] {
            let (status, length, body) = download(address, start).await;
            assert_eq!((status, length), (206, SIZE - start));
            assert!(body == blob.bytes[start..], "from {start}");
        }
        // Cut anywhere and continued from there.
        let mut got = Vec::new();
        let mut rounds = 0;
        while got.len() < SIZE {
            let mut tcp = ask(address, got.len()).await;
            let mut piece = vec![0; 300_000];
            let mut bytes = Vec::new();
            while bytes.len() < 900_000 {
                match tcp.read(&mut piece).await.expect("read") {
                    0 => break,
                    count => bytes.extend_from_slice(&piece[..count]),
                }
            }
            let (head, _) = head(&bytes);
            got.extend_from_slice(&bytes[head.len()..]);
            rounds += 1;
        }
        assert!(rounds > 2);
        assert!(got == blob.bytes);
        assert!(!blob.is_damaged());
    }
}

#[tokio::test]
async fn answers_say_what_they_are() -> Result<(), SendError> {
    let blob = Blob::new(SIZE);
    let whole = SIZE.to_string();
    let part = format!("bytes 100-199/{SIZE}");
    let beyond = format!("bytes */{SIZE}");
    let tag = Some(TAG);
    for (headers, status, length, range) in [
        (&[][..], 200, Some(&*whole), None),
        (&[("range", "bytes=100-199")], 206, Some("100"), Some(&*part)),
        (&[("range", "bytes=99999999-")], 416, None, Some(&*beyond)),
        (&[("range", "bytes=0-1,4-5")], 200, Some(&*whole), None),
        (&[("if-none-match", TAG)], 304, None, None),
        (&[("range", "bytes=100-199"), ("if-range", "\"other\"")], 200, Some(&*whole), None),
    ] {
        let response = blob.serve(Method::GET, headers).await?;
        let said = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        assert_eq!(response.status(), status, "{headers:?}");
        assert_eq!(said(CONTENT_LENGTH), length, "{headers:?}");
        assert_eq!(said(CONTENT_RANGE), range, "{headers:?}");
        assert_eq!((said(ETAG), said(ACCEPT_RANGES)), (tag, Some("bytes")));
        let size = response.body().size_hint().exact().map(|n| n.to_string());
        assert_eq!(size.as_deref(), length.or(Some("0")), "{headers:?}");
    }
    Ok(())
}

#[tokio::test]
async fn head_opens_nothing() -> Result<(), SendError> {
    let open = || panic!("opened");
    let headers = HeaderMap::new();
    let response = serve_blob(open, 77, TAG, None, &Method::HEAD, &headers).await?;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[CONTENT_LENGTH], "77");
    assert!(response.body().is_end_stream());
    Ok(())
}

#[tokio::test]
async fn an_empty_blob_is_whole() -> Result<(), SendError> {
    let response = Blob::new(0).serve(Method::GET, &[]).await?;
    assert_eq!(response.headers()[CONTENT_LENGTH], "0");
    assert!(response.body().is_end_stream());
    Ok(())
}

#[tokio::test]
async fn a_wrong_length_is_noticed_before_the_first_byte() {
    for length in [0, SIZE - 1, SIZE + 1] {
        let blob = Blob::new(SIZE);
        blob.file.as_file().set_len(length as u64).expect("set");
        let error = blob.serve(Method::GET, &[]).await.expect_err("refused");
        assert!(matches!(error, SendError::Length { .. }), "{error}");
        let again = blob.serve(Method::HEAD, &[]).await.expect_err("remembered");
        assert!(matches!(again, SendError::Damaged), "{again}");
    }
    let blob = Blob::new(SIZE);
    let open = || Err(io::ErrorKind::NotFound.into());
    let headers = HeaderMap::new();
    let missing = serve_blob(open, SIZE as u64, TAG, None, &Method::GET, &headers).await;
    assert!(matches!(missing, Err(SendError::Open(_))));
    assert!(!blob.is_damaged());
}

#[tokio::test]
async fn a_file_that_gets_shorter_breaks_the_transfer() -> Result<(), SendError> {
    for blob in [Blob::new(SIZE), Blob::unchecked(SIZE)] {
        for length in [0, 1, 500_000, 2 * BLOCK, SIZE as u64 - 1] {
            let mut body = blob.serve(Method::GET, &[]).await?.into_body();
            blob.file.as_file().set_len(length).expect("set");
            let mut came = 0;
            let error = loop {
                match body.frame().await.expect("an error rather than an end") {
                    Ok(frame) => came += frame.data_ref().map_or(0, Bytes::len),
                    Err(error) => break error,
                }
            };
            let cause = std::error::Error::source(&error).expect("a cause");
            let cause = cause.downcast_ref::<TransferError>();
            assert!(matches!(cause, Some(TransferError::Truncated)), "{cause:?}");
            assert!(came as u64 <= length);
            assert!(body.frame().await.is_none());
            assert_eq!(blob.is_damaged(), blob.checks.is_some());
            blob.file.as_file().set_len(SIZE as u64).expect("set");
            if blob.checks.is_some() {
                break;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_flipped_byte_breaks_the_transfer_before_its_block() {
    let block = BLOCK as usize;
    for (flipped, start, sent) in
        [(block + 5, 0, block), (SIZE - 1, 0, 3 * block), (2 * block + 5, block + 6, block - 6)]
    {
        let blob = Arc::new(Blob::new(SIZE));
        blob.flip(flipped);
        let address = listen(Arc::clone(&blob)).await;
        let (status, length, body) = download(address, start).await;
        assert_eq!((status, length), (206, SIZE - start));
        assert!(body.len() <= sent, "{} bytes came", body.len());
        assert!(blob.bytes[start..].starts_with(&body));
        assert!(blob.is_damaged());
        let (status, ..) = download(address, start).await;
        assert_eq!(status, 503);
    }
}

#[tokio::test]
async fn a_flipped_byte_in_the_first_block_to_send_is_noticed_before_the_first_byte() {
    // The second flipped byte is outside the requested range.
    for (flipped, range) in [(0, "bytes=0-"), (BLOCK as usize + 5, "bytes=1048583-1048584")] {
        let blob = Blob::new(SIZE);
        blob.flip(flipped);
        let range = [("range", range)];
        let error = blob.serve(Method::GET, &range).await.expect_err("refused");
        let damaged = matches!(error, SendError::Start(TransferError::Damaged(_)));
        assert!(damaged, "{error}");
        let again = blob.serve(Method::HEAD, &[]).await.expect_err("remembered");
        assert!(matches!(again, SendError::Damaged), "{again}");
    }
}

#[tokio::test]
async fn a_block_is_checked_once_for_as_long_as_nobody_writes() -> Result<(), SendError> {
    let blob = Blob::new(SIZE);
    let range = [("range", "bytes=0-9")];
    let body = blob.serve(Method::GET, &range).await?.into_body();
    body.collect().await.expect("sound");
    let checks = blob.checks.as_ref().expect("checks");
    let version = || Version::of(blob.file.as_file()).expect("a file");
    let before = version();
    let sound: Vec<bool> = (0..4).map(|block| checks.is_sound(block, before)).collect();
    assert_eq!(sound, [true, false, false, false]);
    while version() == before {
        blob.flip(5);
    }
    assert!(!checks.is_sound(0, version()));
    let error = blob.serve(Method::GET, &range).await.expect_err("refused");
    assert!(matches!(error, SendError::Start(TransferError::Damaged(0))), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_block_that_was_right_is_not_sent_once_it_is_flipped() -> Result<(), SendError> {
    // While sending: in the current block, in a later one, and in the last.
    for flipped in [BLOCK as usize - 1, 2 * BLOCK as usize, SIZE - 1] {
        let blob = Blob::new(SIZE);
        assert_eq!(
            blob.serve(Method::GET, &[]).await?.into_body().collect().await.expect("sound").to_bytes().len(),
            SIZE
        );
        let before = Version::of(blob.file.as_file()).expect("a file");
        let mut body = blob.serve(Method::GET, &[]).await?.into_body();
        let mut came =
            body.frame().await.expect("a frame").expect("sound").into_data().expect("data").to_vec();
        while Version::of(blob.file.as_file()).expect("a file") == before {
            blob.flip(flipped);
        }
        let error = loop {
            match body.frame().await.expect("an error rather than an end") {
                Ok(frame) => came.extend_from_slice(frame.data_ref().expect("data")),
                Err(error) => break error,
            }
        };
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
        assert!(matches!(cause, Some(TransferError::Damaged(_))), "{cause:?}");
        assert!(came.len() <= flipped && blob.bytes.starts_with(&came), "{}", came.len());
    }
    Ok(())
}

/// Long enough for the kernel to send most of it by itself.
const LONG: usize = 24 * BLOCK as usize + 12_345;

/// Downloads the blob, and meets it when a part of it has arrived and most is still to come.
async fn interrupted(blob: &Arc<Blob>, meanwhile: impl FnOnce(&Blob)) -> Vec<u8> {
    let address = listen(Arc::clone(blob)).await;
    for _ in 0..2 {
        let (.., body) = download(address, 0).await;
        assert!(body == blob.bytes);
    }
    let mut tcp = ask(address, 0).await;
    let mut bytes = vec![0; BLOCK as usize];
    tcp.read_exact(&mut bytes).await.expect("the beginning");
    meanwhile(blob);
    let _ = tcp.read_to_end(&mut bytes).await;
    bytes.split_off(head(&bytes).0.len())
}

#[tokio::test]
async fn what_the_kernel_sends_is_the_blob() {
    let blob = Arc::new(Blob::new(LONG));
    let address = listen(Arc::clone(&blob)).await;
    for start in [0, 0, 1, 77_777, 3 * BLOCK as usize - 1, LONG - COPIED_TAIL as usize - 1] {
        let (status, length, body) = download(address, start).await;
        assert_eq!((status, length), (206, LONG - start));
        assert!(body == blob.bytes[start..], "from {start}");
    }
    let same = |blob: &Blob| {
        let file = blob.file.as_file();
        file.write_all_at(&blob.bytes[..9], 0).expect("write");
        file.sync_all().expect("sync");
        rustix::fs::fadvise(file, 0, None, Advice::DontNeed).expect("advice");
    };
    assert!(interrupted(&blob, same).await == blob.bytes, "the file is what it was");
    assert!(!blob.is_damaged());
}

#[tokio::test]
async fn what_the_kernel_sent_is_looked_at_again_when_the_file_was_written_to() {
    // In what has long been sent.
    let blob = Arc::new(Blob::new(LONG));
    let body = interrupted(&blob, |blob| blob.flip(5)).await;
    assert!(body.len() < LONG, "an answer with damage under way was completed");
    assert!(blob.is_damaged());

    let blob = Arc::new(Blob::new(LONG));
    let body = interrupted(&blob, |blob| blob.file.as_file().set_len(BLOCK).expect("set")).await;
    assert!(body.len() < LONG);
    assert!(blob.is_damaged());
}

#[tokio::test]
async fn what_leaves_the_page_cache_is_forgotten_and_nothing_else() -> Result<(), SendError> {
    let blob = Blob::new(SIZE);
    let file = blob.file.as_file();
    file.sync_all().expect("sync");
    blob.serve(Method::GET, &[]).await?.into_body().collect().await.expect("sound");
    let (checks, version) = (blob.checks.as_ref().expect("checks"), Version::of(file).expect("a file"));
    let sound = || (0..4).map(|block| checks.is_sound(block, version)).collect::<Vec<_>>();
    assert_eq!(sound(), [true; 4]);
    let one = std::num::NonZero::new(BLOCK);
    rustix::fs::fadvise(file, BLOCK, one, Advice::DontNeed).expect("advice");
    let mut body = blob.serve(Method::GET, &[("range", "bytes=1048576-2097151")]).await?.into_body();
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    assert_eq!(sound(), [true; 4], "one block was hashed again");
    Ok(())
}

#[tokio::test]
async fn what_the_page_cache_does_not_hold_comes_from_the_disk() -> Result<(), SendError> {
    for blob in [Blob::new(SIZE), Blob::unchecked(SIZE)] {
        let file = blob.file.as_file();
        file.sync_all().expect("sync");
        rustix::fs::fadvise(file, 0, None, Advice::DontNeed).expect("advice");
        let mut byte = [0];
        let slice = &mut [IoSliceMut::new(&mut byte)];
        if rustix::io::preadv2(file, slice, 0, ReadWriteFlags::NOWAIT) != Err(Errno::AGAIN) {
            eprintln!("NOT TESTED: this file system keeps the file in memory");
        }
        let mut body = blob.serve(Method::GET, &[]).await?.into_body();
        let mut sent = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.expect("sound");
            sent.extend_from_slice(frame.data_ref().expect("data"));
            let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
        }
        assert!(sent == blob.bytes);
    }
    Ok(())
}

#[test]
fn hashes_must_fit_the_size() {
    for (hashes, size, fits) in [
        (0, 0, true),
        (1, 1, true),
        (1, BLOCK, true),
        (2, BLOCK + 1, true),
        (0, 1, false),
        (1, 0, false),
        (1, BLOCK + 1, false),
        (2, BLOCK, false),
        (1, u64::MAX, false),
    ] {
        let checks = BlockChecks::new(&vec![0; hashes * HASH], size);
        assert_eq!(checks.is_some(), fits, "{hashes} hashes, {size} bytes");
    }
    assert!(BlockChecks::new(&[0; 31], 1).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_while_many_download() {
    const CLIENTS: usize = 32;
    let size = 48 * BLOCK as usize;
    for mut blob in [Blob::new(size), Blob::unchecked(size)] {
        blob.bytes.shrink_to_fit();
        let blob = Arc::new(blob);
        let address = listen(Arc::clone(&blob)).await;
        let before = peak_memory();
        let failed = Arc::new(Mutex::new(Vec::new()));
        let clients = (0..CLIENTS).map(|client| {
            let (blob, failed) = (Arc::clone(&blob), Arc::clone(&failed));
            tokio::spawn(async move {
                let mut tcp = ask(address, client).await;
                let mut piece = vec![0; 64 * 1024];
                let mut position = 0;
                let count = tcp.read(&mut piece).await.expect("read");
                let (head, length) = head(&piece[..count]);
                let mut part = &piece[head.len()..count];
                loop {
                    let expected = &blob.bytes[client + position..][..part.len()];
                    position += part.len();
                    if part != expected || position == length {
                        break;
                    }
                    let count = tcp.read(&mut piece).await.expect("read");
                    part = &piece[..count];
                }
                if position != size - client {
                    failed.lock().expect("no panic").push((client, position));
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.expect("no panic");
        }
        assert_eq!(*failed.lock().expect("no panic"), []);
        let each = (peak_memory() - before) / CLIENTS as u64;
        // One block, and less than another one for everything else.
        assert!(each < 1_600, "{each} KiB for each transfer");
    }
}

/// This process's peak memory so far, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.expect("a line").parse().expect("a number")
}
