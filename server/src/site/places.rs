//! Tests settings that name another database or storage before they are stored: it must answer and hold what this
//! store needs. An empty one is never accepted in place of existing data.

use std::collections::HashSet;
use std::path::Path;

use schema::config::{Backend, Settings, key};
use schema::digest::Sha3_384;

use super::secrets::{SESSION_KEY, recognise_settings};
use super::{Site, SiteError, database_settings, open_blobs};
use crate::storage::blobs::{BlobError, BlobStore};
use crate::storage::error::StorageError;
use crate::storage::{Database, Settings as DatabaseSettings};

/// The database setting.
const CONNECTION: &str = "proxy.db.connection";

/// Why a database or storage is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PlaceError {
    /// It does not answer, or holds something else.
    #[error(
        "cannot use the database that proxy.db.connection would name; to set it untried, stop the server first"
    )]
    Database(#[source] StorageError),
    /// PostgreSQL is empty, but the embedded database is not.
    #[error(
        "the database {0} holds no store, and the embedded one of this host does: copy it first with `proxy \
         migrate-database URL`, while proxy.db.connection is not set"
    )]
    Empty(String),
    /// The embedded database is empty, but PostgreSQL is not.
    #[error(
        "without proxy.db.connection this server would use the embedded database in {0}, which holds no store: to move \
         back there, run `proxy backup FILE` and `proxy restore FILE --embedded` into an empty data directory"
    )]
    NoEmbedded(String),
    /// It belongs to another secret.
    #[error("cannot use the database that proxy.db.connection would name")]
    Secret(#[source] SiteError),
    /// The place of the files does not answer.
    #[error("cannot use the storage that these settings name; to set them untried, stop the server first")]
    Blobs(#[from] BlobError),
    /// The storage lacks files.
    #[error(
        "the storage that these settings name lacks {lacks} of {all} files of this store, such as {first}: copy the \
         files of the folder or bucket in use there first"
    )]
    Lacks {
        /// The number of missing files.
        lacks: usize,
        /// The number of files in use.
        all: usize,
        /// A missing file.
        first: String,
    },
}

/// Tries the places in which `settings` differ from those in force.
pub(crate) async fn try_places(store: &Site, settings: &Settings) -> Result<(), PlaceError> {
    let before = store.settings();
    if before.database != settings.database {
        try_database(store, settings).await?;
    }
    if before.storage != settings.storage {
        try_storage(store, settings).await?;
    }
    Ok(())
}

async fn try_database(store: &Site, settings: &Settings) -> Result<(), PlaceError> {
    let target = database_settings(store.data_dir(), settings);
    if store.database().is_alone() && matches!(target, DatabaseSettings::Sqlite(_)) {
        // It is the current one.
        return Ok(());
    }
    let filled = store.database().is_filled().await.map_err(PlaceError::Database)?;
    if let DatabaseSettings::Sqlite(path) = &target
        && !path.exists()
    {
        return if filled { Err(PlaceError::NoEmbedded(folder(store.data_dir()))) } else { Ok(()) };
    }
    let tried = Database::open(&target).await.map_err(PlaceError::Database)?;
    tried.knows_schema().await.map_err(PlaceError::Database)?;
    if filled && !tried.is_filled().await.map_err(PlaceError::Database)? {
        return Err(match target {
            DatabaseSettings::Sqlite(_) => PlaceError::NoEmbedded(folder(store.data_dir())),
            DatabaseSettings::Postgres(_) => PlaceError::Empty(shown_database(settings)),
        });
    }
    let expected = tried.fact(SESSION_KEY).await.map_err(PlaceError::Database)?;
    recognise_settings(expected.as_ref(), settings).map_err(PlaceError::Secret)
}

async fn try_storage(store: &Site, settings: &Settings) -> Result<(), PlaceError> {
    let owned: HashSet<Sha3_384> = store.catalog().blobs().map(|blob| blob.digest).collect();
    let held = |blobs: BlobStore| async move {
        let listed = blobs.list().await?.into_iter().map(|listed| listed.digest);
        Ok::<HashSet<Sha3_384>, PlaceError>(listed.collect())
    };
    let mut here = held(store.blobs().clone()).await?;
    here.retain(|digest| owned.contains(digest));
    let storage = &settings.storage;
    let is_new = storage.backend == Backend::Local
        && storage.path.as_ref().is_some_and(|path| !path.join("blobs").exists());
    // Folders are made in a new place once it is known to do.
    let there = match is_new && !here.is_empty() {
        true => HashSet::new(),
        false => {
            let blobs = open_blobs(store.data_dir(), settings)?;
            blobs.try_write().await?;
            held(blobs).await?
        }
    };
    let mut lacks = here.iter().filter(|digest| !there.contains(digest)).peekable();
    match lacks.peek().map(|digest| digest.to_hex()) {
        Some(first) => Err(PlaceError::Lacks { lacks: lacks.count(), all: here.len(), first }),
        None => Ok(()),
    }
}

/// At startup: an empty PostgreSQL database is not the store of a host whose embedded database holds data.
pub(crate) async fn refuse_empty(
    database: &Database,
    data_dir: &Path,
    settings: &Settings,
) -> Result<(), SiteError> {
    let embedded = database_settings(data_dir, &Settings::default());
    let DatabaseSettings::Sqlite(path) = &embedded else { return Ok(()) };
    if database.is_alone() || !path.exists() || database.holds_a_store().await? {
        return Ok(());
    }
    match Database::open(&embedded).await?.is_filled().await? {
        true => Err(SiteError::Place(PlaceError::Empty(shown_database(settings)).into())),
        false => Ok(()),
    }
}

/// The database that these settings name, without its password.
pub(crate) fn shown_database(settings: &Settings) -> String {
    key(CONNECTION).map(|key| key.redact(settings.value(key.name))).unwrap_or_default()
}

fn folder(path: &Path) -> String {
    path.display().to_string()
}
