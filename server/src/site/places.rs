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
    /// It is a copy of before.
    #[error(
        "{place} holds an older copy of this store, without {lacks} changes or serials since: {}",
        match is_embedded {
            true => "to move back there, run `proxy backup FILE` and `proxy restore FILE --embedded` into an empty data directory",
            false => "drop that database, make it again, and copy everything once more with `proxy migrate-database URL`",
        }
    )]
    Behind {
        /// Which database.
        place: String,
        /// How many changes and serials it lacks.
        lacks: i64,
        /// Whether it is the embedded one.
        is_embedded: bool,
    },
    /// The database is new, and the files of a store are there.
    #[error(
        "{database} holds no store, and {files} files of one are in {place}, where a clean-up would remove them: run \
         `proxy restore BACKUP --blobs DIR` into an empty data directory; to begin a new store instead, move these files away"
    )]
    Lost {
        /// The database.
        database: String,
        /// How many files there are.
        files: usize,
        /// Where they are.
        place: String,
    },
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
    if filled {
        let lacks = lacks(&tried, store.database()).await.map_err(PlaceError::Database)?;
        refuse_behind(lacks, &target, (store.data_dir(), settings))?;
    }
    let expected = tried.fact(SESSION_KEY).await.map_err(PlaceError::Database)?;
    recognise_settings(expected.as_ref(), settings).map_err(PlaceError::Secret)
}

/// How many changes and serials one database lacks that another has. What one store did is counted on in each copy of it.
async fn lacks(copy: &Database, of: &Database) -> Result<i64, StorageError> {
    let ((changes, serials), (all_changes, all_serials)) = (copy.age().await?, of.age().await?);
    Ok((all_changes - changes).max(0) + (all_serials - serials).max(0))
}

fn refuse_behind(
    lacks: i64,
    target: &DatabaseSettings,
    (data_dir, settings): (&Path, &Settings),
) -> Result<(), PlaceError> {
    let (place, is_embedded) = match target {
        DatabaseSettings::Sqlite(_) => (format!("the embedded database in {}", folder(data_dir)), true),
        DatabaseSettings::Postgres(_) => (format!("the database {}", shown_database(settings)), false),
    };
    if lacks > 0 { Err(PlaceError::Behind { place, lacks, is_embedded }) } else { Ok(()) }
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

/// At startup: an empty PostgreSQL database is not the store of a host whose embedded database holds data, and neither is a copy
/// that was made before that was used last.
pub(crate) async fn refuse_empty(
    database: &Database,
    data_dir: &Path,
    settings: &Settings,
) -> Result<(), SiteError> {
    let embedded = database_settings(data_dir, &Settings::default());
    let DatabaseSettings::Sqlite(path) = &embedded else { return Ok(()) };
    if database.is_alone() || !path.exists() {
        return Ok(());
    }
    let (used, unused) = (unusable(data_dir, settings), unusable(data_dir, &Settings::default()));
    let holds = database.holds_a_store().await.map_err(&used)?;
    let filled = async {
        let embedded = Database::open(&embedded).await?;
        Ok((embedded.is_filled().await?, embedded))
    };
    let embedded = match filled.await {
        Ok((true, embedded)) => embedded,
        Ok((false, _)) => return Ok(()),
        // The store does without it.
        Err(_) if holds => return Ok(()),
        Err(failure) => return Err(unused(failure)),
    };
    let refused = |why: PlaceError| Err(SiteError::Place(why.into()));
    if !holds {
        return refused(PlaceError::Empty(shown_database(settings)));
    }
    let (lacks, target) =
        (lacks(database, &embedded).await.map_err(&used)?, database_settings(data_dir, settings));
    refuse_behind(lacks, &target, (data_dir, settings)).or_else(refused)
}

/// At startup: a database that was never used is not the one that the files belong to.
pub(super) async fn refuse_lost(
    database: &Database,
    blobs: &BlobStore,
    data_dir: &Path,
    settings: &Settings,
) -> Result<(), SiteError> {
    if !database.is_new().await.map_err(unusable(data_dir, settings))? {
        return Ok(());
    }
    let files = blobs.list().await.map_err(unplaced(data_dir, settings))?.len();
    if files == 0 {
        return Ok(());
    }
    let (database, place) = (place_of_database(data_dir, settings), blobs.shown());
    Err(SiteError::Place(PlaceError::Lost { database, files, place }.into()))
}

/// What is told of a database that fails at startup.
pub(super) fn unusable(data_dir: &Path, settings: &Settings) -> impl Fn(StorageError) -> SiteError + use<> {
    let place = place_of_database(data_dir, settings);
    move |source| SiteError::Storage { place: place.clone(), source }
}

/// What is told of a place for files that fails at startup.
pub(super) fn unplaced(data_dir: &Path, settings: &Settings) -> impl Fn(BlobError) -> SiteError + use<> {
    let place = place_of_files(data_dir, settings);
    move |source| SiteError::Blobs { place: place.clone(), source }
}

/// The database of a host, for people, with the key that names it.
fn place_of_database(data_dir: &Path, settings: &Settings) -> String {
    match database_settings(data_dir, settings) {
        DatabaseSettings::Sqlite(path) => folder(&path),
        DatabaseSettings::Postgres(_) => format!("{} ({CONNECTION})", shown_database(settings)),
    }
}

/// The place that the settings name for files, for people, with the keys that name it.
pub(crate) fn place_of_files(data_dir: &Path, settings: &Settings) -> String {
    let storage = &settings.storage;
    match (storage.backend, &storage.path) {
        (Backend::S3, _) => format!(
            "bucket {} (proxy.storage.s3.scanned-container-name) at {} (proxy.storage.s3.server-url)",
            storage.bucket.name,
            storage.bucket.server_url.as_deref().unwrap_or("Amazon S3")
        ),
        (Backend::Local, Some(path)) => format!("{} (proxy.storage.path)", folder(path)),
        (Backend::Local, None) => folder(data_dir),
    }
}

/// The database that these settings name, without its password.
pub(crate) fn shown_database(settings: &Settings) -> String {
    key(CONNECTION).map(|key| key.redact(settings.value(key.name))).unwrap_or_default()
}

fn folder(path: &Path) -> String {
    path.display().to_string()
}
