//! The byte stream of one connection, as hyper sees it: moves the clock on and checks framing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Tcp;
use super::clock::Clock;
use super::counts::Counts;
use super::framing::Framing;

/// A connection that watches what passes.
pub(super) struct Guarded<Io: Tcp> {
    io: Io,
    clock: Arc<Clock>,
    counts: Arc<Counts>,
    framing: Framing,
}

impl<Io: Tcp> Drop for Guarded<Io> {
    fn drop(&mut self) {
        // The answer is broken off, so what the kernel holds of it is of no use to a peer that stopped reading.
        if self.clock.is_blocked() {
            let _ = socket2::SockRef::from(self.io.tcp()).set_linger(Some(Duration::ZERO));
        }
    }
}

impl<Io: Tcp> Guarded<Io> {
    pub(super) fn new(io: Io, clock: Arc<Clock>, counts: Arc<Counts>) -> Guarded<Io> {
        Guarded { io, clock, counts, framing: Framing::default() }
    }

    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Pending => self.clock.write_blocked(),
            Poll::Ready(Ok(bytes @ 1..)) => {
                self.counts.sent(*bytes);
                self.clock.bytes_left();
            }
            Poll::Ready(_) => {}
        }
        outcome
    }

    fn flushed(&self, outcome: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if outcome.is_pending() {
            self.clock.write_blocked();
        }
        outcome
    }
}

impl<Io: AsyncRead + Tcp + Unpin> AsyncRead for Guarded<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let came = &mut buf.filled_mut()[before..];
        if !came.is_empty() {
            self.counts.received(came.len());
            self.clock.bytes_came();
            self.framing.check(came);
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Tcp + Unpin> AsyncWrite for Guarded<Io> {
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
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.flushed(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_shutdown(cx);
        self.flushed(outcome)
    }
}
