//! Keys: made, registered, ready, retired.

use aws_lc_rs::rand::SecureRandom as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::assertion::{
    Assertion, AssertionType, Builder, Details, PublicKey, Ref, is_account_id, is_key_name,
};
use schema::signing::{KeyPlace, Label, Purpose};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::helper::SignerError;
use super::wire::{Reply, Request};
use super::{MOST_APPROVALS, Signing};
use crate::catalog::Catalog;
use crate::clock;
use crate::storage::Database;
use crate::storage::error::CommitError;
use crate::storage::policies::KeyRecord;
use crate::storage::records::{AuditEvent, Change};

/// Why a key is not made, registered or retired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum KeyError {
    /// The name does not do.
    #[error(
        "{0:?} cannot be the name of a key: up to 64 lower case letters and digits, at least one of them a letter, with single \
         dashes between them"
    )]
    Name(String),
    /// The account does not do.
    #[error("{0:?} is no account id: `proxy list-account-keys` shows the accounts that are known here")]
    Account(String),
    /// The name was used before.
    #[error(
        "there is a key {0} already, and the name of a key is never used again: take one with the site and the year in it"
    )]
    Used(String),
    /// The account has a key of this name.
    #[error(
        "account {1} has a registered key with the name {0}, and gets no other: take one with the site and the year in it"
    )]
    Registered(String, String),
    /// Nobody asks so many.
    #[error("--approvals takes 0, 1 or 2")]
    Approvals,
    /// A limit that lets nothing through.
    #[error("--per-day takes 1 or more: `proxy keys retire` takes a key out of use")]
    Limit,
    /// A label of a token does not do.
    #[error("{0:?}: the labels of a token and its key are 1 to 64 printable ASCII characters")]
    Place(String),
    /// The key of the token has a name here already.
    #[error("key {0} is the one under this label of the token: take another label, with --pkcs11-label")]
    Placed(String),
    /// There is no such key.
    #[error("there is no key {0}: `proxy keys list` shows those there are")]
    Unknown(String),
    /// The key was retired.
    #[error("key {0} is retired and signs nothing any more: `proxy keys create` makes another one")]
    Retired(String),
    /// A model uses it.
    #[error("key {0} signs the serials of {1}: `proxy models close {1}` first, or give it another key")]
    InUse(String, String),
    /// The keys here were sealed with another secret.
    #[error(
        "the keys of this store were sealed with another proxy.signing.secret (key {0}): restore it from the backup, or \
         from the other server, with `proxy config --import-yaml`"
    )]
    OtherSecret(String),
    /// The signer.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The database.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A key to make.
pub(crate) struct NewKey {
    /// Name, account and purpose.
    pub(crate) label: Label,
    /// How many people have to approve each signature.
    pub(crate) approvals: u32,
    /// Where it is made, if it is not sealed.
    pub(crate) place: Option<KeyPlace>,
    /// Most signatures of a day.
    pub(crate) per_day: Option<u32>,
}

/// How far a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// Its account-key assertion has not arrived.
    Requested,
    /// It signs.
    Ready {
        /// When it ends.
        until: Option<OffsetDateTime>,
    },
    /// It is not valid yet.
    NotYet(OffsetDateTime),
    /// It is not valid any more.
    Ended(OffsetDateTime),
    /// It was revoked.
    Revoked,
    /// The account-key names another account.
    OtherAccount,
    /// The operator retired it.
    Retired,
}

impl KeyState {
    /// The state of a key at a moment.
    pub(crate) fn of(key: &KeyRecord, catalog: &Catalog, now: OffsetDateTime) -> Self {
        if key.retired.is_some() {
            return Self::Retired;
        }
        let wanted = Ref { kind: AssertionType::AccountKey, key: vec![key.key_id.clone()] };
        let held = catalog.assertions.newest(&wanted, u32::MAX);
        let held = held.and_then(crate::catalog::Held::decode);
        match held.as_ref().map(|held| held.details()) {
            Some(Details::AccountKey(held)) if held.account_id != key.label.account => Self::OtherAccount,
            Some(Details::AccountKey(held)) => match (held.until, held.since) {
                _ if held.is_revoked() => Self::Revoked,
                (_, since) if now < since => Self::NotYet(since),
                (Some(until), _) if until <= now => Self::Ended(until),
                (until, _) => Self::Ready { until },
            },
            _ => Self::Requested,
        }
    }
}

impl KeyState {
    /// The state as it is shown.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Ready { .. } => "ready",
            Self::NotYet(_) => "not valid yet",
            Self::Ended(_) => "ended",
            Self::Revoked => "revoked",
            Self::OtherAccount => "of another account",
            Self::Retired => "retired",
        }
    }
}

/// Every key that was ever made here, by name.
pub(crate) fn keys(catalog: &Catalog) -> Vec<KeyRecord> {
    let facts = catalog.meta.range(KeyRecord::PREFIX.to_owned()..);
    let ours = facts.take_while(|(name, _)| name.starts_with(KeyRecord::PREFIX));
    ours.filter_map(|(_, value)| serde_json::from_str(value).ok()).collect()
}

/// A key by name.
pub(super) fn find(catalog: &Catalog, name: &str) -> Option<KeyRecord> {
    let fact = catalog.meta.get(&format!("{}{name}", KeyRecord::PREFIX))?;
    serde_json::from_str(fact).ok()
}

/// Whether keys that still count were sealed with another secret than this one.
pub(crate) fn sealed_otherwise(catalog: &Catalog, secret: Option<&str>) -> Option<String> {
    let others = keys(catalog).into_iter().filter(|key| key.retired.is_none());
    others.map(|key| key.sealed_by).find(|sealed_by| Some(sealed_by.as_str()) != secret)
}

impl NewKey {
    /// Whether this key may be made.
    pub(crate) fn check(&self, catalog: &Catalog) -> Result<(), KeyError> {
        let Label { name, account, .. } = &self.label;
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        if !is_key_name(name) || name.len() > 64 {
            return Err(KeyError::Name(shown(name)));
        }
        if !is_account_id(account) {
            return Err(KeyError::Account(shown(account)));
        }
        if self.approvals > MOST_APPROVALS {
            return Err(KeyError::Approvals);
        }
        if self.per_day == Some(0) {
            return Err(KeyError::Limit);
        }
        if let Some(place) = self.place.as_ref().filter(|place| !place.is_plain()) {
            return Err(KeyError::Place(shown(&place.to_string())));
        }
        if let Some(other) =
            keys(catalog).into_iter().find(|key| key.place.is_some() && key.place == self.place)
        {
            return Err(KeyError::Placed(shown(&other.label.name)));
        }
        if find(catalog, name).is_some() {
            return Err(KeyError::Used(name.clone()));
        }
        let is_registered = |held: &Assertion| match held.details() {
            Details::AccountKey(key) => key.account_id == *account && key.name.as_deref() == Some(name),
            _ => false,
        };
        if catalog.assertions.of_kind(AssertionType::AccountKey).any(|held| is_registered(&held)) {
            return Err(KeyError::Registered(name.clone(), account.clone()));
        }
        Ok(())
    }

    /// The change that adds a key.
    pub(crate) fn plan(&self, catalog: &Catalog, who: &str, made: &KeyRecord) -> Result<Change, KeyError> {
        self.check(catalog)?;
        if let Some(other) = sealed_otherwise(catalog, Some(&made.sealed_by)) {
            return Err(KeyError::OtherSecret(other));
        }
        let Label { name, account, purpose } = &made.label;
        let event = AuditEvent::new(who, "create-key", name).detail(
            json!({ "account": account, "for": purpose, "key-id": made.key_id, "approvals": made.approvals,
                "per-day": made.per_day, "token": made.place.as_ref().map(KeyPlace::to_string) }),
        );
        let mut change = Change::new(event, clock::micros());
        change.meta.push(made.fact());
        Ok(change)
    }
}

/// The change that retires a key: its sealed half is forgotten, its name stays taken.
pub(crate) fn plan_retire(catalog: &Catalog, who: &str, name: &str) -> Result<(Change, KeyRecord), KeyError> {
    let key = find(catalog, name).ok_or_else(|| KeyError::Unknown(name.chars().take(80).collect()))?;
    let mut policies = super::policies(catalog).into_iter();
    if let Some(user) = policies.find(|policy| policy.key == key.label.name && policy.closed.is_none()) {
        return Err(KeyError::InUse(key.label.name, format!("{}/{}", user.brand, user.model)));
    }
    let retired = key.retired.or_else(|| Some(clock::seconds()));
    let key = KeyRecord { retired, sealed: String::new(), ..key };
    let event = AuditEvent::new(who, "retire-key", name).detail(json!({ "key-id": key.key_id }));
    let mut change = Change::new(event, clock::micros());
    change.meta.push(key.fact());
    Ok((change, key))
}

/// The change that sets how much a key may sign on a day.
pub(crate) fn plan_limit(
    catalog: &Catalog,
    who: &str,
    name: &str,
    per_day: Option<u32>,
) -> Result<(Change, KeyRecord), KeyError> {
    let key = find(catalog, name).ok_or_else(|| KeyError::Unknown(name.chars().take(80).collect()))?;
    if key.retired.is_some() {
        return Err(KeyError::Retired(key.label.name));
    }
    if per_day == Some(0) {
        return Err(KeyError::Limit);
    }
    let event = AuditEvent::new(who, "limit-key", name).detail(json!({ "from": key.per_day, "to": per_day }));
    let key = KeyRecord { per_day, ..key };
    let mut change = Change::new(event, clock::micros());
    change.meta.push(key.fact());
    Ok((change, key))
}

/// The day, in UTC since 1970, by which signatures are counted.
pub(crate) fn today() -> i64 {
    i64::try_from(clock::seconds() / 86_400).unwrap_or(i64::MAX)
}

impl Signing {
    /// A new secret for sealed keys, in base64.
    pub(crate) fn fresh_secret(&self) -> Option<Zeroizing<String>> {
        let mut bytes = Zeroizing::new([0; 32]);
        self.random.fill(&mut *bytes).ok()?;
        Some(Zeroizing::new(STANDARD.encode(*bytes)))
    }

    /// Whether there is a secret to seal keys with.
    pub(crate) fn has_secret(&self) -> bool {
        self.sealed.has_secret()
    }

    /// Has the signer make a key.
    pub(crate) async fn make(&self, new: &NewKey) -> Result<KeyRecord, KeyError> {
        let NewKey { label, approvals, place, per_day } = new;
        let (label, approvals, place, per_day) = (label.clone(), *approvals, place.clone(), *per_day);
        let create = Request::Create { label: label.clone(), place: place.clone() };
        let reply = self.signer(place.as_ref()).ask(create).await?;
        let Reply::Created { sealed, public, sealed_by } = reply else {
            return Err(SignerError::Nonsense.into());
        };
        let read = PublicKey::decode(&public).map_err(|error| SignerError::Wrong(error.into()))?;
        read.check_strength().map_err(|error| SignerError::Wrong(error.into()))?;
        let key_id = read.id().to_owned();
        let created = clock::seconds();
        Ok(KeyRecord {
            label,
            key_id,
            public_key: public,
            sealed,
            sealed_by,
            created,
            retired: None,
            approvals,
            place,
            per_day,
        })
    }

    /// Whether the signer can open a key.
    pub(crate) async fn prove(&self, key: &KeyRecord) -> Result<(), SignerError> {
        let request = Request::Prove { label: key.label.clone(), sealed: key.sealed.clone() };
        match self.signer(key.place.as_ref()).ask(request).await? {
            Reply::Proved { key_id } if key_id == key.key_id => Ok(()),
            _ => Err(SignerError::Nonsense),
        }
    }

    /// The signed request to register a key, for the connected side.
    pub(crate) async fn registration(&self, key: &KeyRecord) -> Result<Assertion, KeyError> {
        if key.retired.is_some() {
            return Err(KeyError::Retired(key.label.name.clone()));
        }
        let since = OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_secs(key.created);
        let since = since.format(&Rfc3339).unwrap_or_default();
        let request = Builder::new(AssertionType::AccountKeyRequest)
            .header("public-key-sha3-384", key.key_id.as_str())
            .header("account-id", key.label.account.as_str())
            .header("name", key.label.name.as_str())
            .header("since", since)
            .body(key.public_key.clone());
        Ok(self.sign_uncounted(key, request).await?)
    }

    /// Counts a signature. Serials without a limit are counted where they are kept.
    pub(super) async fn count(&self, database: &Database, key: &KeyRecord) -> Result<(), SignerError> {
        let most = match (key.per_day, key.label.purpose) {
            (None, Purpose::Serial) => return Ok(()),
            (most, _) => most.unwrap_or(u32::MAX),
        };
        match database.count_signature(&key.label.name, today(), most).await? {
            true => Ok(()),
            false => Err(SignerError::DayLimit { key: key.label.name.clone(), most }),
        }
    }

    /// Has the signer sign a document, within the key's limit.
    pub(super) async fn sign(
        &self,
        database: &Database,
        key: &KeyRecord,
        document: Builder,
    ) -> Result<Assertion, SignerError> {
        self.count(database, key).await?;
        self.sign_uncounted(key, document).await
    }

    /// Has the signer sign a document, and verifies what it answers.
    async fn sign_uncounted(&self, key: &KeyRecord, document: Builder) -> Result<Assertion, SignerError> {
        let wrong = |error: Box<dyn std::error::Error + Send + Sync>| SignerError::Wrong(error);
        let at = u32::try_from(clock::seconds()).unwrap_or(u32::MAX);
        let document = document.signed_at(at);
        let content =
            String::from_utf8(document.content(&key.key_id)).map_err(|error| wrong(error.into()))?;
        let request = Request::Sign { label: key.label.clone(), sealed: key.sealed.clone(), content, at };
        let Reply::Signed { signature } = self.signer(key.place.as_ref()).ask(request).await? else {
            return Err(SignerError::Nonsense);
        };
        verified(key, &document, &signature).map_err(wrong)
    }
}

/// The document with the signer's signature, if that is one of the key.
fn verified(
    key: &KeyRecord,
    document: &Builder,
    signature: &str,
) -> Result<Assertion, Box<dyn std::error::Error + Send + Sync>> {
    let signed = document.signed(&key.key_id, signature)?;
    let public = PublicKey::decode(&key.public_key)?;
    if public.id() != key.key_id {
        return Err("the record of the key names another one".into());
    }
    signed.verify_with(&public)?;
    Ok(signed)
}

/// Whether this is the RSA value of the key over a digest, in its `DigestInfo`.
pub(super) fn is_value_of(key: &KeyRecord, info: &[u8], value: &[u8]) -> bool {
    PublicKey::decode(&key.public_key).is_ok_and(|key| key.verify_digest_info(info, value))
}

#[cfg(test)]
mod tests {
    use schema::assertion::SigningKey;

    use super::*;

    #[test]
    fn a_wrong_signature_does_not_leave() {
        let [own, other] = [2048, 2048].map(|bits| SigningKey::generate(bits).expect("randomness"));
        let label = Label { name: "factory-1".into(), account: "acme".into(), purpose: Purpose::Serial };
        let key = KeyRecord {
            label,
            key_id: own.public().id().to_owned(),
            public_key: own.public().encode(),
            sealed: String::new(),
            sealed_by: String::new(),
            created: 0,
            retired: None,
            approvals: 0,
            place: None,
            per_day: None,
        };
        let document = Builder::new(AssertionType::AccountKeyRequest)
            .header("public-key-sha3-384", own.public().id())
            .header("account-id", "acme")
            .header("name", "factory-1")
            .header("since", "2026-01-01T00:00:00Z")
            .body(own.public().encode());
        let content = document.content(own.public().id());
        assert!(verified(&key, &document, &own.sign(&content, 0)).is_ok());
        for wrong in [other.sign(&content, 0), own.sign(b"something else", 0), "AAAA".to_owned()] {
            assert!(verified(&key, &document, &wrong).is_err());
        }
        let swapped = KeyRecord { public_key: other.public().encode(), ..key };
        assert!(
            verified(&swapped, &document, &other.sign(&content, 0)).is_err(),
            "devices look for the key by its id"
        );
    }
}
