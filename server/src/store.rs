//! The running store: its database, its blobs, and the catalog that answers for both.
//!
//! Every change goes one way: plan against the current catalog, commit in one transaction, compile the
//! catalog anew from the database, and put it in place of the old one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use schema::config::{Backend, ConfigError, RotatedSecret, Settings};
use schema::digest::Sha3_384;
use schema::service_login::LoginKey;
use schema::session::SessionKey;
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::{Mutex, OwnedRwLockReadGuard, RwLock, RwLockWriteGuard};
use tracing::{error, info, warn};

use crate::acme::{self, Acme};
use crate::backup;
use crate::catalog::{Catalog, CompileError};
use crate::clock;
use crate::health::Health;
use crate::logs;
use crate::observe::Observed;
use crate::places::{self, PlaceError};
use crate::relay::Relay;
use crate::sessions::{AcceptedKey, Logins, Sessions};
use crate::sightings::Sightings;
use crate::storage::blobs::{BlobError, BlobStore, Bucket, Staged};
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::{AuditEvent, Change};
use crate::storage::{Database, Settings as DatabaseSettings};
use crate::tls::{Tls, TlsError};
use crate::unsettled::Unsettled;
use crate::verify::{self, Rounds};

/// Name of the fact that says which session secret this store was given.
pub(crate) const SESSION_KEY: &str = "session-key";
/// How long a nonce epoch lasts; a nonce is good in its own and the next one.
const EPOCH: Duration = Duration::from_secs(3600);
/// How often another server's new epoch is looked for.
const EPOCH_POLL: Duration = Duration::from_secs(5);
/// How often the files of TLS are looked at.
const TLS_POLL: Duration = Duration::from_secs(2);

/// Why a store cannot be opened, or took no change of its settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StoreError {
    /// The database.
    #[error("cannot use the database")]
    Storage(#[from] StorageError),
    /// What the database holds.
    #[error("cannot make the catalog from the database")]
    Compile(#[from] CompileError),
    /// The blobs.
    #[error("cannot use the blobs in the data directory")]
    Blobs(#[from] BlobError),
    /// It is in another place than the settings name.
    #[error(transparent)]
    Place(Box<PlaceError>),
    /// A fact could not be written.
    #[error("cannot write to the database")]
    Commit(#[from] CommitError),
    /// Sessions are in use and the secret that signed them is gone.
    #[error(
        "proxy.device-auth.secret is not set, but this store's devices hold sessions signed with key {0}: \
         restore the secret from the backup with `proxy config proxy.device-auth.secret=VALUE`"
    )]
    SecretMissing(String),
    /// Sessions are in use and were signed by another secret.
    #[error(
        "proxy.device-auth.secret is another one (key {found}) than the one that this store's devices hold \
         sessions of (key {expected}): restore the secret that belongs to this database"
    )]
    SecretForeign {
        /// The key that the database names.
        expected: String,
        /// The key that the configuration holds.
        found: String,
    },
}

/// Why no session can be given out that other servers of this store accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretTrouble {
    /// There is none.
    Missing,
    /// The database names another one.
    Foreign,
}

/// The store.
pub(crate) struct Store {
    data_dir: PathBuf,
    settings: ArcSwap<Settings>,
    catalog: ArcSwap<Catalog>,
    database: Database,
    blobs: BlobStore,
    unsettled: Unsettled,
    sessions: Sessions,
    logins: Logins,
    sightings: Sightings,
    observed: Observed,
    relay: Relay,
    health: Health,
    tls: Arc<Tls>,
    acme: Acme,
    rounds: Rounds,
    /// Shared by imports from the moment a file gets its name until its row is there; a clean-up has it alone.
    naming: RwLock<()>,
    /// Shared by backups, which name files before they read them; a clean-up has it alone, or does not run.
    reading: Arc<RwLock<()>>,
    /// Held while the settings are changed.
    configuring: Mutex<()>,
    /// Held from planning to publishing, so that imports at once are one after another.
    changing: Mutex<()>,
}

impl Store {
    /// Opens the store of a data directory, whose device API is reached through `tls`.
    ///
    /// # Errors
    /// A database or a secret that this program does not recognise: nothing is changed then.
    pub(crate) async fn open(
        data_dir: &Path,
        settings: Settings,
        tls: Arc<Tls>,
    ) -> Result<Arc<Self>, StoreError> {
        let database = Database::open(&database_settings(data_dir, &settings)).await?;
        places::refuse_empty(&database, data_dir, &settings).await?;
        database.migrate(clock::micros()).await?;
        let snapshot = database.load().await?;
        recognise_settings(snapshot.meta.get(SESSION_KEY), &settings)?;
        backup::clear(data_dir);
        let blobs = open_blobs(data_dir, &settings)?;
        let catalog = Catalog::compile(snapshot, &tls.state().base_url, None)?;
        let unsettled = Unsettled::begin(&blobs, &catalog).await?;
        let store = Self {
            data_dir: data_dir.to_owned(),
            sessions: Sessions::new(database.clone(), data_dir),
            logins: Logins::default(),
            catalog: ArcSwap::from_pointee(catalog),
            settings: ArcSwap::from_pointee(settings),
            database,
            blobs,
            unsettled,
            sightings: Sightings::default(),
            observed: Observed::new(),
            relay: Relay::default(),
            health: Health::default(),
            tls,
            acme: Acme::new(data_dir),
            rounds: Rounds::open(data_dir),
            naming: RwLock::default(),
            reading: Arc::default(),
            configuring: Mutex::default(),
            changing: Mutex::default(),
        };
        store.take_settings();
        // An earlier program's note: it proved too little.
        let _ = std::fs::remove_file(data_dir.join("last-nonce"));
        if let Err(failure) = store.sessions.begin_life().await {
            // Files and documents are served all the same, and devices get a nonce once the database takes writes again.
            error!(error = &failure as &dyn std::error::Error, "Cannot begin a nonce epoch");
        }
        store.remember_secret().await?;
        Ok(Arc::new(store))
    }

    /// The catalog of this moment.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Where everything of this store lies.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The stored files.
    pub(crate) fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    /// Shared from the moment a file gets its name until its row is there; whoever has it alone may tell from the rows
    /// which files are owned.
    pub(crate) fn naming(&self) -> &RwLock<()> {
        &self.naming
    }

    /// While it is held, no file is taken away.
    pub(crate) async fn no_clean_up(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.reading).read_owned().await
    }

    /// For a clean-up: `None` while a backup is being read.
    pub(crate) fn no_backup(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.reading.try_write().ok()
    }

    /// The store of record.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Device sessions.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Service logins.
    pub(crate) fn logins(&self) -> &Logins {
        &self.logins
    }

    /// Devices seen.
    pub(crate) fn sightings(&self) -> &Sightings {
        &self.sightings
    }

    /// What is counted.
    pub(crate) fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Device services that registration is relayed to.
    pub(crate) fn relay(&self) -> &Relay {
        &self.relay
    }

    /// Whether the store is ready to serve devices.
    pub(crate) fn readiness(&self) -> &Health {
        &self.health
    }

    /// HTTPS.
    pub(crate) fn tls(&self) -> &Arc<Tls> {
        &self.tls
    }

    /// Certificates from an ACME authority.
    pub(crate) fn acme(&self) -> &Acme {
        &self.acme
    }

    /// How far the check of all files is.
    pub(crate) fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    /// Has the operator chosen the mode in which devices are served?
    pub(crate) fn serves_devices(&self) -> bool {
        self.settings.load().site.airgap
    }

    /// Could a session be given out now?
    pub(crate) async fn health(&self) -> Result<(), StorageError> {
        self.database.health().await
    }

    /// What is wrong with the secret that device sessions are signed with.
    pub(crate) fn secret_trouble(&self) -> Option<SecretTrouble> {
        let keys = session_keys(&self.settings());
        match recognise(self.catalog().meta.get(SESSION_KEY), &keys) {
            Ok(()) if keys.is_empty() => Some(SecretTrouble::Missing),
            Ok(()) => None,
            Err(StoreError::SecretMissing(_)) => Some(SecretTrouble::Missing),
            Err(_) => Some(SecretTrouble::Foreign),
        }
    }

    /// Makes one change: plans it against the current catalog, commits it, and publishes the result. When
    /// another server was faster, it is planned anew against what that one left.
    pub(crate) async fn change<T, E>(&self, plan: impl Fn(&Catalog) -> Result<(Change, T), E>) -> Result<T, E>
    where
        E: From<CommitError>,
    {
        self.change_as_planned(&[], |catalog| std::future::ready(plan(&catalog))).await
    }

    /// As [`Store::change`] for an import: it is planned on a blocking thread, and gives an owner to `files`, which were
    /// published for it.
    pub(crate) async fn import<T, E, P>(&self, files: &[Staged], plan: &Arc<P>) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<CommitError> + Send + 'static,
        P: Fn(&Catalog) -> Result<(Change, T), E> + Send + Sync + 'static,
    {
        let planned = |catalog: Arc<Catalog>| {
            let plan = Arc::clone(plan);
            off_thread(move || plan(&catalog))
        };
        self.change_as_planned(files, planned).await
    }

    async fn change_as_planned<T, E, F>(
        &self,
        files: &[Staged],
        plan: impl Fn(Arc<Catalog>) -> F,
    ) -> Result<T, E>
    where
        E: From<CommitError>,
        F: Future<Output = Result<(Change, T), E>>,
    {
        let _one_at_a_time = self.changing.lock().await;
        loop {
            let catalog = self.catalog();
            let (change, result) = plan(Arc::clone(&catalog)).await?;
            match self.database.commit(&change, files, catalog.position.generation).await {
                Ok(_) => {
                    // Committed is durable; until it is visible too, nobody is told that it is done.
                    self.publish().await.map_err(|failure| CommitError::Unknown(not_published(failure)))?;
                    return Ok(result);
                }
                Err(CommitError::Conflict { .. }) => {
                    self.publish().await.map_err(|failure| CommitError::Storage(not_published(failure)))?;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Changes the settings, puts them in force and writes them to the file. What only a restart can change is kept
    /// for then. Answers the settings of before and after.
    ///
    /// # Errors
    /// Settings that are wrong, or that the store cannot work with: nothing has changed then. When the end is unknown, the
    /// settings may be in force, and changing them again is safe.
    pub(crate) async fn configure(
        &self,
        who: &str,
        change: impl FnOnce(&mut Settings) -> Result<(), ConfigError>,
    ) -> Result<(Arc<Settings>, Arc<Settings>), ConfigureError> {
        let _one_at_a_time = self.configuring.lock().await;
        let before = self.settings();
        let mut settings = (*before).clone();
        change(&mut settings)?;
        recognise_settings(self.catalog().meta.get(SESSION_KEY), &settings)?;
        places::try_places(self, &settings).await?;
        let tls = self.tls.prepare(&settings)?;
        let changed: Vec<&str> = schema::config::KEYS
            .iter()
            .map(|key| key.name)
            .filter(|name| before.value(name) != settings.value(name))
            .collect();
        let event = AuditEvent {
            who: who.to_owned(),
            what: "config".into(),
            subject: changed.join(", "),
            outcome: "done".into(),
            detail: json!({}),
        };
        self.database.record_event(&event, clock::micros()).await.map_err(CommitError::from)?;
        settings.save_in_steps(&self.data_dir, |step| failpoint_io!(step))?;
        failpoint!("config.saved");
        let settings = Arc::new(settings);
        self.settings.store(Arc::clone(&settings));
        self.take_settings();
        self.tls.install(tls);
        // They are in force by now: what fails from here on leaves the outcome to be seen.
        if *self.catalog().base_url != *self.tls.state().base_url {
            // Answers hold links: the only part of the catalog that settings decide.
            let _one_at_a_time = self.changing.lock().await;
            self.publish().await.map_err(|failure| CommitError::Unknown(not_published(failure)))?;
        }
        self.remember_secret().await.map_err(|failure| match failure {
            CommitError::Storage(failure) => CommitError::Unknown(failure),
            other => other,
        })?;
        Ok((before, settings))
    }

    /// Follows the other servers of this database, the clock of nonces, the files of TLS and its certificate, for ever.
    pub(crate) async fn keep_up(&self) {
        tokio::join!(
            self.follow(),
            self.turn_epochs(),
            self.sightings.keep_writing(&self.database, &self.observed),
            self.watch_tls(),
            acme::keep_up(self),
            verify::keep_checking(self),
            self.unsettled.settle(self)
        );
    }

    async fn watch_tls(&self) {
        let mut round = tokio::time::interval(TLS_POLL);
        loop {
            round.tick().await;
            let _no_change_meanwhile = self.configuring.lock().await;
            let (tls, settings) = (Arc::clone(&self.tls), self.settings());
            let looked = tokio::task::spawn_blocking(move || tls.keep_up(&settings)).await;
            self.observed.round("tls", looked.is_ok());
            if let Err(failure) = looked {
                error!(error = &failure as &dyn std::error::Error, "Cannot look after TLS");
            }
        }
    }

    /// Keeps devices from what is damaged by now.
    pub(crate) async fn learn_damage(&self) -> Result<(), BlobError> {
        let _one_at_a_time = self.changing.lock().await;
        mark_damaged(&self.catalog(), &self.blobs.damaged().await?);
        Ok(())
    }

    async fn follow(&self) {
        loop {
            match self.database.wait_for_change(self.catalog().position.generation).await {
                Ok(generation) => {
                    let _one_at_a_time = self.changing.lock().await;
                    if generation == self.catalog().position.generation {
                        continue;
                    }
                    // Another server may have replaced files that are damaged, or set some aside.
                    match self.blobs.damaged().await {
                        Ok(damaged) => mark_damaged(&self.catalog(), &damaged),
                        Err(failure) => {
                            error!(
                                error = &failure as &dyn std::error::Error,
                                "Cannot tell which files are damaged"
                            );
                        }
                    }
                    let published = self.publish().await;
                    self.observed.round("follow", published.is_ok());
                    if let Err(failure) = published {
                        error!(error = &failure as &dyn std::error::Error, "Cannot take over a change");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
                Err(failure) => {
                    self.observed.round("follow", false);
                    error!(error = &failure as &dyn std::error::Error, "Cannot look for changes");
                    tokio::time::sleep(EPOCH_POLL).await;
                }
            }
        }
    }

    async fn turn_epochs(&self) {
        let mut turned = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(EPOCH_POLL).await;
            // Whoever turned it: it is another hour until the next one.
            let followed = self.sessions.follow_epoch(turned.elapsed() >= EPOCH).await;
            self.observed.round("epochs", followed.is_ok());
            match followed {
                Ok(true) => turned = tokio::time::Instant::now(),
                Ok(false) => {}
                Err(failure) => {
                    warn!(error = &failure as &dyn std::error::Error, "Cannot read the nonce epoch")
                }
            }
        }
    }

    /// Lets what the database holds now answer. Only what changed since is read and compiled, but for what every answer
    /// depends on.
    async fn publish(&self) -> Result<(), StoreError> {
        failpoint!("catalog.load");
        let catalog = match self.advanced().await? {
            Some(catalog) => catalog,
            None => self.compiled().await?,
        };
        info!(
            generation = catalog.position.generation,
            snaps = catalog.count_snaps(),
            "Serving generation {}",
            catalog.position.generation
        );
        self.catalog.store(Arc::new(catalog));
        failpoint!("catalog.published");
        Ok(())
    }

    /// The catalog after what changed; `None` when everything must be compiled anew.
    async fn advanced(&self) -> Result<Option<Catalog>, StoreError> {
        let catalog = self.catalog();
        if *catalog.base_url != *self.tls.state().base_url {
            return Ok(None);
        }
        let Some(increment) = self.database.load_since(catalog.position).await? else { return Ok(None) };
        Ok(off_thread(move || catalog.advance(increment)).await?)
    }

    async fn compiled(&self) -> Result<Catalog, StoreError> {
        let snapshot = self.database.load().await?;
        let (before, tls) = (self.catalog(), self.tls.state());
        Ok(off_thread(move || Catalog::compile(snapshot, &tls.base_url, Some(&before))).await?)
    }

    fn take_settings(&self) {
        let settings = self.settings.load();
        logs::set_level(&settings);
        self.relay.configure(&settings, &self.data_dir);
        self.logins.configure(AcceptedKey::all(&settings, RotatedSecret::Logins, LoginKey::new));
        self.sessions.configure(
            session_keys(&settings),
            settings.device_auth.session_lifetime,
            settings.device_auth.strict_key_expiry,
        );
    }

    /// Writes down which secret this store works with, before the first session is signed with it.
    async fn remember_secret(&self) -> Result<(), CommitError> {
        // Settings in force were recognised, so that another key in the database is one that was rotated out.
        let Some(AcceptedKey { key, .. }) = session_keys(&self.settings()).into_iter().next() else {
            return Ok(());
        };
        if self.catalog().meta.get(SESSION_KEY).is_some_and(|known| known == key.id()) {
            return Ok(());
        }
        self.change(|_| {
            let event = AuditEvent {
                who: "proxyd".into(),
                what: "take-session-secret".into(),
                subject: key.id().to_owned(),
                outcome: "done".into(),
                detail: json!({}),
            };
            let mut change = Change::new(event, clock::micros());
            change.meta.push((SESSION_KEY.into(), key.id().to_owned()));
            Ok((change, ()))
        })
        .await
    }
}

/// Work that keeps a processor busy, away from what answers devices.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
    }
}

/// The blobs where the settings have them.
pub(crate) fn open_blobs(data_dir: &Path, settings: &Settings) -> Result<BlobStore, BlobError> {
    match settings.storage.backend {
        Backend::S3 => BlobStore::open_bucket(data_dir, Bucket::of(&settings.storage.bucket)?),
        Backend::Local => BlobStore::open(settings.storage.path.as_deref().unwrap_or(data_dir)),
    }
}

/// Keeps devices from what was set aside, and nothing else.
pub(crate) fn mark_damaged(catalog: &Catalog, damaged: &[Sha3_384]) {
    for blob in catalog.blobs() {
        if damaged.contains(&blob.digest) { blob.checks.mark_damaged() } else { blob.checks.look_anew() }
    }
}

/// Why settings were not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigureError {
    /// They are wrong in themselves.
    #[error(transparent)]
    Value(#[from] ConfigError),
    /// They do not belong to this store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They name a place that does not do.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// HTTPS does not work with them.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file.
    #[error(transparent)]
    File(#[from] schema::config::FileError),
    /// The database.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A catalog that could not be made after a commit is a fault of ours, like a database that is gone.
fn not_published(failure: StoreError) -> StorageError {
    match failure {
        StoreError::Storage(failure) => failure,
        other => StorageError::Unavailable(Box::new(other)),
    }
}

/// The key that signs, then those that were rotated out; none without the first.
fn session_keys(settings: &Settings) -> Vec<AcceptedKey<SessionKey>> {
    AcceptedKey::all(settings, RotatedSecret::Sessions, SessionKey::new)
}

/// Do these settings hold the secret that a database was used with, by the id that it knows?
pub(crate) fn recognise_settings(known: Option<&String>, settings: &Settings) -> Result<(), StoreError> {
    recognise(known, &session_keys(settings))
}

/// Never works with a secret that is not the one its devices' sessions were signed with. One that was rotated out is
/// recognised too, however long ago: the rotation may have been cut off before the database knew.
fn recognise(expected: Option<&String>, keys: &[AcceptedKey<SessionKey>]) -> Result<(), StoreError> {
    match (expected, keys.first()) {
        (Some(expected), None) => Err(StoreError::SecretMissing(expected.clone())),
        (Some(expected), Some(signing)) if keys.iter().all(|accepted| accepted.key.id() != expected) => {
            Err(StoreError::SecretForeign { expected: expected.clone(), found: signing.key.id().to_owned() })
        }
        _ => Ok(()),
    }
}

/// Which database the settings name.
pub(crate) fn database_settings(data_dir: &Path, settings: &Settings) -> DatabaseSettings {
    match &settings.database.url {
        None => DatabaseSettings::Sqlite(data_dir.join("airlock.db")),
        Some(url) => DatabaseSettings::Postgres(SecretString::from(url.as_str())),
    }
}
