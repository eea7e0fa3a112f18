//! Sends a blob, whole or in part, straight from its file.
//!
//! What the page cache holds is copied on the async thread, 256 KiB at a time; what it does not
//! hold is read by a blocking thread, 1 MiB at a time. When the hashes of the blob's blocks are
//! known, a blocking thread reads and hashes a block in full before its first byte is ever sent;
//! it is then sent out of the page cache, where that left it. A file that ends early, or a block that differs, breaks the transfer: the
//! device never takes damaged bytes for a complete answer.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use aws_lc_rs::digest;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, InvalidHeaderValue};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::{Frame, SizeHint};
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;
use tracing::error;

use super::range::{Wanted, wanted};

#[cfg(test)]
mod tests;

/// What one block hash covers.
pub(crate) const BLOCK: u64 = 1024 * 1024;

/// Bytes of a SHA-256 hash.
const HASH: usize = 32;

/// What is copied from the page cache at a time.
const CHUNK: usize = 256 * 1024;

/// What is read from the disk at a time.
const UNCACHED_CHUNK: usize = 1024 * 1024;

/// Why a blob cannot be sent. All of these are faults on our side: 503.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("the blob was found to be damaged")]
    Damaged,
    #[error("the blob's file has {found} bytes instead of {expected}")]
    Length { expected: u64, found: u64 },
    #[error("cannot open the blob's file")]
    Open(#[source] io::Error),
    #[error("cannot begin to send the blob")]
    Start(#[from] TransferError),
    #[error("cannot describe the blob in a header")]
    Header(#[from] InvalidHeaderValue),
    #[error("cannot open the blob's file: the blocking thread was cut off")]
    CutOff(#[from] tokio::task::JoinError),
}

/// Why a transfer broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    #[error("the blob's file ends early")]
    Truncated,
    #[error("block {0} of the blob is damaged")]
    Damaged(u64),
    #[error("cannot read the blob's file")]
    Read(#[source] io::Error),
    #[error("a read of the blob's file was cut off")]
    CutOff(#[source] tokio::task::JoinError),
}

impl BlobError {
    fn is_damage(&self) -> bool {
        match self {
            BlobError::Length { .. } => true,
            BlobError::Start(error) => error.is_damage(),
            _ => false,
        }
    }
}

impl TransferError {
    fn is_damage(&self) -> bool {
        matches!(self, TransferError::Truncated | TransferError::Damaged(_))
    }
}

/// The hashes of a blob's blocks, and which blocks this process has found to be right.
#[derive(Debug)]
pub(crate) struct BlockChecks {
    hashes: Box<[u8]>,
    sound: Box<[AtomicU64]>,
    damaged: AtomicBool,
}

impl BlockChecks {
    /// Takes the SHA-256 of each MiB of a blob of `size` bytes, one after another; `None` when
    /// there are too few or too many.
    pub(crate) fn new(hashes: &[u8], size: u64) -> Option<BlockChecks> {
        let blocks = usize::try_from(size.div_ceil(BLOCK)).ok()?;
        if hashes.len() != blocks.checked_mul(HASH)? {
            return None;
        }
        Some(BlockChecks {
            hashes: hashes.into(),
            sound: (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            damaged: AtomicBool::new(false),
        })
    }

    /// Whether the blob was once found to differ from what was stored.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    fn is_sound(&self, block: u64) -> bool {
        let (word, bit) = place(block);
        self.sound.get(word).is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Reads a whole block and compares it with its hash, unless it is known to be sound. Blocks.
    fn check(&self, file: &File, block: u64, size: u64) -> Result<(), TransferError> {
        if self.is_sound(block) {
            return Ok(());
        }
        let (mut next, end) = (block * BLOCK, size.min((block + 1) * BLOCK));
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut buffer = vec![0; CHUNK];
        while next < end {
            let piece = &mut buffer[..at_most(CHUNK, end - next)];
            read_exact_at(file, piece, next)?;
            hash.update(piece);
            next += piece.len() as u64;
        }
        let expected =
            usize::try_from(block).ok().and_then(|block| self.hashes.chunks_exact(HASH).nth(block));
        if expected != Some(hash.finish().as_ref()) {
            return Err(TransferError::Damaged(block));
        }
        let (word, bit) = place(block);
        if let Some(word) = self.sound.get(word) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The blob was found to differ from what was stored: none of it is sent any more.
    pub(crate) fn mark_damaged(&self) {
        self.damaged.store(true, Ordering::Relaxed);
        // Should it be sent again, then not a block on the word of before.
        self.sound.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// The blob may be sent again, each block once it was checked.
    pub(crate) fn look_anew(&self) {
        self.damaged.store(false, Ordering::Relaxed);
    }
}

/// Where the bit of a block is kept.
fn place(block: u64) -> (usize, u64) {
    let word = usize::try_from(block / 64).unwrap_or(usize::MAX);
    (word, 1 << (block % 64))
}

/// Answers a GET or HEAD request for a blob: 200, 206, 304 or 416.
///
/// `open` is called only when bytes will be sent. `etag` is the strong entity tag, quotes
/// included. The caller adds what depends on the route, caching for one.
pub(crate) async fn serve_blob(
    open: impl FnOnce() -> io::Result<File> + Send + 'static,
    size: u64,
    etag: &str,
    checks: Option<Arc<BlockChecks>>,
    method: &Method,
    request_headers: &HeaderMap,
) -> Result<Response<Body>, BlobError> {
    if checks.as_ref().is_some_and(|checks| checks.is_damaged()) {
        return Err(BlobError::Damaged);
    }
    let (status, part) = match wanted(method, request_headers, size, etag) {
        Wanted::Whole => (StatusCode::OK, 0..size),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
        Wanted::Unchanged => (StatusCode::NOT_MODIFIED, 0..0),
    };

    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::from_str(etag)?);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        headers.insert(CONTENT_RANGE, format!("bytes */{size}").try_into()?);
        return Ok(response);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, (part.end - part.start).into());
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        headers.insert(CONTENT_RANGE, range.try_into()?);
    }
    if *method != Method::HEAD && !part.is_empty() {
        let file = open_sound(open, size, part.start, checks.clone()).await;
        let file = file.inspect_err(|error| {
            if let Some(checks) = checks.as_ref().filter(|_| error.is_damage()) {
                checks.mark_damaged();
            }
        })?;
        *response.body_mut() = Body::new(BlobBody::new(file, size, part, checks, etag));
    }
    Ok(response)
}

/// Opens the file and makes sure of its length and of the first block to be sent, before a status
/// promises anything.
async fn open_sound(
    open: impl FnOnce() -> io::Result<File> + Send + 'static,
    size: u64,
    start: u64,
    checks: Option<Arc<BlockChecks>>,
) -> Result<File, BlobError> {
    let opened = tokio::task::spawn_blocking(move || {
        let file = open().map_err(BlobError::Open)?;
        let found = file.metadata().map_err(BlobError::Open)?.len();
        if found != size {
            return Err(BlobError::Length { expected: size, found });
        }
        // Advice only: a file system that takes none is read all the same.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        if let Some(checks) = checks {
            checks.check(&file, start / BLOCK, size)?;
        }
        Ok(file)
    });
    opened.await?
}

/// The bytes of a file from one position to another, as a response body.
pub(crate) struct BlobBody {
    file: Arc<File>,
    size: u64,
    left: Range<u64>,
    checks: Option<Arc<BlockChecks>>,
    /// What a blocking thread is at.
    task: Option<JoinHandle<Result<Done, TransferError>>>,
    /// The chunk sent last, whose memory is used again once the connection has let go of it.
    last: Bytes,
    /// How the log calls this blob.
    name: Box<str>,
}

/// What a blocking thread has done.
enum Done {
    Checked,
    Read(Bytes),
}

impl BlobBody {
    fn new(
        file: File,
        size: u64,
        part: Range<u64>,
        checks: Option<Arc<BlockChecks>>,
        name: &str,
    ) -> BlobBody {
        BlobBody {
            file: Arc::new(file),
            size,
            left: part,
            checks,
            task: None,
            last: Bytes::new(),
            name: name.into(),
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, TransferError>> {
        loop {
            if let Some(task) = &mut self.task {
                let done = ready!(Pin::new(task).poll(cx));
                self.task = None;
                if let Done::Read(bytes) = done.map_err(TransferError::CutOff)?? {
                    return Poll::Ready(Ok(bytes));
                }
            }
            let block = self.left.start / BLOCK;
            let mut end = self.left.end;
            if let Some(checks) = &self.checks {
                if !checks.is_sound(block) {
                    let (checks, file, size) = (Arc::clone(checks), self.file.clone(), self.size);
                    self.task = Some(tokio::task::spawn_blocking(move || {
                        checks.check(&file, block, size).map(|()| Done::Checked)
                    }));
                    continue;
                }
                end = end.min((block + 1) * BLOCK);
            }
            let part = self.left.start..end;
            if let Some(bytes) = self.cached(&part)? {
                return Poll::Ready(Ok(bytes));
            }
            let file = self.file.clone();
            self.task = Some(tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; at_most(UNCACHED_CHUNK, part.end - part.start)];
                read_exact_at(&file, &mut bytes, part.start)?;
                Ok(Done::Read(bytes.into()))
            }));
        }
    }

    /// The beginning of `part`, as far as it can be had without waiting for a disk.
    fn cached(&mut self, part: &Range<u64>) -> Result<Option<Bytes>, TransferError> {
        let last = std::mem::take(&mut self.last);
        let mut buffer = last.try_into_mut().unwrap_or_else(|_| BytesMut::new());
        buffer.resize(at_most(CHUNK, part.end - part.start), 0);
        let slice = &mut [IoSliceMut::new(&mut buffer)];
        let read = rustix::io::preadv2(&self.file, slice, part.start, ReadWriteFlags::NOWAIT);
        let read = match read {
            Ok(read) => read,
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => 0,
            Err(error) => return Err(TransferError::Read(error.into())),
        };
        buffer.truncate(read);
        // Zero may be the end of the file as well; the blocking read will tell.
        self.last = buffer.freeze();
        Ok((read > 0).then(|| self.last.clone()))
    }

    /// Nothing more can be sent; who asks next is told so before the first byte.
    fn give_up(&mut self, error: &TransferError) {
        self.left = self.left.end..self.left.end;
        if let Some(checks) = self.checks.as_ref().filter(|_| error.is_damage()) {
            checks.mark_damaged();
        }
        let blob = &*self.name;
        let error = error as &dyn std::error::Error;
        error!(blob, error, "A transfer of a blob broke off");
    }
}

impl http_body::Body for BlobBody {
    type Data = Bytes;
    type Error = TransferError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransferError>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(match ready!(self.poll_bytes(cx)) {
            Ok(bytes) => {
                self.left.start += bytes.len() as u64;
                Ok(Frame::data(bytes))
            }
            Err(error) => {
                self.give_up(&error);
                Err(error)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.end - self.left.start)
    }
}

fn read_exact_at(file: &File, bytes: &mut [u8], position: u64) -> Result<(), TransferError> {
    file.read_exact_at(bytes, position).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => TransferError::Truncated,
        _ => TransferError::Read(error),
    })
}

fn at_most(limit: usize, length: u64) -> usize {
    usize::try_from(length).map_or(limit, |length| length.min(limit))
}
