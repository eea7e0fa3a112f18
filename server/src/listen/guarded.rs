//! The byte stream that hyper sees: counts, checks framing, and is never closed by hyper.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clock::Clock;
use super::counts::Counts;
use super::framing::Framing;

/// A connection whose bytes are counted and checked.
pub(super) struct Guarded<Io> {
    io: Io,
    clock: Arc<Clock>,
    counts: Arc<Counts>,
    framing: Framing,
}

impl<Io> Guarded<Io> {
    pub(super) fn new(io: Io, clock: Arc<Clock>, counts: Arc<Counts>) -> Guarded<Io> {
        Guarded { io, clock, counts, framing: Framing::default() }
    }

    /// The connection, once hyper has finished with it.
    pub(super) fn into_inner(self) -> Io {
        self.io
    }

    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &outcome {
            self.counts.sent(*bytes);
        }
        outcome
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Guarded<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match ready!(Pin::new(&mut self.io).poll_read(cx, buf)) {
            // A peer that closes without a TLS close notification may still wait for its answer. If that truncated
            // its request, the length reveals it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
            outcome => outcome?,
        }
        let came = &mut buf.filled_mut()[before..];
        if !came.is_empty() {
            self.counts.received(came.len());
            self.clock.bytes_came();
            self.framing.check(came);
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Guarded<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Flushes, but closes nothing: [`super::ending`] decides how a connection ends.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
}
