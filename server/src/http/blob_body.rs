//! Sends a blob, whole or in part, straight from its file or object.
//!
//! Of an object, 1 MiB is read at a time, and hashed before its first byte is sent. Of a file, what the page cache holds is copied on the async thread, 256 KiB at a time; what it does not
//! hold is read by a blocking thread, 1 MiB at a time. When the hashes of the blob's blocks are
//! known, that thread hashes a block in full before its first byte is sent; a block that was found to
//! be right is sent out of the page cache for as long as nobody wrote to the file and the cache keeps it. A file that
//! ends early, or a block that differs, breaks the transfer: the device never takes damaged bytes for a complete answer.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, InvalidHeaderValue};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::{Frame, SizeHint};
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};
use schema::causes::one_line;
use tokio::task::JoinHandle;
use tracing::error;

use super::range::{Wanted, wanted};
use crate::storage::blobs::block_checks::{BLOCK, BlockChecks, TransferError, Version, read_exact_at};
use crate::storage::blobs::{Object, Source};

#[cfg(test)]
mod tests;

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

impl BlobError {
    fn is_damage(&self) -> bool {
        match self {
            BlobError::Length { .. } => true,
            // Not being there, or being something else, is damage; not being able to look is not.
            BlobError::Open(error) => {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
            }
            BlobError::Start(error) => error.is_damage(),
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
        let (source, first) =
            open_sound(open, size, part.start, checks.clone()).await.inspect_err(|error| {
                if let Some(checks) = checks.as_ref().filter(|_| error.is_damage()) {
                    checks.mark_damaged();
                }
            })?;
        *response.body_mut() = Body::new(BlobBody::new(source, first, size, part, checks, etag));
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
) -> Result<(Source, Option<Bytes>), BlobError> {
    let again = checks.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let source = open().map_err(BlobError::Open)?;
        let found = source.size().map_err(BlobError::Open)?;
        if found != size {
            return Err(BlobError::Length { expected: size, found });
        }
        let Source::File(file) = &source else { return Ok(source) };
        // Advice only: a file system that takes none is read all the same.
        let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
        if let Some(checks) = checks {
            let block = start / BLOCK;
            if !checks.is_sound(block, Version::of(file).map_err(BlobError::Open)?) {
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
    source: Arc<Source>,
    /// The first block of an object, which was read before there was an answer.
    first: Option<Bytes>,
    size: u64,
    left: Range<u64>,
    checks: Option<Arc<BlockChecks>>,
    /// What a blocking thread reads.
    task: Option<JoinHandle<Result<Bytes, TransferError>>>,
    /// The chunk sent last, whose memory is used again once the connection has let go of it.
    last: Bytes,
    /// How the log calls this blob.
    name: Box<str>,
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
            source: Arc::new(source),
            first,
            size,
            left: part,
            checks,
            task: None,
            last: Bytes::new(),
            name: name.into(),
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, TransferError>> {
        if self.task.is_none() {
            match self.at_hand()? {
                Some(bytes) => return Poll::Ready(Ok(bytes)),
                None => self.task = Some(self.fetch()),
            }
        }
        let Some(task) = &mut self.task else { return Poll::Pending };
        let done = ready!(Pin::new(task).poll(cx));
        self.task = None;
        Poll::Ready(done.map_err(TransferError::CutOff)?)
    }

    /// The next bytes, when they are in the page cache and known to be right.
    fn at_hand(&mut self) -> Result<Option<Bytes>, TransferError> {
        let source = Arc::clone(&self.source);
        let Source::File(file) = &*source else {
            return Ok(self.first.take().map(|bytes| of_block(&bytes, &self.left)));
        };
        let Some(checks) = self.checks.clone() else { return self.cached(file, &self.left.clone()) };
        let block = self.left.start / BLOCK;
        if !checks.was_sound(block) {
            return Ok(None);
        }
        let part = self.left.start..self.left.end.min((block + 1) * BLOCK);
        let bytes = self.cached(file, &part)?;
        if bytes.is_none() {
            checks.forget();
        }
        // Looked at after the bytes were taken: whoever writes changes the time first.
        let version = Version::of(file).map_err(TransferError::Read)?;
        Ok(bytes.filter(|_| checks.is_sound(block, version)))
    }

    /// Has a blocking thread read what comes next, checked when there is something to check it with.
    fn fetch(&self) -> JoinHandle<Result<Bytes, TransferError>> {
        let (source, checks) = (Arc::clone(&self.source), self.checks.clone());
        let (size, part) = (self.size, self.left.clone());
        if let Source::Object(object) = &*source {
            let object = object.clone();
            return tokio::spawn(async move {
                let bytes = read_object(&object, part.start / BLOCK, size, checks.as_deref()).await?;
                Ok(of_block(&bytes, &part))
            });
        }
        tokio::task::spawn_blocking(move || {
            let Source::File(file) = &*source else { return Err(TransferError::Truncated) };
            let Some(checks) = checks else {
                let mut bytes = vec![0; at_most(UNCACHED_CHUNK, part.end - part.start)];
                read_exact_at(file, &mut bytes, part.start)?;
                return Ok(bytes.into());
            };
            let bytes = Bytes::from(checks.read(file, part.start / BLOCK, size)?);
            Ok(of_block(&bytes, &part))
        })
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

/// What a block has of `part`, whose beginning it holds.
fn of_block(bytes: &Bytes, part: &Range<u64>) -> Bytes {
    let within = |position: u64| at_most(bytes.len(), position - part.start / BLOCK * BLOCK);
    bytes.slice(within(part.start)..within(part.end))
}

fn at_most(limit: usize, length: u64) -> usize {
    usize::try_from(length).map_or(limit, |length| length.min(limit))
}
