//! Device sessions: nonces, the check of the three assertions, tokens.
//!
//! Issuing a nonce stores nothing, and accepting a token needs no database. Only the step in between, spending the
//! nonce, does, so that a nonce buys one token however many servers there are.

mod accepted;
mod bearer;
mod check;
mod cohorts;
mod enrolled;
mod logins;
mod memory;
mod spending;
#[cfg(test)]
mod tests;
mod witness;

pub(crate) use accepted::AcceptedKey;
pub(crate) use bearer::bearer_of;
pub(crate) use check::{Check, Presented, SessionRefusal};
use check::{check, digest_of};
pub(crate) use logins::{Logins, Made};

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schema::api::device::SessionRequest;
use schema::api::object;
use schema::session::{Cohort, Nonce, Session, SessionKey, TokenError};
use tokio::sync::Semaphore;
use tokio_util::bytes::Bytes;
use tracing::{info, warn};

use crate::catalog::Catalog;
use crate::clock;
use crate::logs;
use crate::storage::Database;
use crate::storage::error::StorageError;
use crate::storage::records::{NonceUse, Spending};
use cohorts::Frozen;
use memory::Memory;
use spending::Spender;
use witness::Witness;

/// Lifetime of a nonce. A slow device signs within seconds.
const NONCE_SECONDS: u64 = 3600;

/// How often issued and refused nonces may trigger a query for the database's epoch.
const CATCH_UP: Duration = Duration::from_secs(1);
/// How long a request for a nonce waits for that query.
const LOOK: Duration = Duration::from_millis(300);

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SessionError {
    /// The assertions do not authenticate a device that is served.
    #[error(transparent)]
    Refused(#[from] SessionRefusal),
    /// There is no secret to sign with.
    #[error("this store has no session secret: run `proxy enable-airgap-mode`")]
    NoSecret,
    /// The nonce could not be spent.
    #[error("cannot record the session")]
    Unavailable(#[source] Arc<StorageError>),
}

/// Recognises the nonces of this store, at one moment.
pub(crate) struct Nonces {
    keys: Arc<[SessionKey]>,
    epoch: u32,
}

impl Nonces {
    /// Opens a nonce.
    ///
    /// # Errors
    /// Why it does not count, for the device.
    pub(crate) fn open(&self, nonce: &str) -> Result<Nonce, String> {
        Nonce::open(nonce, &self.keys, self.epoch, clock::seconds()).map_err(|error| error.to_string())
    }
}

/// The digest that a request is known by.
pub(crate) fn request_digest(body: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, body))
}

/// Issues and verifies sessions.
pub(crate) struct Sessions {
    /// The signing key, then older accepted keys; empty before air-gapped mode.
    keys: ArcSwap<Vec<AcceptedKey<SessionKey>>>,
    lifetime: AtomicU32,
    strict: AtomicBool,
    /// The database's nonce epoch, as last seen.
    epoch: AtomicU32,
    /// Held while the epoch is queried.
    following: tokio::sync::Mutex<()>,
    /// When a refusal last triggered that query.
    caught_up: Mutex<Option<Instant>>,
    /// Limits concurrent signature checks to half of the processors: downloads keep their share.
    permits: Semaphore,
    memory: Memory,
    /// What cohorts keep by now.
    frozen: Frozen,
    random: SystemRandom,
    database: Database,
    spender: Spender,
    witness: Arc<Witness>,
}

impl Sessions {
    /// Sessions recorded in `database`, which belongs to `data_dir`.
    pub(crate) fn new(database: Database, data_dir: &Path) -> Self {
        let witness = Arc::new(Witness::new(&database, data_dir));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            keys: ArcSwap::default(),
            lifetime: AtomicU32::new(0),
            strict: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
            following: tokio::sync::Mutex::default(),
            caught_up: Mutex::default(),
            permits: Semaphore::new(cores.div_ceil(2)),
            memory: Memory::default(),
            frozen: Frozen::default(),
            random: SystemRandom::new(),
            spender: Spender::new(database.clone(), witness.clone()),
            database,
            witness,
        }
    }

    /// Applies the settings. `keys` starts with the signing key.
    pub(crate) fn configure(&self, keys: Vec<AcceptedKey<SessionKey>>, lifetime_seconds: u64, strict: bool) {
        self.keys.store(Arc::new(keys));
        self.lifetime.store(u32::try_from(lifetime_seconds).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.strict.store(strict, Ordering::Relaxed);
        self.memory.clear();
    }

    /// The keys accepted now, the signing key first.
    pub(crate) fn accepted_keys(&self) -> Vec<AcceptedKey<SessionKey>> {
        AcceptedKey::good(&self.keys.load())
    }

    /// At startup: continues where this server left the database, or starts an epoch in which all earlier nonces are
    /// invalid.
    pub(crate) async fn begin_life(&self) -> Result<(), StorageError> {
        let last = self.witness.go_on(&self.database).await?;
        self.spender.go_on(last);
        self.follow_epoch(false).await.map(drop)
    }

    /// Follows the database's nonce epoch, and starts the next one if that is `due`. A database that does not
    /// continue from its last state gets an epoch in which all earlier nonces are invalid. Returns whether the epoch
    /// changed.
    pub(crate) async fn follow_epoch(&self, due: bool) -> Result<bool, StorageError> {
        let _one_at_a_time = self.following.lock().await;
        let seen = i64::from(self.epoch.load(Ordering::Relaxed));
        let last = self.spender.last();
        let newest = match self.database.nonce_epoch(last.as_ref()).await? {
            Some(newest) if due && newest == seen => self.database.turn_nonce_epoch(seen).await?,
            Some(newest) => newest,
            None => {
                let mut chance = [0; 4];
                // Even without randomness the leap suffices.
                let _ = self.random.fill(&mut chance);
                let chance = u32::from_be_bytes(chance);
                let epoch = self.database.leap_nonce_epochs(last.as_ref(), chance).await?;
                info!(
                    epoch,
                    "All earlier nonces are void: nothing proves that the database continues from its last state"
                );
                self.spender.go_on(None);
                epoch
            }
        };
        if seen == 0 {
            self.witness.note(self.spender.last().as_ref());
        }
        self.epoch.store(u32::try_from(newest).unwrap_or(u32::MAX), Ordering::Relaxed);
        Ok(newest != seen)
    }

    /// Checks occasionally whether another server has abandoned the epoch in which nonces are issued.
    async fn catch_up(&self) {
        {
            let mut caught_up = self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
            if caught_up.is_some_and(|at| at.elapsed() < CATCH_UP) {
                return;
            }
            *caught_up = Some(Instant::now());
        }
        if let Err(failure) = self.follow_epoch(false).await {
            warn!(error = &failure as &dyn std::error::Error, "Cannot read the nonce epoch");
        }
    }

    /// A fresh nonce of the database's epoch, if the database answers at once.
    pub(crate) async fn nonce(&self) -> Result<String, SessionError> {
        let keys = self.keys.load();
        let key = &keys.first().ok_or(SessionError::NoSecret)?.key;
        let mut random = [0; 12];
        self.random.fill(&mut random).map_err(|_| SessionError::NoSecret)?;
        // A nonce of an abandoned epoch is worthless; one that cannot be spent now may be spent later.
        let _ = tokio::time::timeout(LOOK, self.catch_up()).await;
        let nonce = Nonce {
            epoch: self.epoch.load(Ordering::Relaxed),
            expires: clock::seconds() + NONCE_SECONDS,
            random,
        };
        Ok(nonce.seal(key))
    }

    /// Gives a session to the device that the assertions in `body` authenticate, and answers it with its token. The same body
    /// gets the same token again.
    pub(crate) async fn begin(
        &self,
        catalog: Arc<Catalog>,
        body: Bytes,
    ) -> Result<(Session, String), SessionError> {
        let nonces = self.nonces()?;
        let keys = Arc::clone(&nonces.keys);
        let request: SessionRequest = object::read(&body)
            .map_err(|_| SessionRefusal::decode("the request is not JSON with the three documents".into()))?;
        let strict = self.strict.load(Ordering::Relaxed);
        let checked = {
            let _permit = self.permits.acquire().await;
            let (catalog, now) = (catalog.clone(), clock::now());
            let remembered = self.memory.documents(catalog.position.generation);
            let digest = digest_of(&request);
            let is_known = remembered.find(&digest).is_some();
            let work = move || {
                let strict = strict.then_some(now);
                check(&request, digest, &catalog, |nonce| nonces.open(nonce), strict, &remembered)
            };
            logs::as_span(logs::span!("session check"), async move {
                // One signature takes less than the way to another thread and back.
                if is_known {
                    return work();
                }
                let failed = |_| SessionRefusal::decode("it could not be checked".into());
                tokio::task::spawn_blocking(work).await.map_err(failed)?
            })
            .await?
        };
        let spent = self.spend(&checked.nonce, &body).await?;
        let Spending::Spent { issued_at_micros, fresh } = spent else {
            return Err(SessionRefusal::replayed().into());
        };
        let issued = u64::try_from(issued_at_micros / 1_000_000).unwrap_or_default();
        let session = Session {
            device: checked.device,
            store: checked.store,
            verified: checked.verified,
            issued,
            expires: issued + u64::from(self.lifetime.load(Ordering::Relaxed)),
        };
        let key = keys.first().ok_or(SessionError::NoSecret)?;
        info!(device = ?session.device.to_string(), fresh, verified = session.verified, "A device session begins");
        let token = session.seal(key);
        Ok((session, token))
    }

    /// A key for devices that are to get these releases of a snap for as long as it holds.
    pub(crate) fn seal_cohort(&self, cohort: &Cohort) -> Result<String, SessionError> {
        self.keys.load().first().map(|accepted| cohort.seal(&accepted.key)).ok_or(SessionError::NoSecret)
    }

    /// The cohort behind a key; `None` if it is not this store's.
    fn open_cohort(&self, key: &str) -> Option<Cohort> {
        let now = clock::seconds();
        let keys = self.keys.load();
        let good = keys.iter().filter(|accepted| accepted.is_good(now)).map(|accepted| &accepted.key);
        Cohort::open(key, good)
    }

    /// What recognises the nonces of this store now.
    pub(crate) fn nonces(&self) -> Result<Nonces, SessionError> {
        let keys: Arc<[SessionKey]> = self.accepted_keys().into_iter().map(|accepted| accepted.key).collect();
        match keys.is_empty() {
            true => Err(SessionError::NoSecret),
            false => Ok(Nonces { keys, epoch: self.epoch.load(Ordering::Relaxed) }),
        }
    }

    /// Spends a nonce on a request for a serial. The same request may come again; `false` if it was spent on another.
    pub(crate) async fn spend_on(&self, nonce: &Nonce, body: &[u8]) -> Result<bool, SessionError> {
        Ok(matches!(self.spend(nonce, body).await?, Spending::Spent { .. }))
    }

    async fn spend(&self, nonce: &Nonce, body: &[u8]) -> Result<Spending, SessionError> {
        let random = URL_SAFE_NO_PAD.encode(nonce.random);
        let request_digest = request_digest(body);
        let of = NonceUse::new(&random, nonce.epoch.into(), &request_digest, clock::micros());
        let spent = self.spender.spend(of).await.map_err(SessionError::Unavailable)?;
        if matches!(spent, Spending::Replayed) {
            self.catch_up().await;
        }
        Ok(spent)
    }

    /// The session behind a token.
    pub(crate) fn accept(&self, token: &str) -> Result<Arc<Session>, TokenError> {
        let now = clock::seconds();
        // Its signature was checked before; its expiry, and its key's, are checked each time.
        if let Some((session, _)) = self.memory.session(token).filter(|(_, until)| now < *until) {
            return Ok(session);
        }
        let id = schema::session::key_id(token).ok_or(TokenError::Malformed)?;
        let keys = self.keys.load();
        let signer = keys.iter().find(|accepted| accepted.key.id() == id && accepted.is_good(now));
        let signer = signer.ok_or(TokenError::UnknownKey)?;
        let session = Arc::new(schema::session::open(token, std::slice::from_ref(&signer.key), now)?);
        let until = signer.until.map_or(session.expires, |until| until.min(session.expires));
        self.memory.remember_session(token, session.clone(), until);
        Ok(session)
    }
}
