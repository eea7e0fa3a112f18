//! The byte stream that hyper sees: counts, checks framing, and is never closed by hyper.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Tcp;
use super::clock::Clock;
use super::counts::Counts;
use super::framing::Framing;
use super::outlet::{Outlet, is_marker};

/// A connection whose bytes are counted and checked.
pub(super) struct Guarded<Io> {
    io: Io,
    clock: Arc<Clock>,
    counts: Arc<Counts>,
    framing: Framing,
    outlet: Current,
}

/// The outlet of the answer under way, if it has one.
pub(super) type Current = Arc<Mutex<Option<Outlet>>>;

impl<Io> Guarded<Io> {
    pub(super) fn new(io: Io, clock: Arc<Clock>, counts: Arc<Counts>, outlet: Current) -> Guarded<Io> {
        Guarded { io, clock, counts, framing: Framing::default(), outlet }
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

impl<Io: Tcp> Guarded<Io> {
    /// Sends what a marker of `length` bytes stands for.
    fn poll_marked(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        let outlet = self.outlet.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let next = outlet.and_then(|outlet| Some((outlet.next()?, outlet)));
        let (Some(wire), Some((mut piece, outlet))) = (self.io.bare(), next) else {
            return Poll::Ready(Err(io::Error::other("a marker stands for nothing")));
        };
        piece.length = piece.length.min(length);
        let outcome = ready!(wire.poll_send(cx, &piece));
        Poll::Ready(match outcome {
            Ok((count, read_disk)) => {
                outlet.sent(count, read_disk);
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                outlet.fail(error);
                Err(kind.into())
            }
        })
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

impl<Io: AsyncWrite + Tcp + Unpin> AsyncWrite for Guarded<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = match is_marker(buf) {
            true => self.poll_marked(cx, buf.len()),
            false => Pin::new(&mut self.io).poll_write(cx, buf),
        };
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let marker = bufs.iter().position(|buf| is_marker(buf));
        let ahead = &bufs[..marker.unwrap_or(bufs.len())];
        let outcome = match marker {
            Some(at) if ahead.iter().all(|buf| buf.is_empty()) => self.poll_marked(cx, bufs[at].len()),
            _ => Pin::new(&mut self.io).poll_write_vectored(cx, ahead),
        };
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
