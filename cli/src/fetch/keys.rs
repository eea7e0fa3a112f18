//! An account and its keys, with their prerequisites.

use anyhow::Context as _;
use schema::assertion::{AccountKey, AssertionType, Details, Ref, Verified};
use schema::digest::Sha3_384;
use time::OffsetDateTime;

use super::{Library, check_account_id};
use crate::output::warning;

/// Checks an account id and key ids.
///
/// # Errors
/// The first malformed one.
pub(crate) fn check_key_ids(account: &str, keys: &[String]) -> anyhow::Result<()> {
    check_account_id(account)?;
    for key in keys {
        Sha3_384::from_base64url(key).map_err(|_| {
            anyhow::anyhow!(
                "malformed key id {key:?}: expected 64 letters, digits, dashes and underscores, as `snapcraft \
                 list-keys` shows them"
            )
        })?;
    }
    Ok(())
}

/// The account, the given keys of it, and their prerequisites.
///
/// # Errors
/// A key is missing, belongs to another account, or does not verify.
pub(crate) async fn account_keys(
    library: &mut Library<'_>,
    account: &str,
    keys: &[String],
) -> anyhow::Result<Vec<Verified>> {
    let now = OffsetDateTime::now_utc();
    let mut seeds = vec![Ref::new(AssertionType::Account, vec![account.to_owned()])?];
    for key in keys {
        let reference = Ref::new(AssertionType::AccountKey, vec![key.clone()])?;
        let found = library.look_up(&reference).await?;
        let found = found.first().with_context(|| {
            format!("the store has no account-key {key}: register it with `snapcraft register-key`")
        })?;
        match found.details() {
            Details::AccountKey(own) if own.account_id == account => {
                if let Some(fault) = fault(own, now) {
                    warning(format!("key {key} of {account} {fault}"));
                }
            }
            Details::AccountKey(other) => {
                anyhow::bail!("key {key} belongs to account {}, not to {}", other.account_id, account)
            }
            _ => anyhow::bail!("the store answers something else for account-key {key}"),
        }
        seeds.push(reference);
    }
    library.closure(&seeds).await
}

/// Why a key signs nothing that is new. It is fetched all the same: a site learns so that it was revoked.
fn fault(key: &AccountKey, now: OffsetDateTime) -> Option<String> {
    let until = key.until.filter(|until| *until <= now)?;
    if until <= key.since {
        return Some("is revoked: nothing that it signed counts where this file is pushed".to_owned());
    }
    Some(format!(
        "is valid only until {}: nothing that it signed since then counts where this file is pushed",
        until.date()
    ))
}
