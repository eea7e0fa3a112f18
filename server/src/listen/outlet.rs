//! Bytes of a file that go from the page cache to the socket inside the kernel.
//!
//! hyper frames an answer and never reads its bytes. So a body may give hyper a marker, a piece of one buffer that is known
//! by its address, and note which bytes of which file it stands for. [`Guarded`](super::guarded::Guarded) has the kernel
//! send those bytes where the marker comes up. A body gives markers only once its connection has agreed to, and a marker
//! that stands for nothing breaks the connection.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio_util::bytes::Bytes;

/// The most bytes that one marker stands for: each costs a look at the page cache and a way through hyper.
pub(crate) const MARKED: usize = 1024 * 1024;

/// What markers are cut from. Nobody reads or writes it, so it takes no memory.
static MARKER: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![0; MARKED]));

/// The way from a body to the connection that sends it: an extension of the response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlet(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    connected: bool,
    pieces: VecDeque<Piece>,
    /// What the kernel had to read the disk for.
    from_disk: Vec<Range<u64>>,
    failure: Option<io::Error>,
}

/// Bytes of a file that are to be sent.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) file: Arc<File>,
    pub(super) position: u64,
    pub(super) length: usize,
}

impl Outlet {
    /// Does the connection send pieces of files?
    pub(crate) fn is_connected(&self) -> bool {
        self.state().connected
    }

    /// The marker of at most [`MARKED`] bytes of a file.
    pub(crate) fn mark(&self, file: &Arc<File>, position: u64, length: usize) -> Bytes {
        let length = length.min(MARKED);
        self.state().pieces.push_back(Piece { file: Arc::clone(file), position, length });
        MARKER.slice(..length)
    }

    /// The bytes of the file for which the kernel had to read the disk since this was asked last.
    pub(crate) fn read_from_disk(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.state().from_disk)
    }

    /// How many bytes of the pieces were not sent.
    pub(crate) fn unsent(&self) -> u64 {
        self.state().pieces.iter().map(|piece| piece.length as u64).sum()
    }

    /// Why a piece could not be sent.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.state().failure.take()
    }

    pub(super) fn connect(&self) {
        self.state().connected = true;
    }

    /// What is to be sent next.
    pub(super) fn next(&self) -> Option<Piece> {
        self.state().pieces.front().cloned()
    }

    /// So many bytes of the next piece were sent.
    pub(super) fn sent(&self, count: usize, read_disk: bool) {
        let mut state = self.state();
        let Some(piece) = state.pieces.front_mut() else { return };
        let from = piece.position;
        piece.position += count as u64;
        piece.length -= count;
        let sent = from..piece.position;
        if piece.length == 0 {
            state.pieces.pop_front();
        }
        if read_disk {
            state.from_disk.push(sent);
        }
    }

    pub(super) fn fail(&self, error: io::Error) {
        self.state().failure = Some(error);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is this a marker, or what is left of one?
pub(super) fn is_marker(bytes: &[u8]) -> bool {
    !bytes.is_empty() && MARKER.as_ptr_range().contains(&bytes.as_ptr())
}
