//! Certificates from an ACME authority (RFC 8555), such as one of the site's own.
//!
//! ```text
//! settings ──► due? ──► account ──► order ──► challenge ──► certificate ──► Pair::import ──► Store::configure
//!                └── not yet, or not again so soon                            (checks)         (old one out)
//! ```
//!
//! The certificate of before stays in use until the new one is checked, and on any failure. `proxy.acme.directory`
//! is the switch. Due are: the first certificate of a directory, one that does not cover `proxy.domain`, and one
//! that has lived two thirds of its time, wherever it came from. In `acme/` of the data directory lies the account
//! with its key.

mod account;
mod error;
mod order;
mod schedule;
mod wire;

pub(crate) use error::AcmeError;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use instant_acme::{Account, RevocationReason, RevocationRequest};
use schema::api::admin::AcmeStatus;
use schema::config::Settings;
use schema::tls::Pair;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::account::Saved;
use crate::clock;
use crate::store::Store;

/// How often it is looked whether a certificate is due.
const LOOK: Duration = Duration::from_secs(30);
/// The longest that one attempt may take.
const LONGEST: Duration = Duration::from_secs(600);
/// How often one attempt begins anew after what is cured by that.
const BEGINNINGS: usize = 4;

/// What is remembered between attempts.
pub(crate) struct Acme {
    folder: PathBuf,
    /// Held during an attempt.
    working: tokio::sync::Mutex<()>,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    failures: u32,
    last_error: Option<String>,
    /// Nothing is tried by itself before; on the clock that never jumps.
    not_before: Option<Instant>,
    /// Ends the attempt that is under way.
    stop: CancellationToken,
}

impl Acme {
    /// Remembers the account in `acme/` of a data directory.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("acme"), working: Default::default(), record: Mutex::default() }
    }

    /// Begins anew after the settings have changed: what was obtained or went wrong before counts no more.
    ///
    /// # Errors
    /// The account's file cannot be read or written.
    pub(crate) fn begin_anew(&self) -> Result<(), AcmeError> {
        let before = std::mem::take(&mut *self.record());
        before.stop.cancel();
        Saved::mark(&self.folder, false)
    }

    /// How things stand.
    pub(crate) fn status(&self, settings: &Settings) -> AcmeStatus {
        let pair = settings.tls_pair().ok().flatten();
        let record = self.record();
        let directory = settings.acme.directory.clone();
        let now = clock::now();
        let held =
            record.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        let next = self.wanted(settings, pair.as_ref()).unwrap_or(now).max(now + held);
        let shown = |time: OffsetDateTime| time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).ok();
        AcmeStatus {
            next_renewal: directory.as_ref().and_then(|_| shown(next)),
            directory,
            challenge: settings.acme.challenge.name().to_owned(),
            domain: settings.site.domain.clone(),
            contact: settings.acme.contact.clone(),
            eab_kid: settings.acme.eab_kid.clone(),
            not_after: pair.and_then(|pair| shown(pair.not_after())),
            last_error: record.last_error.clone(),
            failures: record.failures,
        }
    }

    /// When a certificate is wanted by its time; `None` when one is wanted whatever the time.
    fn wanted(&self, settings: &Settings, pair: Option<&Pair>) -> Option<OffsetDateTime> {
        // A file that cannot be read is the next attempt's to report.
        let saved = Saved::load(&self.folder).ok().flatten()?;
        let obtained = saved.obtained && Some(&saved.directory) == settings.acme.directory.as_ref();
        let pair = pair.filter(|pair| obtained && pair.covers(&settings.site.domain))?;
        Some(schedule::renewal(pair))
    }

    fn is_due(&self, settings: &Settings) -> bool {
        let on = settings.acme.directory.is_some();
        let held = self.record().not_before.is_some_and(|at| Instant::now() < at);
        let pair = settings.tls_pair().ok().flatten();
        on && !held && self.wanted(settings, pair.as_ref()).is_none_or(|at| at <= clock::now())
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how an attempt ended, and when the next may begin.
    fn note(&self, failure: Option<&AcmeError>) {
        let mut record = self.record();
        let wait = match failure {
            None => {
                (record.failures, record.last_error) = (0, None);
                schedule::PAUSE
            }
            // Whoever interrupted it has begun anew.
            Some(AcmeError::Interrupted) => return,
            Some(error) => {
                let (text, wait) = (error.one_line(), schedule::back_off(record.failures));
                warn!(error = text, next_attempt_s = wait.as_secs(), "Cannot get a new certificate: {text}");
                record.failures = record.failures.saturating_add(1);
                record.last_error = Some(text);
                wait
            }
        };
        record.not_before = Some(Instant::now() + wait);
    }
}

/// Looks for ever whether a certificate is due, and gets it.
pub(crate) async fn keep_up(store: &Store) {
    let mut round = tokio::time::interval(LOOK);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        round.tick().await;
        let done = renew_if_due(store).await;
        store.observed().round("acme", done);
    }
}

/// Gets a certificate if one is due, unless the last attempt was too short a time ago. How it ended is in the status;
/// `false` when there is none though one was due.
pub(crate) async fn renew_if_due(store: &Store) -> bool {
    let _one_at_a_time = store.acme().working.lock().await;
    // How it ends is noted and logged.
    !store.acme().is_due(&store.settings()) || attempt(store).await.is_ok()
}

/// Gets a certificate now. With `revoke` the one of before is revoked once the new one is in use.
///
/// # Errors
/// Whatever stands in the way; the certificate of before is in use then, but after [`AcmeError::NotRevoked`].
pub(crate) async fn renew(store: &Store, revoke: bool) -> Result<(), AcmeError> {
    let _one_at_a_time = store.acme().working.lock().await;
    let before = store.settings().tls_pair().ok().flatten();
    let account = attempt(store).await?;
    if let (true, Some(before)) = (revoke, &before) {
        let reason = Some(RevocationReason::Superseded);
        let request = RevocationRequest { certificate: &before.chain()[0], reason };
        account.revoke(&request).await.map_err(AcmeError::NotRevoked)?;
        info!(subject = before.subject(), "The certificate of before was revoked");
    }
    Ok(())
}

/// Tries once, and notes how it ended.
async fn attempt(store: &Store) -> Result<Account, AcmeError> {
    let settings = store.settings();
    if settings.acme.directory.is_none() {
        return Err(AcmeError::Off);
    }
    let stop = store.acme().record().stop.clone();
    let obtaining = tokio::time::timeout(LONGEST, obtain(store, &settings));
    let done = match stop.run_until_cancelled(obtaining).await {
        None => Err(AcmeError::Interrupted),
        Some(Err(_)) => Err(AcmeError::Slow(LONGEST)),
        Some(Ok(Err(error))) => Err(error),
        Some(Ok(Ok((account, pair)))) => put_in_force(store, &pair).await.map(|()| account),
    };
    store.acme().note(done.as_ref().err());
    done
}

/// A checked certificate, and the account that it was made for.
async fn obtain(store: &Store, settings: &Settings) -> Result<(Account, Pair), AcmeError> {
    let folder = &store.acme().folder;
    for _ in 1..BEGINNINGS {
        match obtain_once(store, settings).await {
            Err(error) if error.is_bad_nonce() => {}
            Err(error) if error.is_unknown_account() => {
                warn!("The ACME authority does not know the account any more: making a new one");
                Saved::forget(folder)?;
            }
            done => return done,
        }
    }
    obtain_once(store, settings).await
}

async fn obtain_once(store: &Store, settings: &Settings) -> Result<(Account, Pair), AcmeError> {
    let account = account::open(&store.acme().folder, settings, store.data_dir()).await?;
    let pair = order::fulfil(&account, settings, store.tls().challenges()).await?;
    Ok((account, pair))
}

async fn put_in_force(store: &Store, pair: &Pair) -> Result<(), AcmeError> {
    let (cert, key) = (pair.cert_pem(), pair.key_pem());
    let values = [("proxy.tls.cert", cert.as_str()), ("proxy.tls.key", key.as_str())];
    let done = store.configure("acme", |settings| settings.set_all(values)).await;
    done.map_err(|error| AcmeError::NotTaken(Box::new(error)))?;
    Saved::mark(&store.acme().folder, true)?;
    info!(
        subject = pair.subject(),
        not_after = %pair.not_after(),
        "A certificate came from the ACME authority, valid until {}",
        pair.not_after()
    );
    Ok(())
}
