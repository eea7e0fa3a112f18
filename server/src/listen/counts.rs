//! Counters of the accept loop: accepted and refused connections, and why connections were closed.

use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::Expiry;

/// Reasons why the server closed a connection, in the order of [`Counts::closed`].
pub(crate) const CLOSED: [&str; 7] =
    ["handshake", "head", "idle", "write-stall", "drain", "room", "handshake-failed"];
const ROOM: usize = 5;
const HANDSHAKE_FAILED: usize = 6;

/// Counters over all connections of one server. They only grow.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    accepted: AtomicU64,
    refused_address: AtomicU64,
    refused_total: AtomicU64,
    not_accepted: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    closed: [AtomicU64; CLOSED.len()],
}

/// A snapshot of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Accepted connections.
    pub(crate) accepted: u64,
    /// Connections refused because of their address's cap.
    pub(crate) refused_address: u64,
    /// Connections refused because of the total cap.
    pub(crate) refused_total: u64,
    /// Failed accepts due to a lack of descriptors or memory.
    pub(crate) not_accepted: u64,
    /// Bytes of requests, without TLS overhead.
    pub(crate) received: u64,
    /// Bytes of answers, without TLS overhead.
    pub(crate) sent: u64,
    /// Connections closed by the server, by the reasons in [`CLOSED`].
    pub(crate) closed: [u64; CLOSED.len()],
}

impl Counts {
    pub(super) fn accepted(&self) {
        add(&self.accepted, 1);
    }

    pub(super) fn refused_address(&self) {
        add(&self.refused_address, 1);
    }

    pub(super) fn refused_total(&self) {
        add(&self.refused_total, 1);
    }

    pub(super) fn not_accepted(&self) {
        add(&self.not_accepted, 1);
    }

    pub(super) fn received(&self, bytes: usize) {
        add(&self.received, bytes as u64);
    }

    pub(super) fn sent(&self, bytes: usize) {
        add(&self.sent, bytes as u64);
    }

    pub(super) fn made_room(&self) {
        add(&self.closed[ROOM], 1);
    }

    pub(super) fn handshake_failed(&self) {
        add(&self.closed[HANDSHAKE_FAILED], 1);
    }

    pub(super) fn expired(&self, expiry: Expiry) {
        let at = match expiry {
            Expiry::Handshake => 0,
            Expiry::Head => 1,
            Expiry::Idle => 2,
            Expiry::WriteStall => 3,
            Expiry::Drain => 4,
            // The answer was delivered, so not waiting any longer is not a fault.
            Expiry::Linger => return,
        };
        add(&self.closed[at], 1);
    }

    /// The current counters.
    pub(crate) fn now(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            accepted: read(&self.accepted),
            refused_address: read(&self.refused_address),
            refused_total: read(&self.refused_total),
            not_accepted: read(&self.not_accepted),
            received: read(&self.received),
            sent: read(&self.sent),
            closed: std::array::from_fn(|at| read(&self.closed[at])),
        }
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
