//! How many unsent bytes the kernel holds for a peer.
//!
//! A slow reader must allow steady progress: with the megabytes that the kernel buffers by default, a device that
//! reads 4 KiB/s looks stalled for minutes. A fast one takes what it is given, and the fewer times the kernel asks for
//! more, the less each byte costs. So a connection starts shallow, and gets deep once the peer has taken megabytes as fast as
//! a local network carries them. It is shallow again the first time that the peer lets it wait.

use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many unsent bytes the kernel holds for a peer that was not seen to be fast.
const SHALLOW: u32 = 128 * 1024;

/// The same for a fast peer.
const DEEP: u32 = 1024 * 1024;

/// How many connections may be deep at a time: more share what the machine can send, so none of them is fast.
pub(super) static PLACES: Semaphore = Semaphore::const_new(64);

/// The rate of a fast peer, in bytes per second.
const FAST: f64 = 8.0 * 1024.0 * 1024.0;

/// How many times in a row a peer must have been fast. The kernel asks for more when half of what it may hold has left, so
/// these are 4 MiB: more than a peer's kernel takes while nobody reads.
const TIMES: u32 = 64;

/// How deep one connection is.
#[derive(Debug, Default)]
pub(super) struct Depth {
    /// Since when the kernel accepts nothing.
    waiting: Option<Instant>,
    fast_in_a_row: u32,
    /// Kept for as long as the kernel may hold what a fast peer has.
    place: Option<SemaphorePermit<'static>>,
    /// Will it be shallow once the kernel accepts more?
    ebbs: bool,
}

impl Depth {
    /// Starts shallow. A connection that rejects this is served anyway; usually the peer is already gone.
    pub(super) fn begin(tcp: &TcpStream) {
        let _ = SockRef::from(tcp).set_tcp_notsent_lowat(SHALLOW);
    }

    /// Can the kernel hold as much for this peer as for a fast one?
    pub(super) fn is_deep(&self) -> bool {
        self.place.is_some()
    }

    /// The kernel accepts nothing more for now.
    pub(super) fn waits(&mut self) {
        self.waiting.get_or_insert_with(Instant::now);
    }

    /// Does the kernel accept nothing?
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// The kernel accepts more again.
    pub(super) fn moves(&mut self, tcp: &TcpStream) {
        let Some(since) = self.waiting.take() else { return };
        if std::mem::take(&mut self.ebbs) {
            self.place = None;
        }
        let left = f64::from(if self.is_deep() { DEEP } else { SHALLOW } / 2);
        if since.elapsed() > Duration::from_secs_f64(left / FAST) {
            self.fast_in_a_row = 0;
            if self.is_deep() {
                self.ebbs = true;
                Self::begin(tcp);
            }
            return;
        }
        self.fast_in_a_row = self.fast_in_a_row.saturating_add(1);
        if self.fast_in_a_row >= TIMES && !self.is_deep() {
            self.place = PLACES.try_acquire().ok();
            if self.is_deep() {
                let _ = SockRef::from(tcp).set_tcp_notsent_lowat(DEEP);
            }
        }
    }
}
