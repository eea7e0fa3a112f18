//! Proves at startup that the embedded database continues from where this server left it, and was not restored in
//! between.
//!
//! ```text
//! 9jXzKRqMuvGUS4uQbJoDPg 1048577 uXfKRqMuvGUS4uQbJoDPpUkN…
//! /dev/shm/airlock-1000-b94d27b9934d3e08a52e52d7da7dabfa
//! ```
//!
//! The note holds the name of the database's life and the nonce that was spent last in it. It is kept in memory,
//! outside the data directory: restoring the directory, the volume or the whole machine restores no older note, and a
//! reboot leaves none. A database that does not match the note, or has none, may have forgotten spent nonces, so all
//! earlier nonces become void. PostgreSQL needs no note: the database itself shows whether it continues.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use rustix::fs::OFlags;
use schema::digest::hex;
use tracing::warn;

use crate::storage::Database;
use crate::storage::error::StorageError;
use crate::storage::records::Spent;

/// Where notes are kept: in memory, until the machine stops.
const FOLDER: &str = "/dev/shm";

/// What one server knows about the embedded database independently of it.
pub(super) struct Witness {
    path: PathBuf,
    /// The name of this life; `None` if the database tells its lives apart itself.
    life: Option<String>,
    /// Held while a note is written: two simultaneous sessions must not share a draft.
    writing: Mutex<()>,
}

impl Witness {
    pub(super) fn new(database: &Database, data_dir: &Path) -> Self {
        let life = database.life().map(str::to_owned);
        Self { path: place(Path::new(FOLDER), data_dir), life, writing: Mutex::default() }
    }

    /// Continues the life in the note if the database does. Returns the last spent nonce.
    pub(super) async fn go_on(&self, database: &Database) -> Result<Option<Spent>, StorageError> {
        let Some((life, last)) = self.life.as_ref().and_then(|_| self.noted()) else { return Ok(None) };
        let goes_on = database.go_on(&life, last.as_ref()).await?;
        Ok(last.filter(|_| goes_on))
    }

    /// Notes which nonce is spent next, or that none was yet. If that fails, no note is left, so that a note is never
    /// older than the last spent nonce.
    pub(super) fn note(&self, last: Option<&Spent>) {
        let Some(life) = &self.life else { return };
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match last {
            Some(Spent { epoch, key }) => format!("{life} {epoch} {key}\n"),
            None => format!("{life}\n"),
        };
        if let Err(failure) = self.write(&text) {
            let path = self.path.display();
            warn!(error = &failure as &dyn std::error::Error, "Cannot write {path}");
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Renamed into place, so that readers never see a partial note.
    fn write(&self, text: &str) -> io::Result<()> {
        let mut draft = tempfile::NamedTempFile::new_in(self.path.parent().unwrap_or(Path::new(FOLDER)))?;
        draft.write_all(text.as_bytes())?;
        draft.persist(&self.path).map(drop).map_err(|failure| failure.error)
    }

    fn noted(&self) -> Option<(String, Option<Spent>)> {
        let mut text = String::new();
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).ok()?;
        let mut note = fs::File::options().read(true).custom_flags(flags).open(&self.path).ok()?;
        note.read_to_string(&mut text).ok()?;
        let text = text.strip_suffix('\n')?;
        let Some((life, last)) = text.split_once(' ') else { return Some((text.to_owned(), None)) };
        let (epoch, key) = last.split_once(' ')?;
        Some((life.to_owned(), Some(Spent { epoch: epoch.parse().ok()?, key: key.to_owned() })))
    }
}

/// The path of the note for this user's data directory.
fn place(folder: &Path, data_dir: &Path) -> PathBuf {
    let named = fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let name = hex(&digest(&SHA256, named.as_os_str().as_encoded_bytes()).as_ref()[..16]);
    folder.join(format!("airlock-{}-{name}", rustix::process::geteuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(folder: &Path) -> Witness {
        Witness { path: folder.join("note"), life: Some("life".into()), writing: Mutex::default() }
    }

    fn spent(epoch: i64, key: &str) -> Spent {
        Spent { epoch, key: key.into() }
    }

    #[test]
    fn notes_at_the_same_moment_leave_a_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let witness = witness(folder.path());
        witness.note(None);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..500)
                            .for_each(|number| witness.note(Some(&spent(7, &"k".repeat(number % 64 + 1)))));
                    })
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
        let witness = witness(folder.path());
        assert_eq!(witness.noted(), None);
        witness.note(None);
        assert_eq!(witness.noted(), Some(("life".into(), None)));
        witness.note(Some(&spent(8, "def")));
        assert_eq!(witness.noted(), Some(("life".into(), Some(spent(8, "def")))));
        for odd in ["", "life", "life 8\n", "life x def\n", "life 99999999999999999999 def\n"] {
            fs::write(&witness.path, odd).unwrap();
            assert_eq!(witness.noted(), None, "{odd}");
        }
        // If writing fails, no older note may remain.
        fs::remove_file(&witness.path).unwrap();
        fs::create_dir(&witness.path).unwrap();
        witness.note(None);
        assert_eq!(witness.noted(), None);
    }

    #[test]
    fn each_data_directory_has_its_own_note() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| place(folder.path(), Path::new(name)));
        assert_ne!(one, other);
        assert_eq!(one.parent(), Some(folder.path()));
    }
}
