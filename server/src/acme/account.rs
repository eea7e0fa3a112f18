//! The account at the authority: created once, stored with its key in `acme/account.json`, owner-only.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use schema::config::Settings;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tracing::info;

use super::error::AcmeError;
use super::wire::Wire;

const FILE: &str = "account.json";

/// The stored account.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Saved {
    /// Where it is one.
    pub(crate) directory: String,
    contact: Vec<String>,
    eab_kid: String,
    /// Has a certificate come since ACME was turned on?
    pub(crate) obtained: bool,
    /// Id and private key, in the shape of the ACME library.
    credentials: serde_json::Value,
}

impl Saved {
    /// The account of the folder, if there is one.
    pub(crate) fn load(folder: &Path) -> Result<Option<Self>, AcmeError> {
        let path = folder.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(saved) => Ok(Some(saved)),
                Err(source) => Err(AcmeError::NotAnAccount { path, source }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(AcmeError::File { verb: "read", path, source }),
        }
    }

    /// Keeps it: a file that is whole at any moment and that only its owner can read.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), AcmeError> {
        let write = || {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let mut file = NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.as_file().sync_all()?;
            file.persist(folder.join(FILE))?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|source| AcmeError::File { verb: "write", path: folder.join(FILE), source })
    }

    /// Notes in the account of the folder, if there is one, whether a certificate has come.
    pub(crate) fn mark(folder: &Path, obtained: bool) -> Result<(), AcmeError> {
        match Self::load(folder)? {
            Some(saved) if saved.obtained != obtained => Self { obtained, ..saved }.save(folder),
            _ => Ok(()),
        }
    }

    /// Removes it.
    pub(crate) fn forget(folder: &Path) -> Result<(), AcmeError> {
        let path = folder.join(FILE);
        fs::remove_file(&path).map_err(|source| AcmeError::File { verb: "remove", path, source })
    }
}

/// The account of the settings: the one that is kept, with its contacts brought up to date, or a new one.
pub(crate) async fn open(folder: &Path, settings: &Settings, data_dir: &Path) -> Result<Account, AcmeError> {
    let directory = settings.acme.directory.as_deref().unwrap_or_default();
    let eab_kid = settings.acme.eab_kid.as_deref().unwrap_or_default();
    let address = |one: String| if one.contains(':') { one } else { format!("mailto:{one}") };
    let contact: Vec<String> = settings.acme.contact.iter().cloned().map(address).collect();
    let contacts: Vec<&str> = contact.iter().map(String::as_str).collect();
    let at = |step| move |source| AcmeError::Authority { step, directory: directory.to_owned(), source };
    let not_an_account = |source| AcmeError::NotAnAccount { path: folder.join(FILE), source };
    let builder = Account::builder_with_http(Box::new(Wire::new(settings, data_dir)?));

    let kept = Saved::load(folder)?;
    if let Some(saved) = kept.filter(|saved| saved.directory == directory && saved.eab_kid == eab_kid) {
        let credentials: AccountCredentials =
            serde_json::from_value(saved.credentials.clone()).map_err(not_an_account)?;
        let account = builder.from_credentials(credentials).await.map_err(at("use the account"))?;
        if saved.contact != contact {
            account.update_contacts(&contacts).await.map_err(at("change the contacts of the account"))?;
            Saved { contact, ..saved }.save(folder)?;
        }
        return Ok(account);
    }
    let new = NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
    let binding = settings.acme.eab_key.as_ref().map(|key| ExternalAccountKey::new(eab_kid.to_owned(), key));
    let made = builder.create(&new, directory.to_owned(), binding.as_ref()).await;
    let (account, credentials) = made.map_err(at("make an account"))?;
    let credentials = serde_json::to_value(&credentials).map_err(not_an_account)?;
    let (directory, eab_kid) = (directory.to_owned(), eab_kid.to_owned());
    Saved { directory, contact, eab_kid, obtained: false, credentials }.save(folder)?;
    info!(account = account.id(), "Made the account {} at the ACME authority", account.id());
    Ok(account)
}
