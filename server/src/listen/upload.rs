//! Request bodies: how long the server waits for one, and what happens to an unread one.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::time::Sleep;
use tokio_util::bytes::Bytes;

/// How much of an unread body is discarded before the answer is sent.
const UNREAD_BYTES: usize = 1024 * 1024;

/// Why a request body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// Nothing arrived for `Limits::body_idle`; the peer's fault, to be answered with 408.
    #[error("cannot read the request: the peer stopped sending")]
    Stalled,
    /// The connection broke or the body was malformed.
    #[error("cannot read the request")]
    Broken(#[source] hyper::Error),
}

/// Holds an upload that was not fully read.
pub(super) type Unread = Arc<Mutex<Option<Incoming>>>;

/// A request body with a deadline between chunks.
pub(super) struct Upload {
    body: Option<Incoming>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    unread: Unread,
}

impl Upload {
    pub(super) fn new(body: Incoming, idle: Duration, unread: Unread) -> Upload {
        Upload { body: Some(body), idle, timer: None, unread }
    }
}

impl hyper::body::Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => {
                this.body = None;
                Poll::Ready(end.map(|piece| piece.map_err(UploadError::Broken)))
            }
            Poll::Pending => {
                let idle = this.idle;
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                std::task::ready!(timer.as_mut().poll(cx));
                this.body = None;
                Poll::Ready(Some(Err(UploadError::Stalled)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
            *unread = Some(body);
        }
    }
}

/// Discards the rest of a body that the application did not read, up to a limit. Closing a connection with unread
/// bytes resets it, and the reset may overtake the answer: a device that never sees its 401 never gets a new session.
pub(super) async fn discard(unread: &Unread, patience: Duration) {
    let left = unread.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut body) = left else { return };
    let discarded = async {
        let mut seen = 0;
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, Bytes::len);
            if seen > UNREAD_BYTES {
                break;
            }
        }
    };
    // A peer that does not send the rest in time gets the answer anyway.
    let _ = tokio::time::timeout(patience, discarded).await;
}
