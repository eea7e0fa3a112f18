//! New settings, from their check to their being in force.

use std::sync::Arc;

use schema::causes::one_line;
use schema::config::{ConfigError, SettingChange, Settings, UnseenChange};
use schema::tls::Pair;
use serde_json::{Value, json};
use tracing::error;

use super::places::{self, PlaceError};
use super::secrets::{SESSION_KEY, recognise_settings};
use super::{Site, SiteError};
use crate::clock;
use crate::storage::error::CommitError;
use crate::storage::records::AuditEvent;
use crate::store::off_thread;
use crate::tls::TlsError;
use crate::tls::files::{self, PairFilesError};

impl Site {
    /// Changes the settings, puts them in force and writes them to the file. What only a restart can change is kept
    /// for then. Answers the old settings and the new ones.
    ///
    /// # Errors
    /// Settings that are wrong, or that the store cannot work with: nothing has changed then. When the end is unknown, the
    /// settings may be in force, and changing them again is safe.
    pub(crate) async fn configure(
        &self,
        who: &str,
        change: impl FnOnce(&mut Settings) -> Result<(), ConfigError>,
    ) -> Result<(Arc<Settings>, Arc<Settings>), ConfigureError> {
        self.take(who, |before, settings| {
            change(settings)?;
            self.keep_logins(settings)?;
            keep_to_files(before, settings)
        })
        .await
    }

    /// As [`Site::configure`], for another secret in place of one that goes out of use.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn rotate(
        &self,
        who: &str,
        change: impl FnOnce(&mut Settings) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigureError> {
        self.take(who, |_, settings| Ok(change(settings)?)).await.map(drop)
    }

    /// Takes the certificate from its files if another program has replaced them; the earlier one stays in use while they
    /// hold no good pair.
    ///
    /// # Errors
    /// Why it was not taken. This is noted for reports, and logged.
    pub(crate) async fn follow_certificate(&self) -> Result<(), ConfigureError> {
        let done = self.take_from_files().await;
        self.tls.note_files(done.as_ref().err().map(|error| error as &(dyn std::error::Error + 'static)));
        done
    }

    async fn take_from_files(&self) -> Result<(), ConfigureError> {
        let settings = self.settings();
        let Some(named) = settings.tls.files.clone() else { return Ok(()) };
        let (held, read) = (settings.tls_pair().ok().flatten(), named.clone());
        let pair = off_thread(move || files::read(&read, &settings, clock::now())).await?;
        let texts = |pair: &Pair| (pair.cert_pem(), pair.key_pem());
        let (cert, key) = texts(&pair);
        if held.as_ref().map(texts).as_ref() == Some(&(cert.clone(), key.clone())) {
            return Ok(());
        }
        let values = [("proxy.tls.cert", &*cert), ("proxy.tls.key", &*key)];
        self.take("certificate files", |before, settings| {
            match &before.tls.files {
                Some(files) if *files == named => Ok(settings.set_all(values)?),
                // The operator has turned to something else meanwhile.
                _ => Err(PairFilesError::Elsewhere(Box::new(named)).into()),
            }
        })
        .await
        .map(drop)
    }

    async fn take(
        &self,
        who: &str,
        change: impl FnOnce(&Settings, &mut Settings) -> Result<(), ConfigureError>,
    ) -> Result<(Arc<Settings>, Arc<Settings>), ConfigureError> {
        let _one_at_a_time = self.configuring.lock().await;
        let before = self.settings();
        let mut settings = (*before).clone();
        change(&before, &mut settings)?;
        recognise_settings(self.catalog().meta.get(SESSION_KEY), &settings)?;
        self.keep_signing_secret(&before, &settings)?;
        // No import is between the name of a file and its row while another place is looked at and taken.
        let _no_import = match before.storage == settings.storage {
            true => None,
            false => Some(self.naming.write().await),
        };
        places::try_places(self, &settings).await?;
        let tls = self.tls.prepare(&settings)?;
        let event = settings_changed(who, &SettingChange::between(&before, &settings), json!({}));
        self.database().record_event(&event, clock::micros()).await.map_err(CommitError::from)?;
        settings.save_in_steps(&self.data_dir, |step| failpoint_io!(step))?;
        failpoint!("config.saved");
        let settings = Arc::new(settings);
        self.settings.store(Arc::clone(&settings));
        self.take_settings();
        self.tls.install(tls);
        // They are in force by now: what fails from here on leaves the outcome to be seen.
        if *self.catalog().base_url != *self.tls.state().base_url {
            // Answers hold links: the only part of the catalog that settings decide.
            self.store.publish().await.map_err(|failure| CommitError::Unknown(failure.into_storage()))?;
        }
        self.remember_secret().await.map_err(|failure| match failure {
            CommitError::Storage(failure) => CommitError::Unknown(failure),
            other => other,
        })?;
        Ok((before, settings))
    }

    /// Records what was changed in the configuration file by `proxy config` while no server ran. What cannot be recorded is
    /// kept for the next start.
    pub(super) async fn record_unseen(&self) {
        let recorded = async {
            let changes = UnseenChange::all(&self.data_dir)?;
            for change in &changes {
                let offline = json!({ "changed-at": change.at, "server": "stopped" });
                let event = settings_changed(&change.who, &change.changes, offline);
                self.database().record_event(&event, clock::micros()).await?;
            }
            if !changes.is_empty() {
                UnseenChange::forget_all(&self.data_dir)?;
            }
            anyhow::Ok(())
        };
        if let Err(failure) = recorded.await {
            error!(
                error = one_line(failure.as_ref()),
                "Cannot record what was changed while the server was stopped"
            );
        }
    }
}

/// A certificate that comes from files comes from nowhere else.
fn keep_to_files(before: &Settings, settings: &mut Settings) -> Result<(), ConfigureError> {
    let Some(named) = settings.tls.files.clone() else { return Ok(()) };
    if before.tls.files.as_ref() != Some(&named) {
        let pair = files::read(&named, settings, clock::now())?;
        let (cert, key) = (pair.cert_pem(), pair.key_pem());
        return Ok(settings.set_all([("proxy.tls.cert", &*cert), ("proxy.tls.key", &*key)])?);
    }
    let is_pair = |change: &SettingChange| ["proxy.tls.cert", "proxy.tls.key"].contains(&&*change.key);
    match SettingChange::between(before, settings).iter().any(is_pair) {
        true => Err(PairFilesError::Elsewhere(Box::new(named)).into()),
        false => Ok(()),
    }
}

fn settings_changed(who: &str, changes: &[SettingChange], mut detail: Value) -> AuditEvent {
    let keys: Vec<&str> = changes.iter().map(|change| change.key.as_str()).collect();
    detail["changes"] = json!(changes);
    AuditEvent::new(who, "config", keys.join(", ")).detail(detail)
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
    Store(#[from] SiteError),
    /// They name a place that does not do.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The certificate files do not do.
    #[error(transparent)]
    Files(#[from] PairFilesError),
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
