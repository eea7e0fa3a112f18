//! `account`, `account-key` and `account-key-request`: who exists, and which keys they sign with.

use time::OffsetDateTime;

use super::Draft;
use crate::assertion::constraints::Constraints;
use crate::assertion::decode_error::DecodeReason;
use crate::assertion::fields::{Fields, Result};
use crate::assertion::key::PublicKey;
use crate::assertion::scalars;

/// An identity: publisher, brand or authority.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct Account {
    pub account_id: String,
    pub display_name: String,
    pub username: Option<String>,
    /// `unproven`, `starred`, `verified`, or a future value; the old `certified` reads as `verified`.
    pub validation: String,
    pub timestamp: OffsetDateTime,
}

/// A key that an account signs with, from `since` to just before `until`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct AccountKey {
    pub account_id: String,
    pub name: Option<String>,
    pub since: OffsetDateTime,
    /// The first moment at which the key is not valid any more; never before `since`.
    pub until: Option<OffsetDateTime>,
    pub public_key: PublicKey,
    pub constraints: Option<Constraints>,
}

impl AccountKey {
    /// Whether the key is valid at a moment.
    #[must_use]
    pub fn is_valid_at(&self, moment: OffsetDateTime) -> bool {
        self.since <= moment && self.until.is_none_or(|until| moment < until)
    }

    /// Whether the key is revoked, that is, never valid.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.until.is_some_and(|until| until <= self.since)
    }
}

/// An account requests the registration of a key.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct AccountKeyRequest {
    pub account_id: String,
    pub name: String,
    pub since: OffsetDateTime,
    pub until: Option<OffsetDateTime>,
    pub public_key: PublicKey,
}

pub(super) fn account(fields: &Fields<'_>) -> Result<Account> {
    let validation = match fields.required("validation")? {
        "certified" => "verified",
        other => other,
    };
    Ok(Account {
        account_id: fields.required("account-id")?.to_owned(),
        display_name: fields.required("display-name")?.to_owned(),
        username: fields.optional("username")?.map(str::to_owned),
        validation: validation.to_owned(),
        timestamp: fields.date("timestamp")?,
    })
}

pub(super) fn account_key(draft: &Draft<'_>) -> std::result::Result<AccountKey, DecodeReason> {
    let fields = &draft.fields;
    let account_id = fields.required("account-id")?.to_owned();
    let name =
        fields.optional_matching("name", scalars::is_key_name, "must be a key name")?.map(str::to_owned);
    let (since, until) = validity(fields)?;
    let public_key = body_key(draft)?;
    let constraints = Constraints::read(fields)?;
    Ok(AccountKey { account_id, name, since, until, public_key, constraints })
}

pub(super) fn account_key_request(draft: &Draft<'_>) -> std::result::Result<AccountKeyRequest, DecodeReason> {
    let fields = &draft.fields;
    let account_id = fields.required("account-id")?.to_owned();
    let name = fields.matching("name", scalars::is_key_name, "must be a key name")?.to_owned();
    let (since, until) = validity(fields)?;
    let public_key = body_key(draft)?;
    if fields.required("sign-key-sha3-384")? != public_key.id() {
        return Err(fields.error("sign-key-sha3-384", "must be the requested key").into());
    }
    Ok(AccountKeyRequest { account_id, name, since, until, public_key })
}

/// `since` and `until`, in this order.
pub(super) fn validity(fields: &Fields<'_>) -> Result<(OffsetDateTime, Option<OffsetDateTime>)> {
    let since = fields.date("since")?;
    let until = fields.optional_date("until")?;
    if until.is_some_and(|until| until < since) {
        return Err(fields.error("until", "must not be before since"));
    }
    Ok((since, until))
}

/// The key in the body, which the primary key names.
fn body_key(draft: &Draft<'_>) -> std::result::Result<PublicKey, DecodeReason> {
    let key = PublicKey::decode(draft.body)?;
    if draft.fields.digest("public-key-sha3-384")? == key.id() {
        Ok(key)
    } else {
        Err(draft.fields.error("public-key-sha3-384", "is not the digest of the key in the body").into())
    }
}
