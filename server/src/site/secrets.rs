//! The secret that device sessions are signed with, and whether it is the one that the database was used with.

use schema::config::{RotatedSecret, Settings};
use schema::service_login::LoginKey;
use schema::session::SessionKey;

use super::{Site, SiteError};
use crate::clock;
use crate::sessions::AcceptedKey;
use crate::storage::error::CommitError;
use crate::storage::records::{AuditEvent, Change, LoginRecord};

/// Name of the fact that says which session secret this store was given.
pub(crate) const SESSION_KEY: &str = "session-key";

/// Why no session can be given out that other servers of this store accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretTrouble {
    /// There is none.
    Missing,
    /// The database names another one.
    Foreign,
}

impl Site {
    /// What is wrong with the secret that device sessions are signed with.
    pub(crate) fn secret_trouble(&self) -> Option<SecretTrouble> {
        let keys = session_keys(&self.settings());
        match recognise(self.catalog().meta.get(SESSION_KEY), &keys) {
            Ok(()) if keys.is_empty() => Some(SecretTrouble::Missing),
            Ok(()) => None,
            Err(SiteError::SecretMissing(_)) => Some(SecretTrouble::Missing),
            Err(_) => Some(SecretTrouble::Foreign),
        }
    }

    /// Refuses settings without a secret that signed logins which are valid.
    pub(super) fn keep_logins(&self, settings: &Settings) -> Result<(), SiteError> {
        let (catalog, now) = (self.catalog(), clock::seconds());
        let keys = AcceptedKey::all(settings, RotatedSecret::Logins, LoginKey::new);
        let is_lost = |login: &&LoginRecord| {
            let key = login.key.as_ref().filter(|key| self.logins().accepts_key(key));
            !login.revoked
                && now < login.expires
                && key.is_some_and(|key| keys.iter().all(|accepted| accepted.key.id() != key))
        };
        match catalog.logins().values().filter(is_lost).count() {
            0 => Ok(()),
            lost => Err(SiteError::LoginSecret(lost)),
        }
    }

    /// Writes down which secret this store works with, before the first session is signed with it.
    pub(super) async fn remember_secret(&self) -> Result<(), CommitError> {
        // Settings in force were recognised, so that another key in the database is one that was rotated out.
        let Some(AcceptedKey { key, .. }) = session_keys(&self.settings()).into_iter().next() else {
            return Ok(());
        };
        if self.catalog().meta.get(SESSION_KEY).is_some_and(|known| known == key.id()) {
            return Ok(());
        }
        self.change(|_| {
            let event = AuditEvent::new("proxyd", "take-session-secret", key.id());
            let mut change = Change::new(event, clock::micros());
            change.meta.push((SESSION_KEY.into(), key.id().to_owned()));
            Ok((change, ()))
        })
        .await
    }
}

/// The key that signs, then those that were rotated out; none without the first.
pub(super) fn session_keys(settings: &Settings) -> Vec<AcceptedKey<SessionKey>> {
    AcceptedKey::all(settings, RotatedSecret::Sessions, SessionKey::new)
}

/// Do these settings hold the secret that a database was used with, by the id that it knows?
pub(crate) fn recognise_settings(known: Option<&String>, settings: &Settings) -> Result<(), SiteError> {
    recognise(known, &session_keys(settings))
}

/// Never works with a secret that is not the one its devices' sessions were signed with. One that was rotated out is
/// recognised too, however long ago: the rotation may have been cut off before the database knew.
fn recognise(expected: Option<&String>, keys: &[AcceptedKey<SessionKey>]) -> Result<(), SiteError> {
    match (expected, keys.first()) {
        (Some(expected), None) => Err(SiteError::SecretMissing(expected.clone())),
        (Some(expected), Some(signing)) if keys.iter().all(|accepted| accepted.key.id() != expected) => {
            Err(SiteError::SecretForeign { expected: expected.clone(), found: signing.key.id().to_owned() })
        }
        _ => Ok(()),
    }
}
