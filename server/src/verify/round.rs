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
use tokio::sync::Notify;
use tracing::warn;

use crate::clock;

/// An unfinished round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Round {
    /// The last digest read, in hexadecimal; empty at the start.
    pub(super) position: String,
    /// Files read so far.
    pub(super) blobs: usize,
    /// Their total size in bytes.
    pub(super) bytes: u64,
}

impl Round {
    /// Whether this blob was read already.
    pub(super) fn has_passed(&self, digest: &Sha3_384) -> bool {
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
    /// Held by the check that reads.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// An operator waits for the turn.
    pub(super) wanted: Notify,
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

    /// The unfinished round.
    pub(super) fn current(&self) -> Option<Round> {
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

    /// Whether a new round is due, given the interval in seconds. A clock that went back makes it due once.
    pub(super) fn is_due(&self, interval_seconds: u64) -> bool {
        let memory = self.memory();
        let interval = i64::try_from(interval_seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let age = memory.last.as_ref().map(|last| clock::micros().saturating_sub(last.at_micros));
        memory.round.is_some() || age.is_none_or(|age| age < 0 || age >= interval)
    }

    /// The round has come this far.
    pub(super) fn advance(&self, round: &Round) {
        self.memory().round = Some(round.clone());
    }

    /// The round has ended.
    pub(super) fn finish(&self, finished: Finished) {
        *self.memory() = Memory { round: None, last: Some(finished) };
    }

    /// Saves the progress. Blocks briefly.
    pub(super) fn save(&self) {
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
