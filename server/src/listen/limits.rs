//! Time and size limits of the accept loop.

use std::time::Duration;

/// The limits of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// From accepting to the end of the (TLS) handshake.
    pub(crate) handshake: Duration,
    /// From the first byte of a request (for the first one, from the handshake) to the end of its head.
    pub(crate) head: Duration,
    /// Between two chunks of a request body that a handler waits for.
    pub(crate) body_idle: Duration,
    /// Without the peer accepting any byte of an answer, as far as our kernel knows. The peer's kernel announces room
    /// only when it has plenty: with a receive buffer of 1 MiB this took 95 s at 4 KiB/s, the slowest rate that must
    /// never be cut off.
    pub(crate) write_stall: Duration,
    /// Between an answer and the next request. snapd keeps connections for 90 s.
    pub(crate) idle: Duration,
    /// From the end of our stream to the close, for a peer that keeps sending.
    pub(crate) linger: Duration,
    /// The same for a silent peer.
    pub(crate) linger_quiet: Duration,
    /// Time for requests in flight after a shutdown was requested.
    pub(crate) drain: Duration,
    /// Open connections per address (per /64 in IPv6). Many devices may share a gateway.
    pub(crate) per_address: usize,
    /// Open connections in total; fewer if the process may not open enough descriptors.
    pub(crate) total: usize,
    /// Bytes of a request head.
    pub(crate) head_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(15),
            head: Duration::from_secs(15),
            body_idle: Duration::from_secs(15),
            write_stall: Duration::from_secs(120),
            idle: Duration::from_secs(100),
            linger: Duration::from_secs(30),
            linger_quiet: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            per_address: 512,
            total: 4096,
            head_bytes: 16 * 1024,
        }
    }
}

impl Limits {
    /// The defaults but for what a text names, such as `head=2000,per_address=16`, in milliseconds and numbers.
    pub(crate) fn with(text: &str) -> Self {
        let mut limits = Self::default();
        for (name, value) in text.split(',').filter_map(|part| part.split_once('=')) {
            let Ok(number) = value.parse::<u32>() else { continue };
            let (time, count) = (Duration::from_millis(number.into()), number as usize);
            match name {
                "handshake" => limits.handshake = time,
                "head" => limits.head = time,
                "body_idle" => limits.body_idle = time,
                "write_stall" => limits.write_stall = time,
                "idle" => limits.idle = time,
                "linger" => limits.linger = time,
                "linger_quiet" => limits.linger_quiet = time,
                "per_address" => limits.per_address = count,
                "total" => limits.total = count,
                _ => {}
            }
        }
        limits
    }
}
