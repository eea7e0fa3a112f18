//! Validation sets: sequences that are signed here.

use std::collections::BTreeMap;

use schema::assertion::{AssertionType, Builder, Checker, HeaderValue, KeyTime};
use schema::signing::Purpose;
use serde_json::Value;

use super::helper::SignerError;
use super::keys::{self, KeyState};
use super::{Signing, stream};
use crate::catalog::Catalog;
use crate::clock;
use crate::storage::Database;
use crate::storage::policies::KeyRecord;

/// Why a set is not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SetError {
    /// There is no key to sign with.
    #[error(
        "no key signs validation sets of {0}: `proxy keys create NAME --for validation-set --account {0}` makes one"
    )]
    NoKey(String),
    /// There is no such key.
    #[error("there is no key {0} that signs validation sets of {1}: see `proxy keys list`")]
    UnknownKey(String, String),
    /// Several keys would do.
    #[error("several keys sign validation sets of {0}: name one with --key")]
    WhichKey(String),
    /// The key cannot sign now.
    #[error("key {0} is not ready: `proxy keys list` shows why")]
    NotReady(String),
    /// What was signed would be refused.
    #[error("devices would not accept what this store signed: {0}")]
    Refused(String),
    /// The signer.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// The key that signs sets of an account: the one of this name, or the only one.
pub(crate) fn set_key(catalog: &Catalog, account: &str, name: Option<&str>) -> Result<KeyRecord, SetError> {
    let of_account = |key: &KeyRecord| {
        key.label.purpose == Purpose::ValidationSet && key.label.account == account && key.retired.is_none()
    };
    let mut found = keys::keys(catalog).into_iter().filter(of_account);
    let key = match name {
        Some(name) => found
            .find(|key| key.label.name == name)
            .ok_or_else(|| SetError::UnknownKey(name.chars().take(80).collect(), account.to_owned()))?,
        None => match (found.next(), found.next()) {
            (Some(key), None) => key,
            (Some(_), Some(_)) => return Err(SetError::WhichKey(account.to_owned())),
            (None, _) => return Err(SetError::NoKey(account.to_owned())),
        },
    };
    match KeyState::of(&key, catalog, clock::now()) {
        KeyState::Ready { .. } => Ok(key),
        _ => Err(SetError::NotReady(key.label.name)),
    }
}

impl Signing {
    /// Has a sequence signed: its headers, as `snap sign` reads them. The answer is a stream with all that is needed to check it.
    pub(crate) async fn sign_set(
        &self,
        database: &Database,
        catalog: &Catalog,
        key: &KeyRecord,
        headers: &Value,
    ) -> Result<Vec<u8>, SetError> {
        let mut document = Builder::new(AssertionType::ValidationSet);
        for (name, value) in headers.as_object().into_iter().flatten().filter(|(name, _)| *name != "type") {
            document = document.header(name, header(value));
        }
        let signed = self.sign(database, key, document).await?;
        let time = KeyTime::Strict { now: clock::now() };
        let checker = Checker { anchors: &catalog.anchors, source: &catalog.assertions, time };
        checker.check(&signed).map_err(|error| SetError::Refused(error.problem.to_string()))?;
        Ok(stream(catalog, &signed))
    }
}

/// A header from its form in JSON.
fn header(value: &Value) -> HeaderValue {
    match value {
        Value::Array(items) => HeaderValue::List(items.iter().map(header).collect()),
        Value::Object(entries) => {
            let entries: BTreeMap<_, _> =
                entries.iter().map(|(name, value)| (name.clone(), header(value))).collect();
            HeaderValue::Map(entries)
        }
        Value::String(text) => HeaderValue::Text(text.clone()),
        other => HeaderValue::Text(other.to_string()),
    }
}
