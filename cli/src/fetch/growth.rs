//! How much of a download is there, and a reader of its part that waits for the rest.
//!
//! A bundle is written while its files still arrive. What such a reader has read was not verified yet; its end is only
//! reached once the whole file was. A download that starts over makes an error of it, [`StartedOver`].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// How much of one download is there.
#[derive(Debug, Default)]
pub(super) struct Growth {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    bytes: u64,
    restarts: u32,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Whole,
    Failed,
}

/// The download began again from the start, so what was read of it counts no more.
#[derive(Debug, thiserror::Error)]
#[error("the download started over")]
pub(super) struct StartedOver;

impl StartedOver {
    /// Whether it is why something could not be written.
    pub(super) fn is(error: &anyhow::Error) -> bool {
        let io = error.downcast_ref::<io::Error>();
        io.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<Self>())
    }
}

impl Growth {
    /// The part has so many bytes. Fewer than before must be said before any is taken away.
    pub(super) fn reached(&self, bytes: u64) {
        self.change(|state| {
            state.restarts += u32::from(bytes < state.bytes);
            state.bytes = bytes;
        });
    }

    /// The file is complete and has its digest.
    pub(super) fn whole(&self) {
        self.change(|state| state.end = Some(End::Whole));
    }

    /// The download ended; it failed, if the file was not whole by now.
    pub(super) fn over(&self) {
        self.change(|state| state.end = state.end.or(Some(End::Failed)));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Reads the part from its beginning.
    ///
    /// # Errors
    /// The part cannot be opened.
    pub(super) fn read(self: Arc<Self>, part: &Path) -> io::Result<impl Read + use<>> {
        let restarts = self.wait(|_| true).restarts;
        // A download makes its file before it says anything.
        let _ = self.wait(|state| state.bytes > 0 || state.end.is_some());
        Ok(Growing { file: File::open(part)?, growth: self, restarts, at: 0 })
    }

    fn wait(&self, enough: impl Fn(&State) -> bool) -> State {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *self.changed.wait_while(state, |state| !enough(state)).unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part that may still grow.
struct Growing {
    file: File,
    growth: Arc<Growth>,
    restarts: u32,
    at: u64,
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (at, restarts) = (self.at, self.restarts);
        let state = self.growth.wait(|now| now.bytes > at || now.restarts != restarts || now.end.is_some());
        if state.restarts != restarts {
            return Err(io::Error::other(StartedOver));
        }
        if let Some(End::Failed) = state.end {
            return Err(io::Error::other("its download failed"));
        }
        let most = usize::try_from(state.bytes - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    /// Reads in another thread, and tells after each read.
    fn beside(
        growth: &Arc<Growth>,
        part: &Path,
    ) -> (thread::JoinHandle<io::Result<Vec<u8>>>, std::sync::mpsc::Receiver<usize>) {
        let (growth, part, (sender, receiver)) = (Arc::clone(growth), part.to_owned(), channel());
        let reading = thread::spawn(move || {
            let mut reader = growth.read(&part)?;
            let (mut all, mut buffer) = (Vec::new(), [0; 7]);
            loop {
                let read = reader.read(&mut buffer)?;
                all.extend_from_slice(&buffer[..read]);
                let _ = sender.send(all.len());
                if read == 0 {
                    return Ok(all);
                }
            }
        });
        (reading, receiver)
    }

    #[test]
    fn a_reader_gets_what_is_there_and_ends_when_the_file_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (part, growth) = (folder.path().join("part"), Arc::new(Growth::default()));
        let (reading, seen) = beside(&growth, &part);
        fs::write(&part, "0123456789").unwrap();
        growth.reached(3);
        assert_eq!(seen.recv().unwrap(), 3, "no more than was said to be there");
        growth.reached(10);
        assert!(seen.iter().any(|read| read == 10));
        assert!(!reading.is_finished(), "its digest is not known yet");
        growth.whole();
        growth.over();
        assert_eq!(reading.join().unwrap().unwrap(), b"0123456789");
    }

    #[test]
    fn a_download_that_starts_over_or_fails_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("part");
        fs::write(&part, "0123456789").unwrap();
        let outcome = |then: fn(&Growth)| {
            let growth = Arc::new(Growth::default());
            growth.reached(10);
            let (reading, seen) = beside(&growth, &part);
            assert!(seen.iter().any(|read| read == 10));
            then(&growth);
            reading.join().unwrap()
        };
        let started_over = |error: io::Error| StartedOver::is(&error.into());
        // Also when as much is there again before anybody looks.
        let error = outcome(|growth| {
            growth.reached(0);
            growth.reached(10);
            growth.whole();
        });
        assert!(started_over(error.unwrap_err()));
        assert!(!started_over(outcome(Growth::over).unwrap_err()));
        assert!(outcome(Growth::whole).is_ok());
    }
}
