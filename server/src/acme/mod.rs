//! Certificates from an ACME authority (RFC 8555), such as one on site.
//!
//! ```text
//! settings ──► due? ──► account ──► order ──► challenge ──► certificate ──► Pair::import ──► Store::configure
//!                └── not yet, or not again so soon                            (checks)         (old one out)
//! ```
//!
//! The old certificate stays in use until the new one is checked, and on any failure. `proxy.acme.directory` turns
//! ACME on. A certificate is due if it is the first from a directory, if the current one does not cover
//! `proxy.domain`, or if two thirds of the current one's lifetime are over, wherever it came from. The account and
//! its key are in `acme/` of the data directory.

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

/// How often to check whether a certificate is due.
const LOOK: Duration = Duration::from_secs(30);
/// Timeout of one attempt.
const LONGEST: Duration = Duration::from_secs(600);
/// How often an attempt is restarted after an error that a restart fixes.
const BEGINNINGS: usize = 4;

/// The state between attempts.
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
    /// No automatic attempt before this time, on the monotonic clock.
    not_before: Option<Instant>,
    /// Aborts the current attempt.
    stop: CancellationToken,
}

impl Acme {
    /// Remembers the account in `acme/` of a data directory.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("acme"), working: Default::default(), record: Mutex::default() }
    }

    /// Resets the state after the settings have changed: earlier certificates and failures no longer count.
    ///
    /// # Errors
    /// The account's file cannot be read or written.
    pub(crate) fn begin_anew(&self) -> Result<(), AcmeError> {
        let before = std::mem::take(&mut *self.record());
        before.stop.cancel();
        Saved::mark(&self.folder, false)
    }

    /// The current state.
    pub(crate) fn status(&self, settings: &Settings) -> AcmeStatus {
        let pair = settings.tls_pair().ok().flatten();
        let record = self.record();
        let text = |name| Some(settings.value(name).to_owned()).filter(|text| !text.is_empty());
        let directory = text("proxy.acme.directory");
        let now = clock::now();
        let held =
            record.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        let next = self.wanted(settings, pair.as_ref()).unwrap_or(now).max(now + held);
        let shown = |time: OffsetDateTime| time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).ok();
        AcmeStatus {
            next_renewal: directory.as_ref().and_then(|_| shown(next)),
            directory,
            challenge: settings.value("proxy.acme.challenge").to_owned(),
            domain: settings.value("proxy.domain").to_owned(),
            contact: settings.list("proxy.acme.contact"),
            eab_kid: text("proxy.acme.eab-kid"),
            not_after: pair.and_then(|pair| shown(pair.not_after())),
            last_error: record.last_error.clone(),
            failures: record.failures,
        }
    }

    /// When a certificate becomes due; `None` if one is due now regardless of the time.
    fn wanted(&self, settings: &Settings, pair: Option<&Pair>) -> Option<OffsetDateTime> {
        // The next attempt reports an unreadable file.
        let saved = Saved::load(&self.folder).ok().flatten()?;
        let obtained = saved.obtained && saved.directory == settings.value("proxy.acme.directory");
        let pair = pair.filter(|pair| obtained && pair.covers(settings.value("proxy.domain")))?;
        Some(schedule::renewal(pair))
    }

    fn is_due(&self, settings: &Settings) -> bool {
        let on = !settings.value("proxy.acme.directory").is_empty();
        let held = self.record().not_before.is_some_and(|at| Instant::now() < at);
        let pair = settings.tls_pair().ok().flatten();
        on && !held && self.wanted(settings, pair.as_ref()).is_none_or(|at| at <= clock::now())
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the result of an attempt, and when the next may start.
    fn note(&self, failure: Option<&AcmeError>) {
        let mut record = self.record();
        let wait = match failure {
            None => {
                (record.failures, record.last_error) = (0, None);
                schedule::PAUSE
            }
            // Whatever interrupted it has reset the state.
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

/// Checks forever whether a certificate is due, and obtains it.
pub(crate) async fn keep_up(store: &Store) {
    let mut round = tokio::time::interval(LOOK);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        round.tick().await;
        let done = renew_if_due(store).await;
        store.observed().round("acme", done);
    }
}

/// Obtains a certificate if one is due, unless the last attempt was too recent. The status shows the result; `false`
/// if one was due but not obtained.
pub(crate) async fn renew_if_due(store: &Store) -> bool {
    let _one_at_a_time = store.acme().working.lock().await;
    // The result is recorded and logged.
    !store.acme().is_due(&store.settings()) || attempt(store).await.is_ok()
}

/// Obtains a certificate now. With `revoke` the replaced one is revoked once the new one is in use.
///
/// # Errors
/// Why there is no new certificate; the old one stays in use, except after [`AcmeError::NotRevoked`].
pub(crate) async fn renew(store: &Store, revoke: bool) -> Result<(), AcmeError> {
    let _one_at_a_time = store.acme().working.lock().await;
    let before = store.settings().tls_pair().ok().flatten();
    let account = attempt(store).await?;
    if let (true, Some(before)) = (revoke, &before) {
        let reason = Some(RevocationReason::Superseded);
        let request = RevocationRequest { certificate: &before.chain()[0], reason };
        account.revoke(&request).await.map_err(AcmeError::NotRevoked)?;
        info!(subject = before.subject(), "The replaced certificate was revoked");
    }
    Ok(())
}

/// Tries once, and records the result.
async fn attempt(store: &Store) -> Result<Account, AcmeError> {
    let settings = store.settings();
    if settings.value("proxy.acme.directory").is_empty() {
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

/// A checked certificate, and the account it was issued to.
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
