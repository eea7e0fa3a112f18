//! Notices a database that was put back to an earlier state, by whatever tool: an older dump, a copied file, a snapshot.
//!
//! ```text
//! 1048577 uXfKRqMuvGUS4uQbJoDPpUkN2gBMxoyZZ8Wz5qZs3UcG_l0Yv0kz4SPPlaZqP4nB      DATA-DIR/last-nonce
//! ```
//!
//! Each server notes beside the database which nonce it spent last, and its epoch. A database that does not know that
//! nonce, though it still keeps its epoch, has forgotten what was spent: then every nonce of before is given up. A server
//! that has noted nothing yet cannot tell, and does the same.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use tracing::warn;

use crate::storage::Database;
use crate::storage::error::StorageError;

/// The name of the file in the data directory.
const FILE: &str = "last-nonce";

/// What one server knows of the database by itself.
pub(super) struct Witness {
    path: PathBuf,
    /// Held while a note is written: two sessions that begin at one moment must not share a draft.
    writing: Mutex<()>,
}

/// A spent nonce.
#[derive(Debug, PartialEq, Eq)]
struct Noted {
    epoch: i64,
    key: String,
}

impl Witness {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FILE), writing: Mutex::default() }
    }

    /// Notes that a nonce was spent. A note that cannot be written is told of, and is no reason to refuse a device.
    pub(super) fn note(&self, epoch: i64, key: &str) {
        if let Err(failure) = self.write(epoch, key) {
            let path = self.path.display();
            warn!(error = &failure as &dyn std::error::Error, "Cannot write {path}");
        }
    }

    /// Renamed into place, so that what is read is whole; not flushed, since a lost note costs a few devices a second try.
    fn write(&self, epoch: i64, key: &str) -> io::Result<()> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let draft = self.path.with_extension("draft");
        fs::write(&draft, format!("{epoch} {key}\n"))?;
        fs::rename(draft, &self.path)
    }

    fn noted(&self) -> Option<Noted> {
        let text = fs::read_to_string(&self.path).ok()?;
        let (epoch, key) = text.trim_end().split_once(' ')?;
        Some(Noted { epoch: epoch.parse().ok()?, key: key.to_owned() })
    }

    /// Does the database, whose newest epoch is given, know all that this server spent?
    pub(super) async fn recognises(&self, database: &Database, newest: i64) -> Result<bool, StorageError> {
        match self.noted() {
            // Its epoch is over, and so is that of all that was spent before it.
            Some(noted) if noted.epoch < newest - 1 => Ok(true),
            Some(noted) => database.is_spent(&noted.key).await,
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_at_the_same_moment_leave_a_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::new(folder.path());
        witness.note(7, "abc");
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..500).for_each(|number| witness.note(7, &"k".repeat(number % 64 + 1))))
                })
                .collect();
            while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                assert!(witness.noted().is_some(), "{:?}", fs::read_to_string(&witness.path));
            }
        });
    }

    #[test]
    fn a_note_is_read_as_written_and_nothing_else_is_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::new(folder.path());
        assert_eq!(witness.noted(), None);
        witness.note(7, "abc");
        witness.note(8, "def");
        assert_eq!(witness.noted(), Some(Noted { epoch: 8, key: "def".into() }));
        for odd in ["", "8", "x def", "99999999999999999999 def"] {
            fs::write(folder.path().join(FILE), odd).unwrap();
            assert_eq!(witness.noted(), None, "{odd}");
        }
    }
}
