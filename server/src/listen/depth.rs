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
pub(super) const SHALLOW: u32 = 128 * 1024;

/// How many connections may be deep at a time: more share what the machine can send, so none of them is fast.
pub(super) static PLACES: Semaphore = Semaphore::const_new(64);

/// The rate of a fast peer, in bytes per second.
const FAST: f64 = 8.0 * 1024.0 * 1024.0;

/// How many times in a row a peer must have been fast. The kernel asks for more when half of what it may hold has left, so
/// these are 4 MiB: more than a peer's kernel takes while nobody reads.
const TIMES: u32 = 64;

/// What the kernel is given to send.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given {
    /// Bytes, which it copies.
    Bytes,
    /// Pages of the page cache, which are in memory anyway.
    Pages,
}

impl Given {
    /// How many unsent bytes of this the kernel holds for a fast peer. Of pages, these are as many as a connection has room for
    /// by default (`tcp_wmem`).
    fn deep(self) -> u32 {
        match self {
            Given::Bytes => 1024 * 1024,
            Given::Pages => 4 * 1024 * 1024,
        }
    }
}

/// How deep one connection is.
#[derive(Debug)]
pub(super) struct Depth {
    /// Since when the kernel accepts nothing.
    waiting: Option<Instant>,
    fast_in_a_row: u32,
    /// Kept for as long as the kernel may hold what a fast peer has.
    place: Option<SemaphorePermit<'static>>,
    /// How many unsent bytes the kernel accepts, and how many it may hold from before that was set.
    accepted: u32,
    held: u32,
}

impl Depth {
    /// Starts shallow. A connection that rejects this is served anyway; usually the peer is already gone.
    pub(super) fn begin(tcp: &TcpStream) -> Depth {
        let _ = SockRef::from(tcp).set_tcp_notsent_lowat(SHALLOW);
        Depth { waiting: None, fast_in_a_row: 0, place: None, accepted: SHALLOW, held: SHALLOW }
    }

    /// The most bytes that the kernel may hold at this time.
    pub(super) fn held(&self) -> u32 {
        self.held
    }

    /// Has the kernel accept what this peer may have of that which is sent next.
    pub(super) fn adapt(&mut self, tcp: &TcpStream, given: Given) {
        let is_fast = self.place.is_some() && self.fast_in_a_row > 0;
        let accepted = if is_fast { given.deep() } else { SHALLOW };
        if accepted != self.accepted {
            let _ = SockRef::from(tcp).set_tcp_notsent_lowat(accepted);
            self.accepted = accepted;
            self.held = self.held.max(accepted);
        }
    }

    /// The kernel accepts nothing more for now.
    pub(super) fn waits(&mut self) {
        self.waiting.get_or_insert_with(Instant::now);
    }

    /// Does the kernel accept nothing?
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// The kernel accepts more again: half of what it accepts has left, and all that it held beyond.
    pub(super) fn moves(&mut self) {
        let Some(since) = self.waiting.take() else { return };
        let left = f64::from(self.held / 2);
        self.held = self.accepted;
        if self.held == SHALLOW {
            self.place = None;
        }
        if since.elapsed() > Duration::from_secs_f64(left / FAST) {
            self.fast_in_a_row = 0;
            return;
        }
        self.fast_in_a_row = self.fast_in_a_row.saturating_add(1);
        if self.fast_in_a_row >= TIMES && self.place.is_none() {
            self.place = PLACES.try_acquire().ok();
        }
    }
}
