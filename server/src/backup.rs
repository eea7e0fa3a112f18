//! Makes a backup while the store is in use: first a database snapshot, then the files it owns.
//!
//! Imports continue; what they add is not in the backup. Only a clean-up removes files, and it refuses to run during
//! a backup. Secrets are not involved: `proxy` adds the configuration itself.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use schema::api::admin::BackupRequest;
use schema::backup::{Blob, FORMAT, Manifest, Part};
use schema::bundle::TarWriter;
use schema::causes::one_line;
use schema::digest::{Hashed, Sha3_384};
use serde_json::json;
use tempfile::TempDir;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{OwnedRwLockReadGuard, mpsc};
use tokio_util::bytes::Bytes;
use tracing::{error, info, warn};

use crate::clock;
use crate::site::{SESSION_KEY, Site};
use crate::storage::blobs::{BlobError, BlobStore};
use crate::storage::error::StorageError;
use crate::storage::records::AuditEvent;
use crate::storage::{Database, Settings};

/// The prefix of folders with a copy of the database.
const SCRATCH: &str = ".backup-";
/// The copy's name.
const COPY: &str = "copy.db";
/// Bytes handed over at once.
const CHUNK: usize = 256 << 10;

/// Why a backup failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BackupError {
    /// The database could not be read, or its copy not written.
    #[error("cannot copy the database for the backup")]
    Storage(#[from] StorageError),
    /// The stored files cannot be inspected.
    #[error("cannot look at the stored files")]
    Blobs(#[from] BlobError),
    /// The copy of the database failed.
    #[error("cannot write the copy of the database to the data directory")]
    Copy(#[source] io::Error),
    /// The manifest could not be written.
    #[error("cannot write the manifest of the backup")]
    Manifest(#[source] serde_json::Error),
}

/// A backup that is ready to be read.
pub(crate) struct Backup {
    manifest: Vec<u8>,
    session_key: Option<String>,
    missing: usize,
    event: AuditEvent,
    database: File,
    database_digest: Sha3_384,
    database_size: u64,
    blobs: Vec<(Sha3_384, u64)>,
    place: BlobStore,
    _no_clean_up: OwnedRwLockReadGuard<()>,
}

/// Takes the moment that the backup is of.
pub(crate) async fn take(store: &Site, who: &str, wanted: BackupRequest) -> Result<Backup, BackupError> {
    let subject = if wanted.without_blobs { "without files" } else { "with files" };
    let event = AuditEvent::new(who, "backup", subject);
    store.database().record_event(&event.clone().outcome("begun"), clock::micros()).await?;
    let taken = moment(store, event.clone(), wanted).await;
    if let Err(failure) = &taken {
        store.database().record_end(event, Some(one_line(failure)), clock::micros()).await;
    }
    taken
}

async fn moment(store: &Site, event: AuditEvent, wanted: BackupRequest) -> Result<Backup, BackupError> {
    let no_clean_up = store.no_clean_up().await;
    // In the data directory, which belongs to this server alone; the staging folder may be shared.
    let scratch = TempDir::with_prefix_in(SCRATCH, store.data_dir()).map_err(BackupError::Copy)?;
    let settings = Settings::Sqlite(scratch.path().join(COPY));
    let copy = Database::open(&settings).await?;
    store.database().copy_to(&copy, clock::micros()).await?;
    let snapshot = copy.load().await?;
    // Closing the last connection folds its log into the file.
    drop(copy);

    let catalog = store.catalog();
    let sizes: HashMap<Sha3_384, u64> = snapshot.blobs.iter().map(|row| (row.digest, row.size)).collect();
    let (mut blobs, mut missing) = (Vec::new(), Vec::new());
    for digest in snapshot.owned_blobs().into_keys() {
        // A snap's icon may never have been imported.
        let Some(size) = sizes.get(&digest).copied() else { continue };
        let damaged = catalog.blob(&digest).is_some_and(|blob| blob.checks.is_damaged());
        match store.blobs().look(digest, size).await {
            Ok(()) if !damaged => blobs.push((digest, size)),
            Ok(()) | Err(BlobError::Missing { .. } | BlobError::LengthMismatch { .. }) => {
                missing.push((digest, size));
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    let list = |blobs: &[(Sha3_384, u64)]| {
        blobs.iter().map(|(digest, size)| Blob { sha3_384: digest.to_hex(), size: *size }).collect()
    };
    let session_key = snapshot.meta.get(SESSION_KEY).cloned();
    let manifest = Manifest {
        format: FORMAT,
        tool: concat!("proxyd ", env!("CARGO_PKG_VERSION")).into(),
        time: clock::now().format(&Rfc3339).unwrap_or_default(),
        session_key: session_key.clone(),
        with_blobs: !wanted.without_blobs,
        blobs: list(&blobs),
        missing: list(&missing),
    };
    if wanted.without_blobs {
        blobs.clear();
    }
    let work = move || read_and_forget(scratch);
    let (database, database_digest, database_size) = tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::from)
        .flatten()
        .map_err(BackupError::Copy)?;
    Ok(Backup {
        manifest: serde_json::to_vec(&manifest).map_err(BackupError::Manifest)?,
        session_key,
        missing: missing.len(),
        event,
        database,
        database_digest,
        database_size,
        blobs,
        place: store.blobs().clone(),
        _no_clean_up: no_clean_up,
    })
}

/// Opens the copy and unlinks it, so that nothing remains whatever happens.
fn read_and_forget(scratch: TempDir) -> io::Result<(File, Sha3_384, u64)> {
    let path = scratch.path().join(COPY);
    if fs::exists(path.with_extension("db-wal"))? {
        return Err(io::Error::other("its log was not folded in"));
    }
    let mut hashed = Hashed::new(File::open(&path)?);
    let size = io::copy(&mut hashed, &mut io::sink())?;
    let digest = hashed.finish();
    let file = File::open(&path)?;
    scratch.close()?;
    Ok((file, digest, size))
}

/// Removes copies left by an interrupted server.
pub(crate) fn clear(data_dir: &Path) {
    for entry in fs::read_dir(data_dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(SCRATCH)
            && let Err(failure) = fs::remove_dir_all(entry.path())
        {
            warn!(error = &failure as &dyn std::error::Error, "Cannot remove the rest of a backup");
        }
    }
}

impl Backup {
    /// The id of the session secret that the database expects.
    pub(crate) fn session_key(&self) -> Option<&str> {
        self.session_key.as_deref()
    }

    /// How many files the store should have but does not.
    pub(crate) fn missing(&self) -> usize {
        self.missing
    }

    /// The archive's size in bytes.
    pub(crate) fn length(&self) -> u64 {
        let documents = [self.manifest.len() as u64, self.database_size];
        TarWriter::length(documents.into_iter().chain(self.blobs.iter().map(|(_, size)| *size)))
    }

    /// Writes the archive on a separate thread, a few chunks ahead of the reader. A file that turns out to be damaged
    /// ends it early. The audit log says how it ended before the reader sees the end.
    pub(crate) fn stream(self, store: Arc<Site>) -> mpsc::Receiver<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(4);
        let runtime = tokio::runtime::Handle::current();
        let (event, missing) = (self.event.clone(), self.missing);
        tokio::task::spawn_blocking(move || {
            let record = |event: AuditEvent| {
                runtime
                    .block_on(store.database().record_event(&event, clock::micros()))
                    .map_err(io::Error::other)
            };
            let mut out = BufWriter::with_capacity(CHUNK, Pieces(sender.clone()));
            let done = || record(event.clone().outcome("done").detail(json!({ "missing": missing })));
            match self.write(&mut out).and_then(|()| done()).and_then(|()| out.flush()) {
                Ok(()) => info!("A backup was read to its end"),
                Err(failure) => {
                    error!(error = &failure as &dyn std::error::Error, "Cannot finish a backup: {failure}");
                    let why = json!({ "message": one_line(&failure) });
                    if let Err(failure) = record(event.outcome("failed").detail(why)) {
                        error!(
                            error = &failure as &dyn std::error::Error,
                            "Cannot record how a backup ended"
                        );
                    }
                    // The reader may already be gone.
                    let _ = sender.blocking_send(Err(failure));
                }
            }
        });
        receiver
    }

    /// Writes everything; the last piece may stay with `out`.
    fn write(self, out: &mut impl Write) -> io::Result<()> {
        let mut tar = TarWriter::new(out);
        let digest = Sha3_384::of(&self.manifest);
        tar.add(&Part::Manifest.name(&digest), self.manifest.len() as u64, self.manifest.as_slice())?;
        tar.add(&Part::Database.name(&self.database_digest), self.database_size, &self.database)?;
        for (digest, size) in &self.blobs {
            let file = self.place.open_blob(digest, *size).map_err(io::Error::other)?;
            let mut hashed = Hashed::new(file);
            tar.add(&Part::Blob.name(digest), *size, &mut hashed)?;
            if hashed.finish() != *digest {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("file {} is damaged: run `proxy verify`, and back up again", digest.to_hex()),
                ));
            }
        }
        tar.finish().map(drop)
    }
}

/// Hands over each write.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
