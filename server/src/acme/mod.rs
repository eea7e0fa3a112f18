//! Certificates from an ACME authority (RFC 8555), such as one on site.
//!
//! ```text
//! settings ──► due? ──► account ──► order ──► challenge ──► certificate ──► Pair::import ──► Site::configure
//!                └── not yet, or not again so soon                            (checks)         (old one out)
//! ```
//!
//! The old certificate stays in use until the new one is checked, and on any failure. `proxy.acme.directory` turns
//! ACME on. A certificate is due if it is the first from a directory, if the current one does not cover
//! `proxy.domain` and all of `proxy.acme.names`, or if two thirds of the current one's lifetime are over, wherever it came from. The account and
//! its key are in `acme/` of the data directory.

pub(crate) mod account;
mod error;
pub(crate) mod order;
mod schedule;
mod wire;

pub(crate) use error::AcmeError;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use schema::api::admin::AcmeStatus;
use schema::config::Settings;
use schema::tls::Pair;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::account::Saved;
use crate::clock;

/// The state between attempts.
pub(crate) struct Acme {
    pub(crate) folder: PathBuf,
    /// Held during an attempt.
    pub(crate) working: tokio::sync::Mutex<()>,
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
            names: settings.acme.names.clone(),
            contact: settings.acme.contact.clone(),
            eab_kid: settings.acme.eab_kid.clone(),
            not_after: pair.and_then(|pair| shown(pair.not_after())),
            last_error: record.last_error.clone(),
            failures: record.failures,
        }
    }

    /// When a certificate becomes due; `None` if one is due now regardless of the time.
    fn wanted(&self, settings: &Settings, pair: Option<&Pair>) -> Option<OffsetDateTime> {
        // The next attempt reports an unreadable file.
        let saved = Saved::load(&self.folder).ok().flatten()?;
        let obtained = saved.obtained && Some(&saved.directory) == settings.acme.directory.as_ref();
        let pair = pair.filter(|pair| obtained && order::names(settings).all(|name| pair.covers(name)))?;
        Some(schedule::renewal(pair))
    }

    /// Is a certificate wanted by now, and may it be asked for?
    pub(crate) fn is_due(&self, settings: &Settings) -> bool {
        let on = settings.acme.directory.is_some();
        let held = self.record().not_before.is_some_and(|at| Instant::now() < at);
        let pair = settings.tls_pair().ok().flatten();
        on && !held && self.wanted(settings, pair.as_ref()).is_none_or(|at| at <= clock::now())
    }

    /// Ends the attempt that is under way when the settings change.
    pub(crate) fn interruption(&self) -> CancellationToken {
        self.record().stop.clone()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how an attempt ended, and when the next may begin.
    pub(crate) fn note(&self, failure: Option<&AcmeError>) {
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
