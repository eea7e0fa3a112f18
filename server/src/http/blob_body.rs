//! Sends a blob, whole or in part, straight from its file or object.
//!
//! Of an object, 1 MiB is read at a time, and hashed before its first byte is sent. Of a file, what the page cache holds is
//! sent from the async thread, 256 KiB at a time; what it does not hold is read by a blocking thread, 1 MiB at a time. When
//! the hashes of the blob's blocks are known, that thread hashes a block in full before its first byte is sent; a block that
//! was found to be right is sent out of the page cache for as long as nobody wrote to the file and the cache keeps it. A file
//! that ends early, or a block that differs, breaks the transfer: the device never takes damaged bytes for a complete answer.
//!
//! On a plain connection the kernel sends a block that is right from the page cache itself, without a copy. Until the peer
//! has taken them, whoever writes to the file changes those bytes too. So the last [`COPIED_TAIL`] bytes of an answer are
//! copied: when the file is looked at for the last time, all that was not copied has left the connection. If somebody wrote
//! to the file meanwhile, all of them are hashed again before the answer goes on; where the kernel had to read the disk, the
//! blocks that it read.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, InvalidHeaderValue,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use hyper::body::{Frame, SizeHint};
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};
use schema::causes::one_line;
use tokio::task::JoinHandle;
use tokio_util::bytes::{Bytes, BytesMut};
use tracing::{debug, error};

use super::range::{Wanted, wanted};
use crate::listen::outlet::{MARKED, Outlet};
use crate::storage::blobs::block_checks::{BLOCK, BlockChecks, TransferError, Version, read_exact_at};
use crate::storage::blobs::{Object, Source};

#[cfg(test)]
mod tests;

/// What is copied from the page cache at a time.
const CHUNK: usize = 256 * 1024;

/// What is read from the disk at a time.
const UNCACHED_CHUNK: usize = 1024 * 1024;

/// How much of the end of an answer is copied: more than a connection has under way, 4 MiB unacknowledged on our side
/// (`tcp_wmem`), and, with a peer on this machine, what it has not read yet.
const COPIED_TAIL: u64 = 8 * 1024 * 1024;

/// How much more than it sends the kernel reads from the disk at a time, at most: `read_ahead_kb` is 128, twice that for a file
/// that is read from its beginning to its end, and some systems set more.
const READ_AHEAD: u64 = 4 * 1024 * 1024;

/// One byte in so many is looked for in the page cache, which loses pages in long rows. What slips through makes the kernel
/// read the disk, which is noticed.
const PROBED: usize = 512 * 1024;

/// Why a blob cannot be sent. All of these are faults on our side: 503.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
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

impl SendError {
    fn is_damage(&self) -> bool {
        match self {
            SendError::Length { .. } => true,
            // Not being there, or being something else, is damage; not being able to look is not.
            SendError::Open(error) => {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
            }
            SendError::Start(error) => error.is_damage(),
            _ => false,
        }
    }
}

/// Answers a GET or HEAD request for a blob: 200, 206, 304 or 416.
///
/// `open` is called only when bytes will be sent. `etag` is the strong entity tag, quotes
/// included. The caller adds what depends on the route, caching for one.
pub(crate) async fn serve_blob(
    open: impl FnOnce() -> io::Result<Source> + Send + 'static,
    size: u64,
    etag: &str,
    checks: Option<Arc<BlockChecks>>,
    method: &Method,
    request_headers: &HeaderMap,
) -> Result<Response<Body>, SendError> {
    if checks.as_ref().is_some_and(|checks| checks.is_damaged()) {
        return Err(SendError::Damaged);
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
        let (source, first) =
            open_sound(open, size, part.start, checks.clone()).await.inspect_err(|error| {
                if let Some(checks) = checks.as_ref().filter(|_| error.is_damage()) {
                    checks.mark_damaged();
                }
            })?;
        let body = BlobBody::new(source, first, size, part, checks, etag);
        response.extensions_mut().insert(body.outlet.clone());
        *response.body_mut() = Body::new(body);
    }
    Ok(response)
}

/// Opens the file and makes sure of its length and of the first block to be sent, before a status
/// promises anything. Of an object, that block comes along.
async fn open_sound(
    open: impl FnOnce() -> io::Result<Source> + Send + 'static,
    size: u64,
    start: u64,
    checks: Option<Arc<BlockChecks>>,
) -> Result<(Source, Option<Bytes>), SendError> {
    let again = checks.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let source = open().map_err(SendError::Open)?;
        let found = source.size().map_err(SendError::Open)?;
        if found != size {
            return Err(SendError::Length { expected: size, found });
        }
        let Source::File(file) = &source else { return Ok(source) };
        // No reading ahead: pages that come back into the cache unseen would pass for those that were hashed. Advice
        // only: a file system that takes none is read all the same.
        let _ = rustix::fs::fadvise(file, 0, None, Advice::Random);
        if let Some(checks) = checks {
            let block = start / BLOCK;
            if !checks.is_sound(block, Version::of(file).map_err(SendError::Open)?) {
                checks.read(file, block, size)?;
            }
        }
        Ok(source)
    });
    let source = opened.await??;
    let first = match &source {
        Source::Object(object) => Some(read_object(object, start / BLOCK, size, again.as_deref()).await?),
        Source::File(_) => None,
    };
    Ok((source, first))
}

/// Reads a whole block of an object, and answers it once its hash was compared.
async fn read_object(
    object: &Object,
    block: u64,
    size: u64,
    checks: Option<&BlockChecks>,
) -> Result<Bytes, TransferError> {
    let start = block * BLOCK;
    let read = object.read_range(start..size.min(start + BLOCK)).await;
    let bytes = read.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => TransferError::Truncated,
        _ => TransferError::Read(error),
    })?;
    if let Some(checks) = checks {
        checks.compare(block, &bytes)?;
    }
    Ok(bytes)
}

/// The bytes of a file or an object from one position to another, as a response body.
pub(crate) struct BlobBody {
    source: Content,
    /// The first block of an object, which was read before there was an answer.
    first: Option<Bytes>,
    size: u64,
    left: Range<u64>,
    checks: Option<Arc<BlockChecks>>,
    /// What a blocking thread reads.
    task: Option<JoinHandle<Result<Bytes, TransferError>>>,
    /// The chunk sent last, whose memory is used again once the connection has let go of it.
    last: Bytes,
    /// The way to have the connection send parts of the file by itself, and which blocks it sent, in which version.
    outlet: Outlet,
    handed: Option<(Version, Range<u64>)>,
    /// How the log calls this blob.
    name: Box<str>,
}

/// What a body is read from.
#[derive(Debug, Clone)]
enum Content {
    File(Arc<File>),
    Object(Object),
}

impl BlobBody {
    fn new(
        source: Source,
        first: Option<Bytes>,
        size: u64,
        part: Range<u64>,
        checks: Option<Arc<BlockChecks>>,
        name: &str,
    ) -> BlobBody {
        BlobBody {
            source: match source {
                Source::File(file) => Content::File(Arc::new(file)),
                Source::Object(object) => Content::Object(object),
            },
            first,
            size,
            left: part,
            checks,
            task: None,
            last: Bytes::new(),
            outlet: Outlet::default(),
            handed: None,
            name: name.into(),
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, TransferError>> {
        if self.task.is_none() {
            match self.at_hand()? {
                Some(bytes) => return Poll::Ready(Ok(bytes)),
                None => self.task = Some(self.fetch()?),
            }
        }
        let Some(task) = &mut self.task else { return Poll::Pending };
        let done = ready!(Pin::new(task).poll(cx));
        self.task = None;
        Poll::Ready(done.map_err(TransferError::CutOff)?)
    }

    /// The next bytes, when they are in the page cache and known to be right.
    fn at_hand(&mut self) -> Result<Option<Bytes>, TransferError> {
        let Content::File(file) = self.source.clone() else {
            return Ok(self.first.take().map(|bytes| of_block(&bytes, &self.left)));
        };
        let Some(checks) = self.checks.clone() else { return self.cached(&file, &self.left.clone()) };
        let from_disk = self.outlet.read_from_disk();
        if !from_disk.is_empty() {
            let blocks =
                from_disk.into_iter().flat_map(|part| part.start / BLOCK..=(part.end + READ_AHEAD) / BLOCK);
            blocks.for_each(|block| checks.forget(block));
            return Ok(None);
        }
        let block = self.left.start / BLOCK;
        if !checks.was_sound(block) {
            return Ok(None);
        }
        let part = self.left.start..self.left.end.min((block + 1) * BLOCK);
        let is_handed = self.outlet.is_connected() && part.end + COPIED_TAIL <= self.left.end;
        let bytes = match is_handed {
            true => is_cached(&file, &part).then(Bytes::new),
            false => self.cached(&file, &part)?,
        };
        if bytes.is_none() {
            checks.forget(block);
        }
        // Looked at after the bytes were taken: whoever writes changes the time first.
        let version = Version::of(&file).map_err(TransferError::Read)?;
        if self.handed.as_ref().is_some_and(|(handed, _)| *handed != version) {
            return Ok(None);
        }
        let bytes = bytes.filter(|_| checks.is_sound(block, version));
        Ok(bytes.map(|bytes| if is_handed { self.hand_over(&file, &part, version) } else { bytes }))
    }

    /// Has the connection send the beginning of `part`.
    fn hand_over(&mut self, file: &Arc<File>, part: &Range<u64>, version: Version) -> Bytes {
        let block = part.start / BLOCK;
        let (_, blocks) = self.handed.get_or_insert((version, block..block));
        blocks.end = block + 1;
        self.outlet.mark(file, part.start, at_most(MARKED, part.end - part.start))
    }

    /// Has a blocking thread read what comes next, checked when there is something to check it with. What the connection
    /// sent by itself is checked again first, if that was in another version or from the disk.
    fn fetch(&mut self) -> Result<JoinHandle<Result<Bytes, TransferError>>, TransferError> {
        let checks = self.checks.clone();
        let (size, part) = (self.size, self.left.clone());
        let file = match self.source.clone() {
            Content::File(file) => file,
            Content::Object(object) => {
                return Ok(tokio::spawn(async move {
                    let bytes = read_object(&object, part.start / BLOCK, size, checks.as_deref()).await?;
                    Ok(of_block(&bytes, &part))
                }));
            }
        };
        let mut handed = 0..0;
        if let Some((version, blocks)) = &mut self.handed {
            *version = Version::of(&file).map_err(TransferError::Read)?;
            handed = blocks.clone();
        }
        Ok(tokio::task::spawn_blocking(move || {
            let Some(checks) = checks else {
                let mut bytes = vec![0; at_most(UNCACHED_CHUNK, part.end - part.start)];
                read_exact_at(&file, &mut bytes, part.start)?;
                return Ok(bytes.into());
            };
            for block in handed {
                if !checks.is_sound(block, Version::of(&file).map_err(TransferError::Read)?) {
                    checks.read(&file, block, size)?;
                }
            }
            let bytes = Bytes::from(checks.read(&file, part.start / BLOCK, size)?);
            Ok(of_block(&bytes, &part))
        }))
    }

    /// The beginning of `part`, as far as it can be had without waiting for a disk.
    fn cached(&mut self, file: &File, part: &Range<u64>) -> Result<Option<Bytes>, TransferError> {
        let last = std::mem::take(&mut self.last);
        let mut buffer = last.try_into_mut().unwrap_or_else(|_| BytesMut::new());
        buffer.resize(at_most(CHUNK, part.end - part.start), 0);
        let slice = &mut [IoSliceMut::new(&mut buffer)];
        let read = rustix::io::preadv2(file, slice, part.start, ReadWriteFlags::NOWAIT);
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
        let error = one_line(error);
        error!(blob, error, "A transfer of a blob broke off");
    }
}

impl hyper::body::Body for BlobBody {
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

impl Drop for BlobBody {
    fn drop(&mut self) {
        if let Some(error) = self.outlet.failure() {
            match error.kind() {
                io::ErrorKind::UnexpectedEof => self.give_up(&TransferError::Truncated),
                // The peer is gone, for one.
                _ => debug!(blob = &*self.name, %error, "A transfer of a blob broke off"),
            }
        }
    }
}

/// Does the page cache hold `part`, as far as a look here and there tells?
fn is_cached(file: &File, part: &Range<u64>) -> bool {
    let end = part.end.min(part.start + MARKED as u64);
    (part.start..end).step_by(PROBED).all(|position| {
        let (mut byte, nowait) = ([0], ReadWriteFlags::NOWAIT);
        rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], position, nowait) == Ok(1)
    })
}

/// What a block has of `part`, whose beginning it holds.
fn of_block(bytes: &Bytes, part: &Range<u64>) -> Bytes {
    let within = |position: u64| at_most(bytes.len(), position - part.start / BLOCK * BLOCK);
    bytes.slice(within(part.start)..within(part.end))
}

fn at_most(limit: usize, length: u64) -> usize {
    usize::try_from(length).map_or(limit, |length| length.min(limit))
}
