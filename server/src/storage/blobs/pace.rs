//! How fast stored files are read.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How fast files are read by all who share it, how much that was, and whether to go on.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes in a second; none for as fast as can be.
    rate: Option<u64>,
    /// When the next bytes may be read.
    next: Mutex<Instant>,
    read: AtomicU64,
    stopped: AtomicBool,
}

impl Pace {
    /// At most `rate` bytes in a second.
    pub(crate) fn new(rate: Option<u64>) -> Pace {
        let rate = rate.filter(|rate| *rate > 0);
        Pace {
            rate,
            next: Mutex::new(Instant::now()),
            read: AtomicU64::default(),
            stopped: AtomicBool::default(),
        }
    }

    /// Bytes read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Nothing more is read.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Accounts for bytes that were read, and waits until it is time for the next. Blocks.
    pub(super) fn took(&self, bytes: usize) -> io::Result<()> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("the reader was told to stop"));
        }
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        let Some(rate) = self.rate else { return Ok(()) };
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let now = Instant::now();
        let wait = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next = (*next).max(now) + cost;
            *next - now
        };
        std::thread::sleep(wait);
        Ok(())
    }
}
