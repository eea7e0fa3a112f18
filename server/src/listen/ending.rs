//! Closes a connection without losing the end of an answer.
//!
//! The kernel drops undelivered data, and tells the peer to do the same, if a connection is closed with unread bytes
//! of the peer, or if the peer sends more afterwards. So closing takes four steps:
//!
//! ```text
//! everything sent ──► our end of stream ──► the peer's ──► close
//!   limits.write_stall   (TLS, FIN)           limits.linger
//!   and the time for it
//! ```

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;

use super::Tcp;
use super::clock::Clock;

/// Closes a connection whose data is all written; waits for the peer only if it `lingers`. Drop this future when the
/// clock says so.
pub(super) async fn end(io: &mut (impl AsyncWrite + Tcp + Unpin), clock: &Clock, lingers: bool) {
    clock.ends();
    if sent(io.tcp()).await.is_err() {
        return;
    }
    if !lingers {
        return end_now(io).await;
    }
    if io.shutdown().await.is_err() {
        return;
    }
    clock.lingers();
    while take_in(io.tcp()).await.is_ok_and(|more| more) {
        clock.bytes_came();
    }
}

/// Closes a connection at once; the kernel delivers the rest.
pub(super) async fn end_now(io: &mut (impl AsyncWrite + Tcp + Unpin)) {
    let _ = io.shutdown().await;
    let mut bin = [0; 4096];
    while matches!(io.tcp().try_read(&mut bin), Ok(1..)) {}
}

/// Resets a connection whose peer stopped reading: the kernel's unsent data is useless.
pub(super) fn abort(io: &impl Tcp) {
    let _ = SockRef::from(io.tcp()).set_linger(Some(Duration::ZERO));
}

/// Waits until the kernel has sent everything, as far as the peer has room.
async fn sent(tcp: &TcpStream) -> io::Result<()> {
    // The socket now counts as writable only if nothing is unsent.
    SockRef::from(tcp).set_tcp_notsent_lowat(1)?;
    let nothing_is_left = || {
        let mut asked = [PollFd::new(tcp, PollFlags::OUT)];
        poll(&mut asked, Some(&Timespec::default()))?;
        if asked[0].revents().is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    };
    loop {
        tcp.writable().await?;
        match tcp.try_io(Interest::WRITABLE, nothing_is_left) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome,
        }
    }
}

/// Reads and discards what the peer still sends. Returns false once it closes its side.
async fn take_in(tcp: &TcpStream) -> io::Result<bool> {
    let mut bin = [0; 4096];
    loop {
        tcp.readable().await?;
        match tcp.try_read(&mut bin) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome.map(|count| count > 0),
        }
    }
}
