//! The TCP connection under everything else: tells the clock whether the peer accepts data.
//!
//! This sits below TLS on purpose: data held back by TLS is not a stall of the peer, and each byte that the kernel
//! accepts is progress.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::fs::sendfile;
use rustix::io::Errno;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::Tcp;
use super::clock::Clock;
use super::depth::{Depth, Given};
use super::outlet::Piece;

/// What is copied at a time where the kernel cannot send from a file.
const COPIED: usize = 64 * 1024;

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Wire {
    tcp: TcpStream,
    clock: Arc<Clock>,
    depth: Depth,
    /// Was the disk read for bytes of a file that are still to be sent?
    read_disk: bool,
    /// Does the kernel wait for whole segments?
    corked: bool,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream, clock: Arc<Clock>) -> Wire {
        let depth = Depth::begin(&tcp);
        Wire { tcp, clock, depth, read_disk: false, corked: false }
    }

    /// Has the kernel send bytes of a file. Says how many, and whether the disk had to be read for them.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        piece: &Piece,
    ) -> Poll<io::Result<(usize, bool)>> {
        self.measure(cx, Given::Pages);
        self.cork(true);
        let (mut position, before) = (piece.position, blocks_read());
        let mut send = || loop {
            match sendfile(&self.tcp, &piece.file, Some(&mut position), piece.length) {
                Err(Errno::INTR) => {}
                // A file system that cannot: by way of our memory.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    let mut bytes = vec![0; piece.length.min(COPIED)];
                    let read = piece.file.read_at(&mut bytes, piece.position)?;
                    return Ok(rustix::io::write(&self.tcp, &bytes[..read])?);
                }
                outcome => return Ok(outcome?),
            }
        };
        let outcome = loop {
            if self.tcp.poll_write_ready(cx)?.is_pending() {
                break Poll::Pending;
            }
            match self.tcp.try_io(Interest::WRITABLE, &mut send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => break Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                outcome => break Poll::Ready(outcome),
            }
        };
        // What was read and not sent is in the page cache by then, and sent from there.
        self.read_disk |= blocks_read() != before;
        self.wrote(outcome).map_ok(|count| (count, std::mem::take(&mut self.read_disk)))
    }

    /// Sets how much of what is given next the kernel may hold before it is given more.
    fn measure(&mut self, cx: &mut Context<'_>, given: Given) {
        let held = self.depth.held();
        if self.depth.is_waiting() && self.tcp.poll_write_ready(cx).is_ready() {
            self.depth.moves();
            self.clock.bytes_left();
        }
        self.depth.adapt(&self.tcp, given);
        if self.depth.held() != held {
            self.clock.holds(self.depth.held());
        }
    }

    /// Has the kernel wait until it can fill a segment, or sends what it kept back. Of a file it is given a piece at a time,
    /// and would send the end of each in a segment of its own.
    fn cork(&mut self, corked: bool) {
        if self.corked != corked {
            let _ = SockRef::from(&self.tcp).set_tcp_cork(corked);
            self.corked = corked;
        }
    }

    /// Before bytes are written that are no piece of a file.
    fn prepare(&mut self, cx: &mut Context<'_>) {
        self.measure(cx, Given::Bytes);
        self.cork(false);
    }

    fn wrote(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Pending => {
                self.depth.waits();
                self.clock.write_blocked();
            }
            Poll::Ready(Ok(1..)) => self.clock.bytes_left(),
            Poll::Ready(_) => {}
        }
        outcome
    }
}

impl Tcp for Wire {
    fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    fn bare(&mut self) -> Option<&mut Wire> {
        Some(self)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.prepare(cx);
        let outcome = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.prepare(cx);
        let outcome = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// How many blocks this thread has had read from disks so far.
fn blocks_read() -> Option<i64> {
    getrusage(UsageWho::RUSAGE_THREAD).ok().map(|usage| usage.block_reads())
}
