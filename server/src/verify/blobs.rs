//! Checks one blob: a damaged one is durably kept from devices, and served again once it is intact.

use std::sync::Arc;

use schema::api::admin::VerifyKind;
use schema::digest::Sha3_384;
use tracing::error;

use super::Finding;
use crate::site::Site;
use crate::storage::blobs::{BlobError, Condition, Harm, Pace};
use crate::storage::error::Cause;
use crate::storage::owned::Owner;
use crate::storage::records::BlobRecord;

/// How often a file that others keep replacing is checked again.
const LOOKS: u32 = 4;

/// Reads a whole blob. Sets it aside if it is damaged, and releases it to devices if it is not.
pub(super) async fn check(
    store: &Site,
    record: &BlobRecord,
    owners: &[Owner],
    pace: &Arc<Pace>,
) -> Option<Finding> {
    let finding =
        |kind, message| Finding { kind, subject: record.digest.to_hex(), message, owners: owners.to_vec() };
    match settle(store, record, pace).await {
        Ok(Condition::Whole) => None,
        Ok(Condition::Damaged(harm @ Harm::Unreadable(_))) => {
            Some(finding(VerifyKind::UnreadableBlob, format!("A file is damaged, {harm}: {HEAL}")))
        }
        Ok(Condition::Damaged(harm)) => {
            Some(finding(VerifyKind::DamagedBlob, format!("A file is damaged, {harm}: {HEAL}")))
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            Some(finding(VerifyKind::UnreadableBlob, format!("{error}{}", cause.unwrap_or_default())))
        }
    }
}

/// The remedy.
pub(super) const HEAL: &str =
    "push its snap again (`proxy push-snap`), or bring the file with `proxy verify --repair-from`";

/// Determines a blob's condition and acts on it.
///
/// # Errors
/// When nothing can be said about it; nothing has changed then, except that what cannot be set aside is kept from devices.
pub(crate) async fn settle(
    store: &Site,
    record: &BlobRecord,
    pace: &Arc<Pace>,
) -> Result<Condition, BlobError> {
    let mut looks = 0;
    loop {
        looks += 1;
        let found = store.blobs().examine(record.digest, record.size, Arc::clone(pace)).await?;
        let known = store.catalog().blob(&record.digest).map(|blob| Arc::clone(&blob.checks));
        if found == Condition::Whole && known.as_ref().is_some_and(|known| !known.is_damaged()) {
            return Ok(found);
        }
        // No import may come between the last look and its consequence.
        let _no_import = store.naming().write().await;
        match &found {
            Condition::Whole => {
                store.blobs().forget_damage(record.digest).await?;
                if let Some(known) = known {
                    known.look_anew();
                }
            }
            Condition::Damaged(harm) => {
                let is_same = match set_aside(store, record.digest, harm).await {
                    Ok(is_same) => is_same,
                    Err(failure) => {
                        let error = &*failure as &dyn std::error::Error;
                        error!(error, blob = record.digest.to_hex(), "Cannot set a damaged file aside");
                        true
                    }
                };
                if !is_same && looks < LOOKS {
                    continue;
                }
                if let Some(known) = known {
                    known.mark_damaged();
                }
            }
        }
        return Ok(found);
    }
}

/// Sets a file aside while no server gives it an owner.
async fn set_aside(store: &Site, digest: Sha3_384, harm: &Harm) -> Result<bool, Cause> {
    let held = store.database().hold().await?;
    let is_same = store.blobs().set_aside(digest, harm.clone()).await?;
    if held.release().await.is_err() && store.blobs().is_remote() {
        // The mark may be on an object that arrived meanwhile. Damage will be found again.
        store.blobs().forget_damage(digest).await?;
        return Ok(false);
    }
    Ok(is_same)
}
