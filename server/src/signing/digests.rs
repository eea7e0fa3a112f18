//! Digests that a tool outside hashed: `snap sign` and snapcraft, through `proxy keymgr`.
//!
//! The signer sees no document here, so only keys of their own purpose sign in this way.

use schema::assertion::is_sha512_info;
use schema::signing::Purpose;

use super::Signing;
use super::helper::SignerError;
use super::keys::{self, KeyState};
use super::wire::{Reply, Request};
use crate::catalog::Catalog;
use crate::clock;
use crate::storage::Database;
use crate::storage::policies::KeyRecord;

/// Why a digest is not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DigestError {
    /// There is no such key.
    #[error("there is no key {0} for models: `proxy keys create {0} --for model --account ACCOUNT` makes it")]
    UnknownKey(String),
    /// The key is for something else.
    #[error("key {0} is not for models: `proxy keys list` shows what each is for")]
    OtherKey(String),
    /// The key cannot sign now.
    #[error("key {0} is not ready: `proxy keys list` shows why")]
    NotReady(String),
    /// It is something else.
    #[error("what is to be signed is no SHA-512 digest in its DigestInfo")]
    NoDigest,
    /// The signer.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// The key for models of this name, if it can sign.
pub(crate) fn model_key(catalog: &Catalog, name: &str) -> Result<KeyRecord, DigestError> {
    let shown = || name.chars().take(80).collect();
    let key = keys::find(catalog, name).ok_or_else(|| DigestError::UnknownKey(shown()))?;
    if key.label.purpose != Purpose::Model {
        return Err(DigestError::OtherKey(shown()));
    }
    match KeyState::of(&key, catalog, clock::now()) {
        KeyState::Ready { .. } => Ok(key),
        _ => Err(DigestError::NotReady(key.label.name)),
    }
}

impl Signing {
    /// The RSA value over a digest, in its `DigestInfo`; checked before it is answered.
    pub(crate) async fn sign_digest(
        &self,
        database: &Database,
        key: &KeyRecord,
        info: Vec<u8>,
    ) -> Result<Vec<u8>, DigestError> {
        if !is_sha512_info(&info) {
            return Err(DigestError::NoDigest);
        }
        self.count(database, key).await?;
        let request =
            Request::SignDigest { label: key.label.clone(), sealed: key.sealed.clone(), info: info.clone() };
        match self.signer(key.place.as_ref()).ask(request).await? {
            Reply::SignedDigest { value } if keys::is_value_of(key, &info, &value) => Ok(value),
            Reply::SignedDigest { .. } => {
                Err(SignerError::Wrong("the RSA value does not match".into()).into())
            }
            _ => Err(SignerError::Nonsense.into()),
        }
    }
}
