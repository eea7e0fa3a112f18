//! Removes published files that no row owns, such as those of an interrupted import.
//!
//! If anything cannot be read, it stops before removing anything: a file is removed only if it is known to be
//! unowned.
//!
//! Files are removed while the generation is held (see [`crate::storage::commit`]), so no file is removed that has an
//! owner by then. An import on another server whose file disappears before it is owned notices this at its commit and
//! publishes it again. The age of a file saves imports that work, and decides nothing else.

use std::time::{Duration, SystemTime};

use schema::api::admin::{CleanUp, CleanedUp, UnownedBlob};
use schema::causes::one_line;
use schema::digest::Sha3_384;
use serde_json::json;
use tracing::{info, warn};

use crate::clock;
use crate::site::Site;
use crate::storage::blobs::BlobError;
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::{AuditEvent, Change};

/// How old an unowned file must be: an import on another server may be running.
const GRACE: Duration = Duration::from_secs(3600);
/// How many files are removed while commits wait.
const AT_ONCE: usize = 64;

/// Why the clean-up stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CleanUpError {
    /// A running backup still needs files.
    #[error(
        "cannot clean up while a backup is being made, so nothing was removed: run `proxy gc` when it is done"
    )]
    Backup,
    /// The database cannot say which files are owned.
    #[error("cannot tell which files are owned, so nothing was removed")]
    Storage(#[from] StorageError),
    /// The files cannot be inspected.
    #[error("cannot look at every file, so nothing was removed")]
    Look(#[source] BlobError),
    /// Another change came in between.
    #[error("the store was changed meanwhile, so nothing was removed: run `proxy gc` again")]
    Changed,
    /// The removal cannot be recorded.
    #[error("cannot record it, so nothing was removed")]
    Commit(#[from] CommitError),
    /// The hold on the generation was lost: the files removed at that moment were restored.
    #[error("the database let go of the clean-up, so nothing more was removed: run `proxy gc` again")]
    Lost(#[source] StorageError),
    /// A file could not be removed.
    #[error("cannot remove every file that nobody owns")]
    Remove(#[source] BlobError),
}

/// Removes files that an import gave their names before it failed, if nobody owns them by now. When this fails they wait for
/// the clean-up.
pub(crate) async fn take_back(store: &Site, named: &[Sha3_384]) {
    if named.is_empty() {
        return;
    }
    let _no_import = store.naming().write().await;
    if let Err(failure) = remove_unowned(store, named.to_vec()).await {
        warn!(error = &failure as &dyn std::error::Error, "Files of a failed import stay until the clean-up");
    }
}

/// Removes those of these files that nobody owns.
async fn remove_unowned(store: &Site, mut digests: Vec<Sha3_384>) -> Result<(), CleanUpError> {
    let most = if store.blobs().is_remote() { 1 } else { AT_ONCE };
    let mut snapshot = store.database().load().await?;
    loop {
        let owned = snapshot.owned_blobs();
        digests.retain(|digest| !owned.contains_key(digest));
        while !digests.is_empty() {
            let held = store.database().hold().await?;
            if !held.is_at(snapshot.position.generation) {
                break;
            }
            let batch = digests.split_off(digests.len().saturating_sub(most));
            let taken = store.blobs().remove(batch).await.map_err(CleanUpError::Remove)?;
            failpoint!("gc.removed");
            if let Err(failure) = held.release().await {
                // Something may own them by now.
                taken.put_back().await.map_err(CleanUpError::Remove)?;
                return Err(CleanUpError::Lost(failure));
            }
        }
        if digests.is_empty() {
            return Ok(());
        }
        snapshot = store.database().load().await?;
    }
}

/// Removes the files that nobody owns, and what the database still says of such, on behalf of `who`.
pub(crate) async fn clean_up(store: &Site, who: &str, wanted: CleanUp) -> Result<CleanedUp, CleanUpError> {
    let _no_backup = store.no_backup().ok_or(CleanUpError::Backup)?;
    let _no_import = store.naming().write().await;
    let snapshot = store.database().load().await?;
    let owned = snapshot.owned_blobs();
    let listed = store.blobs().list().await.map_err(CleanUpError::Look)?;
    let latest = (!wanted.now).then(|| SystemTime::from(clock::now()) - GRACE);
    let mut done = CleanedUp { dry_run: wanted.dry_run, ..CleanedUp::default() };
    let mut unowned = Vec::new();
    for file in listed {
        if owned.contains_key(&file.digest) {
            done.owned += 1;
        } else if latest.is_some_and(|latest| file.changed > latest) {
            done.young += 1;
        } else {
            done.bytes += file.size;
            done.removed.push(UnownedBlob { digest: file.digest.to_hex(), size: file.size });
            unowned.push(file.digest);
        }
    }
    done.removed.sort_by(|one, other| one.digest.cmp(&other.digest));
    let is_unowned = |digest: &Sha3_384| !owned.contains_key(digest);
    let rows: Vec<Sha3_384> = snapshot.blobs.iter().map(|row| row.digest).filter(is_unowned).collect();
    let mut aside = store.blobs().damaged().await.map_err(CleanUpError::Look)?;
    aside.retain(is_unowned);
    (done.rows, done.set_aside) = (rows.len(), aside.len());
    if wanted.dry_run || (unowned.is_empty() && rows.is_empty() && aside.is_empty()) {
        return Ok(done);
    }
    let count = unowned.len();
    let event = AuditEvent::new(who, "gc", format!("{count} files"))
        .outcome("begun")
        .detail(json!({ "bytes": done.bytes, "rows": rows.len(), "set-aside": aside.len() }));
    store
        .change(|catalog| {
            // A change since the snapshot may have given a row an owner.
            if catalog.position.generation > snapshot.position.generation {
                return Err(CleanUpError::Changed);
            }
            let mut change = Change::new(event.clone(), clock::micros());
            change.removed.blobs.clone_from(&rows);
            Ok((change, ()))
        })
        .await?;
    let removed = async {
        remove_unowned(store, unowned).await?;
        for digest in aside {
            store.blobs().forget_damage(digest).await.map_err(CleanUpError::Remove)?;
        }
        Ok::<_, CleanUpError>(())
    };
    let removed = removed.await;
    store
        .database()
        .record_end(event, removed.as_ref().err().map(|error| one_line(error)), clock::micros())
        .await;
    removed?;
    info!(files = count, bytes = done.bytes, "Removed {count} files that nobody owned");
    Ok(done)
}
