//! How a connection ends without taking an answer with it.
//!
//! The kernel drops what it has not delivered yet, and tells the peer to do so too, when a connection is closed with bytes of the
//! peer unread, or when the peer sends some afterwards. So an end has four steps:
//!
//! ```text
//! everything sent ──► our goodbye ──► the peer's goodbye ──► close
//!  2 limits.write_stall  (TLS, FIN)    limits.linger
//! ```

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;

use super::Tcp;
use super::clock::Clock;

/// Ends a connection on which everything was written, without the wait for the peer unless it `lingers`. To be dropped when the
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

/// Ends a connection at once: the kernel delivers the rest by itself.
pub(super) async fn end_now(io: &mut (impl AsyncWrite + Tcp + Unpin)) {
    let _ = io.shutdown().await;
    let mut bin = [0; 4096];
    while matches!(io.tcp().try_read(&mut bin), Ok(1..)) {}
}

/// Breaks a connection off: its peer stopped reading, so what the kernel holds for it is of no use.
pub(super) fn abort(io: &impl Tcp) {
    let _ = SockRef::from(io.tcp()).set_linger(Some(Duration::ZERO));
}

/// Waits until the kernel has sent everything, as far as the peer has room for it.
async fn sent(tcp: &TcpStream) -> io::Result<()> {
    // From now on a connection counts as writable only while nothing is unsent.
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

/// Reads what the peer still sends, for the bin. False once it says goodbye.
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
