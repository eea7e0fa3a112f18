//! How many bytes of an answer were sent: not those that it promised, since a device may ask for the rest of a file, or go away.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use crate::listen::outlet::Outlet;

/// Told how many bytes were sent.
type Told = Box<dyn FnOnce(u64) + Send>;

/// Tells how many bytes of the body were handed to the connection, once that has no more use for it; nothing if there were none.
pub(super) fn tallied(answer: Response, told: impl FnOnce(u64) + Send + 'static) -> Response {
    let outlet = answer.extensions().get::<Outlet>().cloned();
    answer.map(|body| Body::new(Tallied { body, sent: 0, outlet, told: Some(Box::new(told)) }))
}

/// A body whose bytes are counted.
struct Tallied {
    body: Body,
    sent: u64,
    /// Knows which of them the kernel has yet to send.
    outlet: Option<Outlet>,
    told: Option<Told>,
}

impl hyper::body::Body for Tallied {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.sent += data.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tallied {
    fn drop(&mut self) {
        let unsent = self.outlet.as_ref().map_or(0, Outlet::unsent);
        let sent = self.sent.saturating_sub(unsent);
        if let Some(told) = self.told.take().filter(|_| sent > 0) {
            told(sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use http_body_util::BodyExt as _;
    use tokio_util::io::ReaderStream;

    use super::*;

    /// What is told of a body of six bytes, in pieces of two, of which so many are taken.
    async fn told(pieces: usize) -> u64 {
        let told = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&told);
        let body = Body::from_stream(ReaderStream::with_capacity(&b"123456"[..], 2));
        let mut answer = tallied(Response::new(body), move |bytes| {
            assert_eq!(count.swap(bytes, Ordering::Relaxed), 0, "it is told once");
        });
        for _ in 0..pieces {
            assert!(answer.body_mut().frame().await.is_some());
        }
        drop(answer);
        told.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn what_was_taken_counts() {
        assert_eq!((told(0).await, told(1).await, told(2).await, told(3).await), (0, 2, 4, 6));
    }
}
