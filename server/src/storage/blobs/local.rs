//! Blobs in a folder: the data directory, or one shared by several servers. With a bucket, the folder is only for
//! staging.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use schema::digest::Sha3_384;
use tempfile::{NamedTempFile, TempPath};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::bytes::{Bytes, BytesMut};

use super::condition::{Condition, Harm, Identity, examine, open_regular};
use super::hashing::{Blocks, Whole};
use super::pace::Pace;
use super::{BLOCK, BlobError, Bucket, Source};
use crate::storage::records::BlobRecord;

/// The blobs of one folder or bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct BlobStore {
    pub(super) place: Arc<Place>,
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) blobs: PathBuf,
    staging: PathBuf,
    /// The bucket for published blobs, instead of `blobs`.
    pub(super) bucket: Option<Arc<Bucket>>,
    // Makes a file or folder durable; tests substitute a failing one.
    flush: fn(&File) -> io::Result<()>,
}

/// The result of clearing the staging folder.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Removed files.
    pub(crate) removed: usize,
    /// Files that stay until the object store answers.
    pub(crate) left: Vec<PathBuf>,
    /// Why it does not answer.
    pub(crate) trouble: Option<io::Error>,
}

/// How a blob was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// The blob is new.
    New,
    /// The blob was already there and intact.
    Already,
    /// The blob was there but damaged, and was replaced.
    Healed,
}

/// A published file, as the folder shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its name.
    pub(crate) digest: Sha3_384,
    /// Bytes.
    pub(crate) size: u64,
    /// When it was last written or published.
    pub(crate) changed: SystemTime,
}

impl BlobStore {
    /// Uses the folders `blobs` and `staging` in `data` and creates them if needed; `data` itself must exist.
    pub(crate) fn open(data: &Path) -> Result<BlobStore, BlobError> {
        BlobStore::open_with(data, File::sync_all)
    }

    /// As [`BlobStore::open`], with another way to make files durable.
    pub(super) fn open_with(data: &Path, flush: fn(&File) -> io::Result<()>) -> Result<BlobStore, BlobError> {
        let place = Place { blobs: data.join("blobs"), staging: data.join("staging"), bucket: None, flush };
        make_folder(&place.blobs).map_err(BlobError::io("make the folders for blobs"))?;
        BlobStore::open_place(data, place)
    }

    /// Keeps published blobs in a bucket; uses the folder `staging` in `data` and creates it if needed.
    pub(crate) fn open_bucket(data: &Path, bucket: Bucket) -> Result<BlobStore, BlobError> {
        let (blobs, staging) = (data.join("blobs"), data.join("staging"));
        let bucket = Some(Arc::new(bucket));
        BlobStore::open_place(data, Place { blobs, staging, bucket, flush: File::sync_all })
    }

    fn open_place(data: &Path, place: Place) -> Result<BlobStore, BlobError> {
        make_folder(&place.staging).map_err(BlobError::io("make the folders for blobs"))?;
        place.flush(data).map_err(BlobError::io("flush the data directory"))?;
        Ok(BlobStore { place: Arc::new(place) })
    }

    /// Removes staging files of writers that no longer run.
    ///
    /// # Errors
    /// This host's files cannot be inspected; a failure of the object store is part of the result.
    pub(crate) async fn recover(&self) -> Result<Recovered, BlobError> {
        let place = self.place.clone();
        blocking("clear the staging folder", move || {
            let entries = fs::read_dir(&place.staging)?;
            place.recover(entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?)
        })
        .await
    }

    /// As [`BlobStore::recover`], for the files that were left then.
    pub(crate) async fn recover_rest(&self, left: Vec<PathBuf>) -> Result<Recovered, BlobError> {
        let place = self.place.clone();
        blocking("clear the staging folder", move || place.recover(left)).await
    }

    /// Whether published blobs are in an object store.
    pub(crate) fn is_remote(&self) -> bool {
        self.place.bucket.is_some()
    }

    /// Where published blobs are, for people.
    pub(crate) fn shown(&self) -> String {
        match &self.place.bucket {
            Some(bucket) => bucket.shown(),
            None => self.place.blobs.display().to_string(),
        }
    }

    /// The folder of published blobs, if there is one.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.place.bucket.is_none().then_some(self.place.blobs.as_path())
    }

    /// The file of a blob, unless blobs are objects of a bucket.
    pub(crate) fn path_of(&self, digest: &Sha3_384) -> Option<PathBuf> {
        self.folder().map(|_| self.place.path(digest))
    }

    /// Tests whether blobs can be written and found.
    ///
    /// # Errors
    /// The file system is full, gone or read-only.
    pub(crate) async fn try_write(&self) -> Result<(), BlobError> {
        let place = self.place.clone();
        blocking("write a file", move || {
            NamedTempFile::new_in(&place.staging)?.write_all(&[0; 4096])?;
            match &place.bucket {
                Some(bucket) => bucket.try_write(),
                None => fs::read_dir(&place.blobs).map(drop),
            }
        })
        .await
    }

    /// Starts a blob of at most `limit` bytes.
    pub(crate) async fn stage(&self, limit: u64) -> Result<Staging, BlobError> {
        let place = self.place.clone();
        let file = blocking("make a staging file", move || {
            failpoint_io!("blob.stage")?;
            let file = NamedTempFile::new_in(&place.staging)?;
            file.as_file().try_lock().map_err(io::Error::from)?;
            Ok(file)
        })
        .await?;
        let idle = Writer { file, blocks: Blocks::new() };
        Ok(Staging {
            place: self.place.clone(),
            limit,
            size: 0,
            buffer: BytesMut::new(),
            work: Work::Idle(idle, Whole::new()),
        })
    }

    /// Opens a published blob after checking that it has `size` bytes. Blocks briefly.
    ///
    /// # Errors
    /// [`BlobError::Missing`], also if it is not a regular file, and [`BlobError::LengthMismatch`] are this store's
    /// fault, never the device's.
    pub(crate) fn open_blob(&self, digest: &Sha3_384, size: u64) -> Result<Source, BlobError> {
        if let Some(bucket) = &self.place.bucket {
            return bucket.open(digest, size).map(Source::Object);
        }
        let file = match open_regular(&self.place.path(digest)) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
                return Err(BlobError::Missing { digest: digest.to_hex() });
            }
            Err(source) => {
                return Err(BlobError::Io { action: "open a blob", source });
            }
        };
        let found = file.metadata().map_err(BlobError::io("look at a blob"))?.len();
        if found != size {
            return Err(BlobError::LengthMismatch { digest: digest.to_hex(), expected: size, found });
        }
        Ok(Source::File(file))
    }

    /// As [`BlobStore::open_blob`], but only checks whether it is possible.
    pub(crate) async fn look(&self, digest: Sha3_384, size: u64) -> Result<(), BlobError> {
        let blobs = self.clone();
        match spawn_blocking(move || blobs.open_blob(&digest, size)).await {
            Ok(result) => result.map(drop),
            Err(error) => Err(BlobError::Io { action: "look at a blob", source: error.into() }),
        }
    }

    /// Reads a whole blob at this rate and returns whether it matches its name.
    ///
    /// # Errors
    /// Only errors that say nothing about the blob.
    pub(crate) async fn examine(
        &self,
        digest: Sha3_384,
        size: u64,
        pace: Arc<Pace>,
    ) -> Result<Condition, BlobError> {
        let place = self.place.clone();
        blocking("read a blob", move || match &place.bucket {
            Some(bucket) => bucket.examine(&digest, size, &pace),
            None => examine(&place.path(&digest), &digest, size, &pace),
        })
        .await
    }

    /// Every published file. Anything else in the folder is ignored.
    ///
    /// # Errors
    /// As soon as any entry cannot be inspected.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, BlobError> {
        let place = self.place.clone();
        blocking("list the blobs", move || place.list()).await
    }

    /// Removes published files; in a folder they are gone once the result is dropped. Stops at the first failure.
    pub(crate) async fn remove(&self, digests: Vec<Sha3_384>) -> Result<TakenAway, BlobError> {
        let place = self.place.clone();
        let work = move || {
            let mut taken = TakenAway(Vec::new());
            for digest in digests {
                failpoint_io!("blob.remove")?;
                if let Some(bucket) = &place.bucket {
                    bucket.remove(&digest)?;
                    continue;
                }
                let path = place.path(&digest);
                let moved = tempfile::Builder::new()
                    .prefix(&digest.to_hex())
                    .make_in(&place.staging, |aside| fs::rename(&path, aside))?;
                taken.0.push((moved.into_temp_path(), path));
            }
            Ok(taken)
        };
        blocking("remove a blob", work).await
    }
}

/// Files without names. Dropping this removes them.
pub(crate) struct TakenAway(Vec<(TempPath, PathBuf)>);

impl TakenAway {
    /// Restores the names, unless another file has the name by now. Impossible with a bucket.
    pub(crate) async fn put_back(self) -> Result<(), BlobError> {
        let work = move || {
            for (moved, path) in self.0 {
                match moved.persist_noclobber(path).map_err(|error| error.error) {
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        };
        blocking("put a blob back", work).await
    }
}

/// A blob that is being written. Dropping it removes the file.
pub(crate) struct Staging {
    place: Arc<Place>,
    limit: u64,
    size: u64,
    buffer: BytesMut,
    work: Work,
}

/// The blocking threads own the file and the hashes while they work; after a failure nobody does.
enum Work {
    Idle(Writer, Whole),
    Busy(JoinHandle<io::Result<Writer>>, JoinHandle<Whole>),
    Failed,
}

struct Writer {
    file: NamedTempFile,
    blocks: Blocks,
}

impl Staging {
    /// Appends bytes. Writing and hashing continue in the background while the next bytes arrive.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] as soon as the limit is exceeded. After an error nothing more can be written.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > self.limit {
            self.work = Work::Failed;
            return Err(BlobError::TooLarge { limit: self.limit });
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BLOCK {
            self.pass_on().await?;
        }
        Ok(())
    }

    /// Finishes the blob: all bytes are hashed and durable, but it has no name yet.
    pub(crate) async fn finish(mut self) -> Result<Staged, BlobError> {
        self.pass_on().await?;
        let (writer, whole) = self.settle().await?;
        failpoint!("blob.staged");
        let flush = self.place.flush;
        let file = blocking("flush a staged blob", move || {
            failpoint_io!("blob.sync")?;
            flush(writer.file.as_file())?;
            Ok((writer.file, writer.blocks.finish(), whole.finish()))
        });
        let (file, blocks, digest) = file.await?;
        failpoint!("blob.synced");
        let record = BlobRecord { digest, size: self.size, blocks };
        Ok(Staged { place: self.place, file, record, seen: None })
    }

    /// Hands the buffered bytes to the blocking threads once they have finished the previous ones.
    async fn pass_on(&mut self) -> Result<(), BlobError> {
        let (mut writer, mut whole) = self.settle().await?;
        let bytes: Bytes = self.buffer.split().freeze();
        let same = bytes.clone();
        self.work = Work::Busy(
            spawn_blocking(move || {
                failpoint_io!("blob.write")?;
                writer.file.write_all(&bytes)?;
                writer.blocks.update(&bytes);
                Ok(writer)
            }),
            spawn_blocking(move || {
                whole.update(&same);
                whole
            }),
        );
        Ok(())
    }

    async fn settle(&mut self) -> Result<(Writer, Whole), BlobError> {
        let failed = BlobError::io("write a staged blob");
        match std::mem::replace(&mut self.work, Work::Failed) {
            Work::Idle(writer, whole) => Ok((writer, whole)),
            Work::Busy(writer, whole) => match (writer.await, whole.await) {
                (Ok(Ok(writer)), Ok(whole)) => Ok((writer, whole)),
                (Ok(Err(error)), _) => Err(failed(error)),
                (Err(error), _) | (_, Err(error)) => Err(failed(error.into())),
            },
            Work::Failed => Err(failed(io::Error::other("writing was given up before"))),
        }
    }
}

/// A complete and durable blob. Dropping it removes the staged file, published or not.
#[derive(Debug)]
pub(crate) struct Staged {
    place: Arc<Place>,
    file: NamedTempFile,
    record: BlobRecord,
    /// The file that had the name after publishing.
    seen: Option<Identity>,
}

impl Staged {
    /// What was written.
    pub(crate) fn record(&self) -> &BlobRecord {
        &self.record
    }

    /// Opens the file for reading from the start.
    pub(crate) fn reopen(&self) -> Result<File, BlobError> {
        self.file.reopen().map_err(BlobError::io("open a staged blob"))
    }

    /// Gives the blob its name, durably. An existing file of that name is trusted only after its content was checked.
    ///
    /// The staged file stays, so that this can be repeated if a clean-up removes the published one.
    pub(crate) async fn publish(self) -> Result<(Staged, Published), BlobError> {
        blocking("publish a blob", move || self.publish_blocking()).await
    }

    /// Whether the published file still has its name.
    pub(crate) async fn stands(&self) -> Result<bool, BlobError> {
        let Some(seen) = self.seen.clone() else { return Ok(false) };
        let (place, digest, size) = (self.place.clone(), self.record.digest, self.record.size);
        blocking("look at a blob", move || match &place.bucket {
            Some(bucket) => bucket.stands(&digest, size),
            // Opened, because a shared folder may show a cached entry to a mere lookup.
            None => match open_regular(&place.path(&digest)) {
                Ok(_) => Ok(Identity::at(&place.path(&digest))? == seen && !place.is_aside(&digest)?),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            },
        })
        .await
    }

    fn publish_blocking(mut self) -> io::Result<(Staged, Published)> {
        let (digest, size) = (self.record.digest, self.record.size);
        let path = self.place.path(&digest);
        let published = match &self.place.bucket {
            Some(bucket) => bucket.publish(&self.place.staging, &mut self.file.reopen()?, &digest, size)?,
            None => self.name(&path)?,
        };
        self.seen = Some(match self.place.bucket {
            Some(_) => Identity::Object("".into()),
            None => Identity::at(&path)?,
        });
        Ok((self, published))
    }

    fn name(&self, path: &Path) -> io::Result<Published> {
        let Staged { place, record, .. } = self;
        let folder = path.parent().unwrap_or(&place.blobs);
        failpoint_io!("blob.folder")?;
        make_folder(folder)?;
        // Refreshed, so that another server's clean-up leaves it alone and it need not be published again.
        failpoint_io!("blob.touch")?;
        if let Ok(there) = open_regular(path) {
            touch(&there)?;
        }
        let there = examine(path, &record.digest, record.size, &Pace::new(None))?;
        if there == Condition::Whole && place.flush(path).is_ok() {
            place.flush(folder)?;
            place.flush(&place.blobs)?;
            place.forget_damage(&record.digest)?;
            return Ok(Published::Already);
        }
        if let Condition::Damaged(harm @ Harm::NotAFile(_)) = &there {
            // A folder cannot be overwritten by a rename.
            place.set_aside(&record.digest, harm)?;
        }
        let second = self.second_name()?;
        failpoint_io!("blob.rename")?;
        second.persist(path).map_err(|error| error.error)?;
        failpoint!("blob.renamed");
        if let Err(error) = place.flush(folder).and_then(|()| place.flush(&place.blobs)) {
            // The next import must not take it for durable.
            let _ = fs::remove_file(path);
            return Err(error);
        }
        let was_damaged = place.forget_damage(&record.digest)?;
        let is_new = there == Condition::Damaged(Harm::Missing) && !was_damaged;
        Ok(if is_new { Published::New } else { Published::Healed })
    }

    /// A second name for the staged file, to be renamed; a copy if the file system has no hard links.
    fn second_name(&self) -> io::Result<TempPath> {
        let staging = &self.place.staging;
        let linked = tempfile::Builder::new().make_in(staging, |path| fs::hard_link(self.file.path(), path));
        match linked {
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                let mut copy = NamedTempFile::new_in(staging)?;
                io::copy(&mut self.file.reopen()?, &mut copy)?;
                (self.place.flush)(copy.as_file())?;
                Ok(copy.into_temp_path())
            }
            linked => Ok(linked?.into_temp_path()),
        }
    }
}

impl Place {
    fn recover(&self, found: Vec<PathBuf>) -> io::Result<Recovered> {
        let mut done = Recovered::default();
        for path in found {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // A writer, perhaps on another server, holds a lock on its file.
            if file.try_lock().is_err() {
                continue;
            }
            if let Some(bucket) = &self.bucket {
                if done.trouble.is_none() {
                    done.trouble = bucket.end_upload(&path).err();
                }
                if done.trouble.is_some() {
                    done.left.push(path);
                    continue;
                }
            }
            failpoint_io!("staging.remove")?;
            fs::remove_file(&path)?;
            done.removed += 1;
        }
        Ok(done)
    }

    pub(super) fn path(&self, digest: &Sha3_384) -> PathBuf {
        let name = digest.to_hex();
        self.blobs.join(&name[..2]).join(name)
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        if let Some(bucket) = &self.bucket {
            return bucket.list();
        }
        let mut found = Vec::new();
        for folder in fs::read_dir(&self.blobs)? {
            let folder = folder?;
            let is_ours = |name: &str| name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !folder.file_name().to_str().is_some_and(is_ours) {
                continue;
            }
            for entry in fs::read_dir(folder.path())? {
                let entry = entry?;
                let digest = entry.file_name().to_str().and_then(|name| Sha3_384::from_hex(name).ok());
                // Only files with exactly the name that we would give them.
                let Some(digest) = digest.filter(|digest| self.path(digest) == entry.path()) else {
                    continue;
                };
                let about = entry.metadata()?;
                if about.is_file() {
                    found.push(Listed { digest, size: about.len(), changed: about.modified()? });
                }
            }
        }
        Ok(found)
    }

    /// Makes a file or folder durable.
    pub(super) fn flush(&self, path: &Path) -> io::Result<()> {
        failpoint_io!("blob.flush")?;
        (self.flush)(&File::open(path)?)
    }
}

/// Sets the time of the last change to now.
fn touch(file: &File) -> io::Result<()> {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
    Ok(rustix::fs::futimens(file, &times)?)
}

pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o750).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BlobError> {
    match spawn_blocking(work).await {
        Ok(result) => result.map_err(BlobError::io(action)),
        Err(error) => Err(BlobError::Io { action, source: error.into() }),
    }
}
