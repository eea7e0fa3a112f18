//! The only verification path: is this assertion signed by its authority, with a key that was valid, and is it
//! consistent with what is known?
//!
//! Everything in the source was verified before it was stored, so a check looks one step up: at the account-key that
//! signed, and at the assertions that the type's rules refer to. See
//! `schema/docs/assertions.md#verification`.

use std::ops::Deref;
use std::sync::Arc;

use time::OffsetDateTime;

use super::kind::AssertionType as T;
use super::prerequisites::{self, SERIES};
use super::reference::Ref;
use super::refusal::{CheckError, Problem};
use super::trust::{Anchors, AssertionSource, account_key};
use super::{AccountKey, Assertion, DEFAULT_PROVENANCE, Details};

/// When a signing key has to be valid. A device's clock never decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTime {
    /// At the assertion's timestamp, if its type has a checked one. What was signed while the key was valid stays
    /// valid, unless the key is revoked.
    DocumentTime,
    /// Additionally at `now`, as devices require when they add an assertion.
    Strict {
        /// The moment of the check.
        now: OffsetDateTime,
    },
}

/// An assertion that was verified up to a trust anchor. Only [`Checker`] and [`check_batch`](super::check_batch)
/// create one, and storage accepts nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified(Arc<Assertion>);

impl Verified {
    /// The assertion, to be shared.
    #[must_use]
    pub fn into_inner(self) -> Arc<Assertion> {
        self.0
    }

    /// Says that a document is verified that nobody has looked at.
    #[cfg(test)]
    pub(super) fn unproven(assertion: Assertion) -> Self {
        Self(Arc::new(assertion))
    }

    /// The assertion, shared.
    #[must_use]
    pub fn assertion(&self) -> &Arc<Assertion> {
        &self.0
    }
}

impl Deref for Verified {
    type Target = Assertion;

    fn deref(&self) -> &Assertion {
        &self.0
    }
}

/// Whether the signature itself is still to be checked. A document names its key by the digest of that key, so a signature
/// that was good once stays good whatever else is known; whether the key still counts is a question of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    /// It has to be checked.
    Check,
    /// This very document was verified before.
    Proven,
}

/// Checks assertions against anchors and everything that is stored.
#[derive(Clone, Copy)]
pub struct Checker<'a> {
    /// The trust anchors.
    pub anchors: &'a Anchors,
    /// Assertions that were verified before.
    pub source: &'a dyn AssertionSource,
    /// How the validity of signing keys is judged.
    pub time: KeyTime,
}

impl Checker<'_> {
    /// Checks one assertion; everything it depends on must be an anchor or in the source.
    ///
    /// # Errors
    /// [`CheckError`] says what fails and, if that helps, what to push first.
    pub fn check(&self, assertion: &Assertion) -> Result<Verified, CheckError> {
        self.check_shared(Arc::new(assertion.clone()), Signature::Check)
    }

    /// As [`check`](Self::check), for exactly this document with a signature that was good before: everything else about it is
    /// looked at anew, also whether its key still counts.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub fn check_signed(&self, assertion: &Assertion) -> Result<Verified, CheckError> {
        self.check_shared(Arc::new(assertion.clone()), Signature::Proven)
    }

    pub(super) fn check_shared(
        &self,
        assertion: Arc<Assertion>,
        signature: Signature,
    ) -> Result<Verified, CheckError> {
        match self.run(&assertion, signature) {
            Ok(()) => Ok(Verified(assertion)),
            Err(problem) => {
                Err(CheckError { reference: assertion.reference(), revision: assertion.revision(), problem })
            }
        }
    }

    /// Refuses a document that its key, where that is known, did not sign: it was altered or cut off on its way. To be used for what is
    /// not stored anyway, whatever else it lacks.
    pub(super) fn refuse_altered(&self, assertion: &Assertion) -> Result<(), CheckError> {
        let stored = self.find(&Ref::of(T::AccountKey, [assertion.sign_key_id()]));
        let Some(key) = stored.as_deref().and_then(account_key) else { return Ok(()) };
        assertion.verify_with(&key.public_key).map_err(|problem| CheckError {
            reference: assertion.reference(),
            revision: assertion.revision(),
            problem: problem.into(),
        })
    }

    fn run(&self, assertion: &Assertion, signature: Signature) -> Result<(), Problem> {
        if self.anchors.find(&assertion.reference).is_some_and(|anchor| *anchor != *assertion) {
            return Err(Problem::Anchored);
        }
        let (format, max) = (assertion.format(), assertion.kind().max_format());
        if format > max {
            return Err(Problem::Format { format, max });
        }
        match assertion.authority_id() {
            Some(authority) => self.check_signer(assertion, authority, signature)?,
            None => self.check_carried_key(assertion)?,
        }
        self.check_consistency(assertion)
    }

    /// Steps 2 to 5: the signing key, its validity and constraints, the signature, the timestamp.
    fn check_signer(
        &self,
        assertion: &Assertion,
        authority: &str,
        signature: Signature,
    ) -> Result<(), Problem> {
        let key_id = || assertion.sign_key_id().to_owned();
        let stored = self.find(&Ref::of(T::AccountKey, [assertion.sign_key_id()]));
        let Some(key) = stored.as_deref().and_then(account_key) else {
            return Err(Problem::UnknownKey { key_id: key_id(), authority: authority.to_owned() });
        };
        if key.account_id != authority {
            let owner = key.account_id.clone();
            return Err(Problem::OtherAuthority { key_id: key_id(), owner, authority: authority.to_owned() });
        }
        if key.is_revoked() {
            return Err(Problem::Revoked { key_id: key_id() });
        }
        if let KeyTime::Strict { now } = self.time
            && !key.is_valid_at(now)
        {
            return Err(Problem::KeyNotValidNow { key_id: key_id(), since: key.since, until: key.until });
        }
        if let Some(constraints) = &key.constraints
            && !constraints.allow(assertion.kind(), assertion.headers())
        {
            return Err(Problem::Constraints { key_id: key_id() });
        }
        if signature == Signature::Check {
            assertion.verify_with(&key.public_key)?;
        }
        check_timestamp(assertion, key)
    }

    /// For types without an authority: the key is in the body, or in the device's serial.
    fn check_carried_key(&self, assertion: &Assertion) -> Result<(), Problem> {
        match (assertion.kind(), assertion.details()) {
            // Decoding has tied the body key to `sign-key-sha3-384`.
            (_, Details::AccountKeyRequest(request)) => Ok(assertion.verify_with(&request.public_key)?),
            (T::ConfdbControl, _) => {
                let reference = Ref { kind: T::Serial, key: assertion.reference.key.clone() };
                let stored = self.find(&reference).ok_or(Problem::Missing { missing: reference })?;
                match stored.details() {
                    Details::Serial(serial) if serial.device_key_id == assertion.sign_key_id() => {
                        Ok(assertion.verify_with(&serial.device_key)?)
                    }
                    _ => Err(Problem::OtherDeviceKey),
                }
            }
            _ => Err(Problem::NotCheckable),
        }
    }

    /// Step 6: what the type demands of the authority and of other assertions.
    fn check_consistency(&self, assertion: &Assertion) -> Result<(), Problem> {
        let kind = assertion.kind();
        let authority = assertion.authority_id().unwrap_or_default();
        match kind {
            T::Account | T::AccountKey | T::BaseDeclaration | T::SnapDeclaration | T::Store => {
                self.need_trusted(authority)?;
            }
            T::ConfdbSchema if assertion.text("account-id") != Some(authority) => {
                self.need_trusted(authority)?
            }
            _ => {}
        }
        for reference in prerequisites::of(assertion) {
            self.need(&reference)?;
        }
        match assertion.details() {
            Details::AccountKey(key) => self.check_key_name(assertion, key),
            Details::SnapRevision(revision) => {
                let number = Some(revision.snap_revision);
                self.check_revision_authority(authority, &revision.snap_id, &revision.provenance, number)
            }
            Details::SnapResourceRevision(revision) => {
                // The revision range of a revision authority counts snap revisions, so it does not apply here.
                self.check_revision_authority(authority, &revision.snap_id, &revision.provenance, None)
            }
            Details::SnapResourcePair(pair) => {
                self.need(&Ref::of(T::Account, [&pair.developer_id]))?;
                self.check_revision_authority(
                    authority,
                    &pair.snap_id,
                    &pair.provenance,
                    Some(pair.snap_revision),
                )
            }
            Details::Serial(serial) => {
                let model = self.find(&Ref::of(T::Model, [SERIES, &serial.brand_id, &serial.model]));
                let listed = model.is_some_and(|model| match model.details() {
                    Details::Model(model) => model.allows_serial_authority(authority),
                    _ => false,
                });
                if listed || serial.brand_id == authority {
                    Ok(())
                } else {
                    Err(Problem::SerialAuthority { authority: authority.to_owned() })
                }
            }
            Details::Validation(validation) => {
                let gating = Ref::of(T::SnapDeclaration, [&validation.series, &validation.snap_id]);
                self.need_publisher(authority, self.publisher(&gating)?)
            }
            _ if kind == T::SnapDeveloper && !self.anchors.is_trusted(authority) => {
                self.need_publisher(authority, assertion.text("publisher-id").unwrap_or_default().to_owned())
            }
            _ => Ok(()),
        }
    }

    fn find(&self, reference: &Ref) -> Option<Arc<Assertion>> {
        self.anchors.find(reference).or_else(|| self.source.find(reference))
    }

    fn need(&self, reference: &Ref) -> Result<Arc<Assertion>, Problem> {
        self.find(reference).ok_or_else(|| Problem::Missing { missing: reference.clone() })
    }

    fn need_trusted(&self, authority: &str) -> Result<(), Problem> {
        if self.anchors.is_trusted(authority) {
            Ok(())
        } else {
            Err(Problem::NotTrusted { authority: authority.to_owned() })
        }
    }

    fn need_publisher(&self, authority: &str, publisher: String) -> Result<(), Problem> {
        if publisher == authority {
            Ok(())
        } else {
            Err(Problem::NotPublisher { publisher, authority: authority.to_owned() })
        }
    }

    fn publisher(&self, declaration: &Ref) -> Result<String, Problem> {
        match self.need(declaration)?.details() {
            Details::SnapDeclaration(declaration) => Ok(declaration.publisher_id.clone()),
            _ => Err(Problem::Missing { missing: declaration.clone() }),
        }
    }

    /// No two keys of an account may share a name. Keys from another authority do not count: two roots of trust know
    /// nothing of each other.
    fn check_key_name(&self, assertion: &Assertion, key: &AccountKey) -> Result<(), Problem> {
        let Some(name) = &key.name else {
            return Ok(());
        };
        let others =
            self.anchors.keys_of(&key.account_id).into_iter().chain(self.source.keys_of(&key.account_id));
        for other in others.filter(|other| other.authority_id() == assertion.authority_id()) {
            if let Some(other) = account_key(&other)
                && other.name.as_ref() == Some(name)
                && other.public_key.id() != key.public_key.id()
            {
                return Err(Problem::KeyName {
                    account_id: key.account_id.clone(),
                    name: name.clone(),
                    other: other.public_key.id().to_owned(),
                });
            }
        }
        Ok(())
    }

    /// A file of default provenance comes from a trusted authority, any other from an account that the declaration
    /// of the snap lists.
    fn check_revision_authority(
        &self,
        authority: &str,
        snap_id: &str,
        provenance: &str,
        revision: Option<u32>,
    ) -> Result<(), Problem> {
        if provenance == DEFAULT_PROVENANCE {
            return self.need_trusted(authority);
        }
        let declaration = self.need(&Ref::of(T::SnapDeclaration, [SERIES, snap_id]))?;
        let listed = match declaration.details() {
            Details::SnapDeclaration(declaration) => declaration.revision_authority.iter().any(|entry| {
                entry.account_id == authority
                    && entry.provenance.iter().any(|listed| listed == provenance)
                    && revision.is_none_or(|revision| {
                        revision >= entry.min_revision && entry.max_revision.is_none_or(|max| revision <= max)
                    })
            }),
            _ => false,
        };
        if listed {
            Ok(())
        } else {
            Err(Problem::RevisionAuthority {
                authority: authority.to_owned(),
                provenance: provenance.to_owned(),
            })
        }
    }
}

fn check_timestamp(assertion: &Assertion, key: &AccountKey) -> Result<(), Problem> {
    if !assertion.kind().has_checked_timestamp() {
        return Ok(());
    }
    // Every type with a checked timestamp demands one when it is decoded.
    let timestamp = assertion.text("timestamp").and_then(super::scalars::date);
    match timestamp {
        Some(timestamp) if key.is_valid_at(timestamp) => Ok(()),
        _ => Err(Problem::Timestamp {
            key_id: assertion.sign_key_id().to_owned(),
            timestamp: timestamp.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            since: key.since,
            until: key.until,
        }),
    }
}
