//! What a start could not ask of the object store because that was away: which files are damaged, and the end of uploads that
//! were cut off. Meanwhile devices are told everything but files, and whatever can be sent of a file is checked block by block.

use std::path::PathBuf;
use std::time::Duration;

use schema::causes::one_line;
use tokio::sync::Mutex;
use tracing::{error, info, warn};

use crate::catalog::Catalog;
use crate::storage::blobs::{BlobError, BlobStore};
use crate::store::Store;

/// How long the object store is left alone after it gave no answer.
const POLL: Duration = Duration::from_secs(2);

/// What is left to be done; nothing when the start did it all.
#[derive(Default)]
pub(crate) struct Unsettled(Mutex<Option<Vec<PathBuf>>>);

impl Unsettled {
    /// Clears the staging folder and keeps devices from what is damaged, as far as the object store answers.
    ///
    /// # Errors
    /// Files of this host cannot be looked at.
    pub(crate) async fn begin(blobs: &BlobStore, catalog: &Catalog) -> Result<Self, BlobError> {
        let recovered = blobs.recover().await?;
        if recovered.removed > 0 {
            let files = recovered.removed;
            warn!(files, "Removed {files} staging files of imports that were cut off");
        }
        let damaged = match recovered.trouble {
            Some(source) => Err(BlobError::Io { action: "end an upload that was cut off", source }),
            None => blobs.damaged().await,
        };
        match damaged {
            Ok(damaged) => {
                catalog.mark_damaged(&damaged);
                Ok(Self::default())
            }
            Err(failure) if blobs.is_remote() => {
                error!(
                    why = one_line(&failure),
                    "The object store does not answer: no files are served until it does"
                );
                Ok(Self(Mutex::new(Some(recovered.left))))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Does what is left as soon as the object store answers.
    pub(crate) async fn settle(&self, store: &Store, blobs: &BlobStore) {
        let Some(mut left) = self.0.lock().await.take() else { return };
        loop {
            tokio::time::sleep(POLL).await;
            let Ok(recovered) = blobs.recover_rest(left.clone()).await else { continue };
            left = recovered.left;
            if recovered.trouble.is_none() && store.learn_damage(blobs).await.is_ok() {
                info!("The object store answers: files are served");
                return;
            }
        }
    }
}
