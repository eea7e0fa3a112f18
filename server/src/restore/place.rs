//! The stage, and the moves from it to the data directory, which an interruption can only delay.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use schema::config::{FILE_NAME, Settings};
use schema::digest::Sha3_384;
use tracing::info;

use super::error::RestoreError;
use super::sync;
use crate::clock;
use crate::site::{database_settings, shown_database};
use crate::storage::error::StorageError;
use crate::storage::{Database, Settings as DatabaseSettings};

/// The folder of a restore in the data directory.
const STAGE: &str = ".restore";
/// Marks that everything in the stage is checked and durable.
const READY: &str = "ready";
/// What is moved, in this order: the configuration last.
const MOVES: [&str; 5] = ["blobs", "ca", "acme", "airlock.db", FILE_NAME];
/// Names that an empty data directory may hold.
const IGNORED: [&str; 2] = [STAGE, "lost+found"];

/// The database in a folder.
pub(super) fn database_file(folder: &Path) -> PathBuf {
    folder.join("airlock.db")
}

/// The path of a file in a stage; creates its folder.
pub(super) fn blob_file(folder: &Path, digest: &Sha3_384) -> Result<PathBuf, RestoreError> {
    let name = digest.to_hex();
    let parent = folder.join("blobs").join(&name[..2]);
    make(&parent)?;
    Ok(parent.join(name))
}

/// Closes an embedded database so that no log remains next to its file.
pub(super) fn close(database: Database, path: &Path) -> Result<(), RestoreError> {
    drop(database);
    let lock = path.with_extension("lock");
    fs::remove_file(&lock).map_err(RestoreError::io("remove", &lock))?;
    let log = path.with_extension("db-wal");
    match log.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(RestoreError::io("fold into the database", log)(io::Error::from(
            io::ErrorKind::AlreadyExists,
        ))),
        Err(source) => Err(RestoreError::io("look at", log)(source)),
    }
}

fn make(folder: &Path) -> Result<(), RestoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o750).create(folder);
    made.map_err(RestoreError::io("make", folder))
}

/// The remains of an earlier restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// None.
    Nothing,
    /// An unfinished one, which was removed.
    Cleared,
    /// A checked one, which is now in place.
    Finished,
}

/// Removes what an interrupted restore left before it was ready, or finishes one that was.
///
/// # Errors
/// A restore is running, or the remains cannot be handled now.
pub(crate) async fn settle(data_dir: &Path) -> Result<Settled, RestoreError> {
    let folder = data_dir.join(STAGE);
    match folder.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(Settled::Nothing),
        Err(source) => return Err(RestoreError::io("look at", folder)(source)),
    }
    let stage = Stage::locked(data_dir, false)?;
    if folder.join(READY).exists() {
        stage.place().await?;
        info!("A restore that was cut off is finished");
        return Ok(Settled::Finished);
    }
    stage.discard()?;
    info!("A restore was cut off: what it left is removed");
    Ok(Settled::Cleared)
}

/// A restore's folder. Locked as long as it is held.
pub(super) struct Stage {
    data_dir: PathBuf,
    folder: PathBuf,
    /// Whether the data directory was created for it.
    made: bool,
    _lock: File,
}

impl Stage {
    /// Creates a stage in an empty data directory, which is created if it does not exist.
    pub(super) fn open(data_dir: &Path) -> Result<Self, RestoreError> {
        let looking = |source| RestoreError::io("look into", data_dir)(source);
        let made = !data_dir.try_exists().map_err(looking)?;
        if !made {
            let mut there = Vec::new();
            for entry in fs::read_dir(data_dir).map_err(looking)? {
                let name = entry.map_err(looking)?.file_name().to_string_lossy().into_owned();
                if !IGNORED.contains(&name.as_str()) {
                    there.push(name);
                }
            }
            there.sort();
            if !there.is_empty() {
                return Err(RestoreError::Taken { data_dir: data_dir.to_owned(), what: there.join(", ") });
            }
        }
        make(data_dir)?;
        let folder = data_dir.join(STAGE);
        let staged = DirBuilder::new().mode(0o700).create(&folder);
        staged.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => RestoreError::Busy(data_dir.to_owned()),
            _ => RestoreError::io("make", &folder)(error),
        })?;
        Self::locked(data_dir, made)
    }

    fn locked(data_dir: &Path, made: bool) -> Result<Self, RestoreError> {
        let folder = data_dir.join(STAGE);
        let lock = File::open(&folder).map_err(RestoreError::io("open", &folder))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { data_dir: data_dir.to_owned(), folder, made, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(RestoreError::Busy(data_dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(RestoreError::io("lock", folder)(source)),
        }
    }

    /// The folder for unpacking.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The destination.
    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// From here on the stage is the host, whatever happens.
    pub(super) fn mark_ready(&self) -> Result<(), RestoreError> {
        let ready = self.folder.join(READY);
        sync(&self.folder)
            .and_then(|()| File::create(&ready)?.sync_all())
            .and_then(|()| File::open(&self.folder)?.sync_all())
            .map_err(RestoreError::io("write", ready))
    }

    /// Removes the stage, and a data directory that was created for it.
    pub(super) fn discard(&self) -> Result<(), RestoreError> {
        fs::remove_dir_all(&self.folder).map_err(RestoreError::io("remove", &self.folder))?;
        match self.made {
            true => fs::remove_dir(&self.data_dir).map_err(RestoreError::io("remove", &self.data_dir)),
            false => Ok(()),
        }
    }

    /// Moves everything to its final place. May be interrupted and run again.
    pub(super) async fn place(&self) -> Result<(), RestoreError> {
        if self.folder.join(FILE_NAME).exists() {
            self.copy_database().await?;
        }
        failpoint!("restore.copied");
        for name in MOVES {
            let (from, to) = (self.folder.join(name), self.data_dir.join(name));
            if from.exists() {
                if to.exists() {
                    let what = name.to_owned();
                    return Err(RestoreError::Taken { data_dir: self.data_dir.clone(), what });
                }
                fs::rename(&from, &to).map_err(RestoreError::io("move", &from))?;
                failpoint!("restore.moved");
            }
        }
        sync(&self.data_dir).map_err(RestoreError::io("flush", &self.data_dir))?;
        fs::remove_dir_all(&self.folder).map_err(RestoreError::io("remove", &self.folder))
    }

    /// Fills the database of the other engine, unless that was done already.
    async fn copy_database(&self) -> Result<(), RestoreError> {
        let settings = Settings::load(&self.folder)?;
        let path = database_file(&self.folder);
        let target = database_settings(&self.data_dir, &settings);
        if matches!(target, DatabaseSettings::Sqlite(_)) || !path.exists() {
            return Ok(());
        }
        let staged = Database::open(&DatabaseSettings::Sqlite(path.clone())).await?;
        let target = Database::open(&target).await?;
        if target.restored_as().await? != staged.restored_as().await? {
            match staged.copy_to(&target, clock::micros()).await {
                // Another host filled it in between: it is not this host's.
                Err(StorageError::NotEmpty) => {
                    self.discard()?;
                    return Err(RestoreError::DatabaseTaken(shown_database(&settings)));
                }
                done => done?,
            }
        }
        close(staged, &path)?;
        fs::remove_file(&path).map_err(RestoreError::io("remove", path))
    }
}
