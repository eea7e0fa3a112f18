//! The running whole: the store with its files, settings, sessions, ports and whatever else lives as long as the process.
//!
//! It is put together here and handed to whatever answers or works in the background. It decides nothing itself but whether new settings
//! can be put in force (`configure.rs`) and whether it is ready (`readiness.rs`).

mod configure;
mod places;
mod readiness;
mod secrets;

pub(crate) use configure::ConfigureError;
pub(crate) use places::{PlaceError, place_of_files, shown_database};
pub(crate) use readiness::{Health, PARTS, Trouble};
pub(crate) use secrets::{SESSION_KEY, SecretTrouble, recognise_settings};

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use schema::config::{Backend, RotatedSecret, Settings};
use schema::digest::Sha3_384;
use schema::service_login::LoginKey;
use secrecy::SecretString;
use tokio::sync::{Mutex, OwnedRwLockReadGuard, RwLock, RwLockWriteGuard};
use tokio::task::JoinError;
use tracing::{error, warn};

use self::places::{unplaced, unusable};
use self::secrets::session_keys;
use crate::acme::Acme;
use crate::catalog::{Blob, Catalog, CompileError, Snap};
use crate::clock;
use crate::deltas::Deltas;
use crate::fleet::Sightings;
use crate::logs;
use crate::observe::Observed;
use crate::parcels::{Parcels, Quarantine};
use crate::plans::upkeep::Spare;
use crate::relay::Relay;
use crate::rounds::Rounds;
use crate::sessions::{AcceptedKey, Logins, Sessions};
use crate::signing::{self, Signing};
use crate::storage::blobs::{BlobError, BlobStore, Bucket, Staged};
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::Change;
use crate::storage::{Database, Settings as DatabaseSettings};
use crate::store::Store;
use crate::tls::Tls;
use crate::unsettled::Unsettled;
use crate::visits::Visits;

/// Why a store cannot be opened, or took no change of its settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SiteError {
    /// The database.
    #[error("cannot use the database {place}{}", match source {
        StorageError::Damaged(_) => " (`proxy restore BACKUP` brings an earlier one back, into an empty data directory)",
        _ => "",
    })]
    Storage {
        /// Its file, or its address with the key that names it.
        place: String,
        /// What is wrong.
        source: StorageError,
    },
    /// What the database holds.
    #[error("cannot make the catalog from the database")]
    Compile(#[from] CompileError),
    /// The blobs.
    #[error("cannot keep the files of snaps in {place}")]
    Blobs {
        /// Their folder or bucket, with the key that names it.
        place: String,
        /// What is wrong.
        source: BlobError,
    },
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
    /// Logins are valid that another secret signed.
    #[error(
        "cannot replace proxy.auth.secret: it signed {0} logins that are valid, such as those of `proxy list-logins`, and all of them would \
         be refused: `proxy revoke-login ID` ends one, and `proxy rotate-secret proxy.auth.secret --keep-old 7d` makes another secret and \
         takes them until then"
    )]
    LoginSecret(usize),
    /// Keys that sign here would not open any more.
    #[error(
        "cannot replace proxy.signing.secret: the keys of this store are sealed with the one in use (key {0}); \
         `proxy keys retire` takes them out of use first"
    )]
    SigningSecret(String),
}

/// The running whole.
pub(crate) struct Site {
    data_dir: PathBuf,
    settings: ArcSwap<Settings>,
    store: Store,
    blobs: BlobStore,
    /// Where the files are until the next start, for people.
    place: String,
    unsettled: Unsettled,
    sessions: Sessions,
    logins: Logins,
    sightings: Sightings,
    observed: Arc<Observed>,
    relay: Relay,
    signing: Signing,
    health: Health,
    visits: Visits,
    tls: Arc<Tls>,
    acme: Acme,
    rounds: Rounds,
    deltas: Deltas,
    parcels: Parcels,
    quarantine: Quarantine,
    /// Shared by imports from the moment a file gets its name until its row is there; a clean-up has it alone.
    naming: RwLock<()>,
    /// Shared by backups, which name files before they read them; a clean-up has it alone, or does not run.
    reading: Arc<RwLock<()>>,
    /// Whether everything was copied to another database, where changes from now on would be missing.
    copied_away: AtomicBool,
    /// Held while the settings are changed.
    configuring: Mutex<()>,
    /// Old revisions that may go, as of the last plan.
    spare: ArcSwapOption<Spare>,
    /// Why the socket for reading could not be opened.
    pub(crate) closed_to_readers: OnceLock<String>,
}

impl Site {
    /// Opens the store of a data directory, whose device API is reached through `tls`.
    ///
    /// # Errors
    /// A database or a secret that this program does not recognise: nothing is changed then.
    pub(crate) async fn open(
        data_dir: &Path,
        settings: Settings,
        tls: Arc<Tls>,
        observed: Observed,
    ) -> Result<Arc<Self>, SiteError> {
        let (unusable, unplaced) = (unusable(data_dir, &settings), unplaced(data_dir, &settings));
        let database = Database::open(&database_settings(data_dir, &settings)).await.map_err(&unusable)?;
        places::refuse_empty(&database, data_dir, &settings).await?;
        let blobs = open_blobs(data_dir, &settings).map_err(&unplaced)?;
        places::refuse_lost(&database, &blobs, data_dir, &settings).await?;
        database.migrate(clock::micros()).await.map_err(&unusable)?;
        let snapshot = database.load().await.map_err(&unusable)?;
        recognise_settings(snapshot.meta.get(SESSION_KEY), &settings)?;
        let catalog = Catalog::compile(snapshot, &tls.state().base_url, None)?;
        let unsettled = Unsettled::begin(&blobs, &catalog).await.map_err(&unplaced)?;
        let links = Arc::clone(&tls);
        let site = Self {
            data_dir: data_dir.to_owned(),
            place: places::place_of_files(data_dir, &settings),
            sessions: Sessions::new(database.clone(), data_dir),
            logins: Logins::default(),
            settings: ArcSwap::from_pointee(settings),
            store: Store::new(database, catalog, move || links.state().base_url.clone()),
            blobs,
            unsettled,
            sightings: Sightings::default(),
            observed: Arc::new(observed),
            relay: Relay::default(),
            signing: Signing::new(),
            health: Health::default(),
            visits: Visits::default(),
            tls,
            acme: Acme::new(data_dir),
            rounds: Rounds::open(data_dir),
            deltas: Deltas::new(data_dir),
            parcels: Parcels::new(data_dir),
            quarantine: Quarantine::open(data_dir),
            naming: RwLock::default(),
            reading: Arc::default(),
            copied_away: AtomicBool::default(),
            configuring: Mutex::default(),
            spare: ArcSwapOption::empty(),
            closed_to_readers: OnceLock::new(),
        };
        site.take_settings();
        // An earlier program's note: it proved too little.
        let _ = std::fs::remove_file(data_dir.join("last-nonce"));
        if let Err(failure) = site.sessions.begin_life().await {
            // Files and documents are served all the same, and devices get a nonce once the database takes writes again.
            error!(error = &failure as &dyn std::error::Error, "Cannot begin a nonce epoch");
        }
        site.remember_secret().await?;
        site.record_unseen().await;
        Ok(Arc::new(site))
    }

    /// The catalog of this moment.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.store.catalog()
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

    /// Where the stored files are, for people, with the keys that name it.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Another place, which the next start takes files from: what is stored here until then would be missing there.
    pub(crate) fn next_place(&self) -> Option<String> {
        let next = places::place_of_files(&self.data_dir, &self.settings());
        (next != self.place).then_some(next)
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

    /// What remembers and what answers.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The store of record.
    pub(crate) fn database(&self) -> &Database {
        self.store.database()
    }

    /// Whether everything was copied to another database, where changes from now on would be missing.
    pub(crate) fn is_copied_away(&self) -> bool {
        self.copied_away.load(Ordering::SeqCst)
    }

    /// Notes whether everything was copied to another database; returns whether it was before.
    pub(crate) fn note_copied_away(&self, copied: bool) -> bool {
        self.copied_away.swap(copied, Ordering::SeqCst)
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
    pub(crate) fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    /// Parcels under way.
    pub(crate) fn parcels(&self) -> &Parcels {
        &self.parcels
    }

    /// Imports that wait for approvals.
    pub(crate) fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// Device services that registration is relayed to.
    pub(crate) fn relay(&self) -> &Relay {
        &self.relay
    }

    /// Keys, and serials for devices.
    pub(crate) fn signing(&self) -> &Signing {
        &self.signing
    }

    /// Browsers that were let in.
    pub(crate) fn visits(&self) -> &Visits {
        &self.visits
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

    /// Old revisions that may go.
    pub(crate) fn spare(&self) -> &ArcSwapOption<Spare> {
        &self.spare
    }

    /// Deltas for devices.
    pub(crate) fn deltas(&self) -> &Deltas {
        &self.deltas
    }

    /// Has the operator chosen the mode in which devices are served?
    pub(crate) fn serves_devices(&self) -> bool {
        self.settings.load().site.airgap
    }

    /// Could a session be given out now?
    pub(crate) async fn health(&self) -> Result<(), StorageError> {
        self.database().health().await
    }

    /// Makes one change, as [`Store::change`].
    pub(crate) async fn change<T, E>(&self, plan: impl Fn(&Catalog) -> Result<(Change, T), E>) -> Result<T, E>
    where
        E: From<CommitError>,
    {
        self.store.change(plan).await
    }

    /// Makes one change, as [`Store::change_after`].
    pub(crate) async fn change_after<T, E, F>(&self, plan: impl Fn(Arc<Catalog>) -> F) -> Result<T, E>
    where
        E: From<CommitError>,
        F: Future<Output = Result<(Change, T), E>>,
    {
        self.store.change_after(plan).await
    }

    /// Makes the change of an import, as [`Store::import`].
    pub(crate) async fn import<T, E, P>(&self, files: &[Staged], plan: &Arc<P>) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<CommitError> + Send + 'static,
        P: Fn(&Catalog) -> Result<(Change, T), E> + Send + Sync + 'static,
    {
        self.store.import(files, plan).await
    }

    /// Does what the start could not ask of the object store, as soon as that answers; then tells which files are not there.
    pub(crate) async fn settle(&self) {
        self.unsettled.settle(&self.store, &self.blobs).await;
        if let Ok(absent) = self.absent().await
            && !absent.is_empty()
        {
            let (absent, all) = (absent.len(), self.catalog().blobs().count());
            warn!(
                absent,
                all,
                "{absent} of {all} files are not in {}: `proxy doctor` names what they belong to",
                self.place
            );
        }
    }

    /// Revisions whose files are not where they are kept, but for those that are known to be damaged.
    ///
    /// # Errors
    /// The files cannot be listed.
    pub(crate) async fn absent(&self) -> Result<Vec<(String, u32)>, BlobError> {
        let there: HashSet<Sha3_384> =
            self.blobs.list().await?.into_iter().map(|listed| listed.digest).collect();
        let is_gone = |blob: &Blob| !blob.checks.is_damaged() && !there.contains(&blob.digest);
        let catalog = self.catalog();
        let of_snap = |snap: &Snap| {
            let gone = snap.revisions.values().filter(|revision| is_gone(&revision.blob));
            gone.map(|revision| (snap.name.to_string(), revision.number)).collect::<Vec<_>>()
        };
        Ok(catalog.snaps().flat_map(|snap| of_snap(snap)).collect())
    }

    /// Looks at the files of TLS, while no settings are changed.
    pub(crate) async fn look_after_tls(&self) -> Result<(), JoinError> {
        let _no_change_meanwhile = self.configuring.lock().await;
        let (tls, settings) = (Arc::clone(&self.tls), self.settings());
        tokio::task::spawn_blocking(move || tls.keep_up(&settings)).await
    }

    /// Keys that open with the settings in force must open with the next ones too.
    fn keep_signing_secret(&self, before: &Settings, after: &Settings) -> Result<(), SiteError> {
        let (before, after) = (signing::secret_id(before), signing::secret_id(after));
        let opens = |secret: &Option<String>| signing::sealed_otherwise(&self.catalog(), secret.as_deref());
        match (opens(&before), opens(&after)) {
            (None, Some(sealed_by)) => Err(SiteError::SigningSecret(sealed_by)),
            _ => Ok(()),
        }
    }

    fn take_settings(&self) {
        let settings = self.settings.load();
        logs::set_level(&settings);
        self.relay.configure(&settings, &self.data_dir);
        self.signing.configure(&settings);
        self.logins.configure(AcceptedKey::all(&settings, RotatedSecret::Logins, LoginKey::new));
        self.sessions.configure(
            session_keys(&settings),
            settings.device_auth.session_lifetime,
            settings.device_auth.strict_key_expiry,
        );
    }
}

/// The blobs where the settings have them.
pub(crate) fn open_blobs(data_dir: &Path, settings: &Settings) -> Result<BlobStore, BlobError> {
    match settings.storage.backend {
        Backend::S3 => BlobStore::open_bucket(data_dir, Bucket::of(&settings.storage.bucket)?),
        Backend::Local => BlobStore::open(settings.storage.path.as_deref().unwrap_or(data_dir)),
    }
}

/// Which database the settings name.
pub(crate) fn database_settings(data_dir: &Path, settings: &Settings) -> DatabaseSettings {
    match &settings.database.url {
        None => DatabaseSettings::Sqlite(data_dir.join("airlock.db")),
        Some(url) => DatabaseSettings::Postgres(SecretString::from(url.as_str())),
    }
}
