//! What startup could not do because the object store was down: find out which files are damaged, and abort
//! interrupted uploads. Until then devices get everything except files, and what can be sent of a file is checked
//! block by block.

use std::path::PathBuf;
use std::time::Duration;

use schema::causes::one_line;
use tokio::sync::Mutex;
use tracing::{error, info, warn};

use crate::catalog::Catalog;
use crate::storage::blobs::{BlobError, BlobStore};
use crate::store::Store;

/// The pause after the object store did not answer.
const POLL: Duration = Duration::from_secs(2);

/// What is left to do; `None` if startup did everything.
#[derive(Default)]
pub(crate) struct Unsettled(Mutex<Option<Vec<PathBuf>>>);

impl Unsettled {
    /// Clears the staging folder and keeps damaged files from devices, as far as the object store answers.
    ///
    /// # Errors
    /// This host's files cannot be inspected.
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
