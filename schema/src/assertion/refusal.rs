//! Why an assertion does not verify, by the stage of the check that failed.
//!
//! Messages say what is wrong and, if that helps, what to push first. Free text from headers is quoted, so that it
//! cannot forge log lines.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::reference::Ref;
use super::signature::SignatureError;

/// The part of a check that failed, in the order of checking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The address belongs to a trust anchor.
    Anchored,
    /// This type, or this format of it, cannot be checked.
    Format,
    /// The account-key that signed is not known, or belongs to another account.
    SigningKey,
    /// The signing key is revoked, or not valid now.
    KeyTime,
    /// The signing key may not sign this.
    Constraints,
    /// The signature does not match.
    Signature,
    /// The timestamp lies outside the validity of the signing key.
    Timestamp,
    /// The authority may not say this, or something it refers to is missing or contradicts it.
    Consistency,
}

/// Why an assertion was not verified.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot verify {reference} (revision {revision})")]
pub struct CheckError {
    /// The assertion.
    pub reference: Ref,
    /// Its revision.
    pub revision: u32,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

impl CheckError {
    /// The part of the check that failed.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.problem {
            Problem::Anchored => Stage::Anchored,
            Problem::NotCheckable | Problem::Format { .. } => Stage::Format,
            Problem::UnknownKey { .. } | Problem::OtherAuthority { .. } => Stage::SigningKey,
            Problem::Revoked { .. } | Problem::KeyNotValidNow { .. } => Stage::KeyTime,
            Problem::Constraints { .. } => Stage::Constraints,
            Problem::Signature(_) | Problem::OtherDeviceKey => Stage::Signature,
            Problem::Timestamp { .. } => Stage::Timestamp,
            Problem::NotTrusted { .. }
            | Problem::Missing { .. }
            | Problem::KeyName { .. }
            | Problem::SerialAuthority { .. }
            | Problem::RevisionAuthority { .. }
            | Problem::NotPublisher { .. } => Stage::Consistency,
        }
    }
}

/// What is wrong with an assertion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Problem {
    #[error("a trust anchor has this address, and it cannot be replaced")]
    Anchored,
    #[error("an assertion of this type proves nothing by itself")]
    NotCheckable,
    #[error("format {format} is not supported, the highest is {max}")]
    Format { format: u32, max: u32 },
    #[error("its signing key is not known; push account-key {key_id} of account {authority:?} first")]
    UnknownKey { key_id: String, authority: String },
    #[error("its signing key {key_id} belongs to account {owner:?}, not to {authority:?}")]
    OtherAuthority { key_id: String, owner: String, authority: String },
    #[error("its signing key {key_id} is revoked")]
    Revoked { key_id: String },
    #[error("its signing key {key_id} is not valid now ({}); push a newer revision of the account-key if there is one",
        Validity(*.since, *.until))]
    KeyNotValidNow { key_id: String, since: OffsetDateTime, until: Option<OffsetDateTime> },
    #[error("the constraints of its signing key {key_id} do not allow it")]
    Constraints { key_id: String },
    #[error("its signature is not good")]
    Signature(#[from] SignatureError),
    #[error("it is not signed with the key of the device it names")]
    OtherDeviceKey,
    #[error("its timestamp {} is outside the validity of its signing key {key_id} ({})",
        Moment(*.timestamp), Validity(*.since, *.until))]
    Timestamp {
        key_id: String,
        timestamp: OffsetDateTime,
        since: OffsetDateTime,
        until: Option<OffsetDateTime>,
    },
    #[error("it must be signed by a trusted authority, and {authority:?} is none")]
    NotTrusted { authority: String },
    #[error("it refers to {missing}, which is not known; push that first")]
    Missing { missing: Ref },
    #[error("account {account_id:?} has another key with the name {name:?}: {other}")]
    KeyName { account_id: String, name: String, other: String },
    #[error(
        "{authority:?} may not sign serials of this model; only the brand and the serial-authority of a known model may"
    )]
    SerialAuthority { authority: String },
    #[error(
        "{authority:?} may not sign this revision with provenance {provenance:?}: the snap-declaration does not list it"
    )]
    RevisionAuthority { authority: String, provenance: String },
    #[error("it must be signed by the publisher of the snap, {publisher:?}, not by {authority:?}")]
    NotPublisher { publisher: String, authority: String },
}

/// Prints the time in which a key is valid.
struct Validity(OffsetDateTime, Option<OffsetDateTime>);

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(until) => write!(f, "{} to {}", Moment(self.0), Moment(until)),
            None => write!(f, "from {}", Moment(self.0)),
        }
    }
}

/// Prints a date as headers have it.
struct Moment(OffsetDateTime);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}
