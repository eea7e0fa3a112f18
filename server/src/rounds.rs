//! Rounds: each reads all files once. An interrupted one continues where it was, also after a restart.
//!
//! `DATA/verify.json` records the progress of the current round and the result of the last one. Losing it only means
//! reading some files again.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use schema::digest::Sha3_384;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tracing::warn;

use crate::clock;

/// An unfinished round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Up to here everything was read, in the order of digests; in hexadecimal, empty at the beginning.
    pub(crate) position: String,
    /// Files read so far.
    pub(crate) blobs: usize,
    /// Bytes that these have together.
    pub(crate) bytes: u64,
}

impl Round {
    /// Was this blob read already?
    pub(crate) fn has_passed(&self, digest: &Sha3_384) -> bool {
        digest.to_hex() <= self.position
    }
}

/// A finished round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// When, in microseconds since 1970.
    pub(crate) at_micros: i64,
    /// Files read.
    pub(crate) blobs: usize,
    /// Bytes read.
    pub(crate) bytes: u64,
    /// Problems found.
    pub(crate) problems: usize,
    /// Problems other than damaged files, whose current state is reported instead.
    pub(crate) others: usize,
}

/// The state kept between starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    round: Option<Round>,
    last: Option<Finished>,
}

/// The rounds of a store.
#[derive(Debug)]
pub(crate) struct Rounds {
    path: PathBuf,
    memory: Mutex<Memory>,
    /// Held by the one that reads.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// An operator waits for the turn.
    pub(crate) wanted: Notify,
}

impl Rounds {
    /// Loads the state from the data directory.
    pub(crate) fn open(data_dir: &std::path::Path) -> Rounds {
        let path = data_dir.join("verify.json");
        let memory = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                warn!(%error, "Cannot understand {}: the next check begins at the beginning", path.display());
                Memory::default()
            }),
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    warn!(%error, "Cannot read {}: the next check begins at the beginning", path.display());
                }
                Memory::default()
            }
        };
        Rounds { path, memory: Mutex::new(memory), turn: Default::default(), wanted: Notify::new() }
    }

    /// The round that has not ended.
    pub(crate) fn current(&self) -> Option<Round> {
        self.memory().round.clone()
    }

    /// The last finished round.
    pub(crate) fn last(&self) -> Option<Finished> {
        self.memory().last.clone()
    }

    /// Files read by the unfinished round.
    pub(crate) fn read_so_far(&self) -> Option<usize> {
        self.memory().round.as_ref().map(|round| round.blobs)
    }

    /// Is it time, when a round is to begin every so many seconds? A clock that went back makes it so, once.
    pub(crate) fn is_due(&self, interval_seconds: u64) -> bool {
        let memory = self.memory();
        let interval = i64::try_from(interval_seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let age = memory.last.as_ref().map(|last| clock::micros().saturating_sub(last.at_micros));
        memory.round.is_some() || age.is_none_or(|age| age < 0 || age >= interval)
    }

    /// When a round is to begin; `None` when that is now.
    pub(crate) fn due(&self, interval_seconds: u64) -> Option<OffsetDateTime> {
        let (memory, interval) = (self.memory(), i64::try_from(interval_seconds).ok()?);
        let last = memory.last.as_ref().filter(|_| memory.round.is_none())?.at_micros;
        // The clock went back since.
        let last = Some(last).filter(|last| *last <= clock::micros())? / 1_000_000;
        OffsetDateTime::from_unix_timestamp(last.checked_add(interval)?).ok()
    }

    /// The round has come this far.
    pub(crate) fn advance(&self, round: &Round) {
        self.memory().round = Some(round.clone());
    }

    /// The round has ended.
    pub(crate) fn finish(&self, finished: Finished) {
        *self.memory() = Memory { round: None, last: Some(finished) };
    }

    /// Writes down how far it is. Blocks for a moment.
    pub(crate) fn save(&self) {
        let write = || {
            let folder = self.path.parent().unwrap_or(&self.path);
            let mut file = NamedTempFile::new_in(folder)?;
            file.write_all(serde_json::json!(*self.memory()).to_string().as_bytes())?;
            file.persist(&self.path).map_err(|error| error.error)
        };
        if let Err(error) = write() {
            warn!(%error, "Cannot write {}: the next check may read some files again", self.path.display());
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_still_to_come_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let rounds = Rounds::open(folder.path());
        let ended = |at_micros| Finished { at_micros, blobs: 1, bytes: 1, problems: 0, others: 0 };
        rounds.finish(ended(clock::micros()));
        assert!(!rounds.is_due(3600) && rounds.due(3600).is_some());
        rounds.finish(ended(clock::micros() + 86_400_000_000));
        assert!(rounds.is_due(3600) && rounds.due(3600).is_none());
    }
}
