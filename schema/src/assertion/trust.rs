//! Trust anchors: the accounts and keys at which every chain of signatures ends.
//!
//! *Trusted* are the authority of the public snap world and its root key, built into the program; only trusted
//! accounts may vouch for accounts, keys, declarations and stores. *Predefined* are the account `generic` and its key
//! for models: known without being fetched, but without authority. An operator may add the root of a private
//! deployment; it is never added silently. See `schema/docs/assertions.md#trust-anchors`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use super::kind::AssertionType as T;
use super::reference::Ref;
use super::signature::SignatureError;
use super::{AccountKey, Assertion, DecodeError, Details};

const ROOT_ACCOUNT: &str = include_str!("anchors/root.account.assert");
const ROOT_KEY: &str = include_str!("anchors/root.account-key.assert");
const GENERIC_ACCOUNT: &str = include_str!("anchors/generic.account.assert");
const GENERIC_MODELS_KEY: &str = include_str!("anchors/generic-models.account-key.assert");

/// Checked once in the life of a program.
static PRODUCTION: LazyLock<Anchors> = LazyLock::new(Anchors::built_in);

/// Where assertions that were verified before are looked up.
pub trait AssertionSource {
    /// The newest revision at any format.
    fn find(&self, reference: &Ref) -> Option<Arc<Assertion>>;

    /// The newest revision with a format of at most `max_format`. A source that keeps several formats of one
    /// assertion implements this.
    fn find_format(&self, reference: &Ref, max_format: u32) -> Option<Arc<Assertion>> {
        self.find(reference).filter(|assertion| assertion.format() <= max_format)
    }

    /// The newest revisions of all account-keys of an account.
    fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>>;
}

/// The set of trust anchors.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    known: BTreeMap<Ref, Arc<Assertion>>,
    trusted: BTreeSet<String>,
    keys: Vec<Fingerprint>,
}

/// An anchor's key, shown to operators.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    /// The trusted account.
    pub account_id: String,
    /// The id of its root key.
    pub key_id: String,
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.account_id, self.key_id)
    }
}

/// Why assertions cannot become trust anchors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The text is not a list of assertions.
    #[error("cannot read the trust anchor")]
    Decode(#[from] DecodeError),
    /// Only accounts and their keys can be anchors.
    #[error("cannot trust {0}: only an account and its root keys can be trusted")]
    Type(Ref),
    /// The account has no self-signed key among the given ones, so it is not a root.
    #[error("cannot trust account {0:?}: give its self-signed account-key in the same file")]
    NoRootKey(String),
    /// The account of a key is not given.
    #[error("cannot trust {0}: its account is not given and not trusted")]
    NoAccount(Ref),
    /// It is signed by a key that is not an anchor.
    #[error("cannot trust {reference}: its key {sign_key_id} is not among the trusted ones")]
    Signer {
        /// What was given.
        reference: Ref,
        /// The key that is missing.
        sign_key_id: String,
    },
    /// The signature does not verify.
    #[error("cannot trust {reference}")]
    Signature {
        /// What was given.
        reference: Ref,
        /// The cause.
        #[source]
        source: SignatureError,
    },
    /// The key has been revoked.
    #[error("cannot trust {0}: the key is revoked")]
    Revoked(Ref),
    /// Another text for the same address is an anchor already.
    #[error("cannot trust {0}: another trust anchor has this address")]
    Conflict(Ref),
}

impl Anchors {
    /// The anchors of the public snap world.
    ///
    /// # Panics
    /// When the program was built with damaged anchors.
    #[must_use]
    pub fn production() -> Self {
        PRODUCTION.clone()
    }

    fn built_in() -> Self {
        let root = [ROOT_ACCOUNT, ROOT_KEY].join("\n");
        let generic = [GENERIC_ACCOUNT, GENERIC_MODELS_KEY].join("\n");
        Self::default()
            .with_stream(root.as_bytes())
            .and_then(|anchors| anchors.with_predefined(Assertion::decode_stream(generic.as_bytes())?))
            .expect("the anchors compiled into the program are sound")
    }

    /// No anchors: nothing verifies until some are added.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds roots of trust: accounts, each with at least one self-signed account-key.
    ///
    /// # Errors
    /// [`AnchorError`] when an assertion is not part of a root, does not verify, or contradicts an anchor.
    pub fn with(mut self, roots: Vec<Assertion>) -> Result<Self, AnchorError> {
        let keys: Vec<_> = roots.iter().filter_map(account_key).collect();
        for root in &roots {
            match root.details() {
                Details::Account(account) => {
                    let is_root = |key: &&AccountKey| {
                        let reference = Ref::of(T::AccountKey, [key.public_key.id()]);
                        let signed = roots.iter().find(|other| other.reference == reference);
                        key.account_id == account.account_id
                            && signed.is_some_and(|signed| signed.sign_key_id() == key.public_key.id())
                    };
                    if !keys.iter().any(is_root) {
                        return Err(AnchorError::NoRootKey(account.account_id.clone()));
                    }
                    self.trusted.insert(account.account_id.clone());
                }
                Details::AccountKey(key) if key.is_revoked() => {
                    return Err(AnchorError::Revoked(root.reference()));
                }
                Details::AccountKey(_) => {}
                _ => return Err(AnchorError::Type(root.reference())),
            }
        }
        let signers: BTreeMap<String, Box<AccountKey>> =
            keys.into_iter().map(|key| (key.public_key.id().to_owned(), Box::new(key.clone()))).collect();
        for root in roots {
            if let Some(key) = account_key(&root) {
                if !self.trusted.contains(&key.account_id) {
                    return Err(AnchorError::NoAccount(root.reference()));
                }
                let fingerprint = Fingerprint {
                    account_id: key.account_id.clone(),
                    key_id: key.public_key.id().to_owned(),
                };
                if !self.keys.contains(&fingerprint) {
                    self.keys.push(fingerprint);
                }
            }
            self.add(root, &signers)?;
        }
        Ok(self)
    }

    /// Adds roots of trust from the text of a file.
    ///
    /// # Errors
    /// As [`with`](Self::with), and when the text is not a list of assertions.
    pub fn with_stream(self, text: &[u8]) -> Result<Self, AnchorError> {
        self.with(Assertion::decode_stream(text)?)
    }

    /// Adds accounts and keys that are signed by a trusted key and known without being stored. They are not trusted
    /// themselves.
    ///
    /// # Errors
    /// [`AnchorError`] when an assertion is of another type, does not verify, or contradicts an anchor.
    pub fn with_predefined(mut self, assertions: Vec<Assertion>) -> Result<Self, AnchorError> {
        for assertion in assertions {
            if !matches!(assertion.details(), Details::Account(_) | Details::AccountKey(_)) {
                return Err(AnchorError::Type(assertion.reference()));
            }
            self.add(assertion, &BTreeMap::new())?;
        }
        Ok(self)
    }

    /// Accepts an assertion that a trusted account signed with a key that is an anchor or one of `signers`.
    fn add(
        &mut self,
        assertion: Assertion,
        signers: &BTreeMap<String, Box<AccountKey>>,
    ) -> Result<(), AnchorError> {
        let (reference, sign_key_id) = (assertion.reference(), assertion.sign_key_id());
        let known = self.find(&Ref::of(T::AccountKey, [sign_key_id]));
        let signer = signers.get(sign_key_id).map(Box::as_ref).or_else(|| account_key(known.as_deref()?));
        let authority = assertion.authority_id().unwrap_or_default();
        match signer.filter(|signer| signer.account_id == authority && self.is_trusted(authority)) {
            None => {
                return Err(AnchorError::Signer { reference, sign_key_id: sign_key_id.to_owned() });
            }
            Some(signer) => assertion
                .verify_with(&signer.public_key)
                .map_err(|source| AnchorError::Signature { reference: reference.clone(), source })?,
        }
        match self.known.get(&reference) {
            Some(known) if **known != assertion => Err(AnchorError::Conflict(reference)),
            _ => {
                self.known.insert(reference, Arc::new(assertion));
                Ok(())
            }
        }
    }

    /// Whether an account may vouch for accounts, keys, declarations and stores.
    #[must_use]
    pub fn is_trusted(&self, account_id: &str) -> bool {
        self.trusted.contains(account_id)
    }

    /// Whether this address is taken by an anchor, so that nothing can be added there.
    #[must_use]
    pub fn holds(&self, reference: &Ref) -> bool {
        self.known.contains_key(reference)
    }

    /// The anchor of this address.
    #[must_use]
    pub fn get(&self, reference: &Ref) -> Option<&Arc<Assertion>> {
        self.known.get(reference)
    }

    /// The root keys, those of the public snap world first.
    #[must_use]
    pub fn fingerprints(&self) -> &[Fingerprint] {
        &self.keys
    }

    /// All anchors, predefined ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Assertion>> {
        self.known.values()
    }
}

impl AssertionSource for Anchors {
    fn find(&self, reference: &Ref) -> Option<Arc<Assertion>> {
        self.get(reference).cloned()
    }

    fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>> {
        let is_key = |assertion: &&Arc<Assertion>| {
            account_key(assertion).is_some_and(|key| key.account_id == account_id)
        };
        self.known.values().filter(is_key).cloned().collect()
    }
}

pub(super) fn account_key(assertion: &Assertion) -> Option<&AccountKey> {
    match assertion.details() {
        Details::AccountKey(key) => Some(key),
        _ => None,
    }
}
