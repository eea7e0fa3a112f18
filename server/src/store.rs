//! The one way for every change: plan against the current catalog, commit in one transaction, make the next catalog of what
//! the database holds then, and put it in place of the old one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use schema::causes::one_line;
use tokio::sync::Mutex;
use tracing::{error, info};

use crate::catalog::{Catalog, CompileError};
use crate::storage::Database;
use crate::storage::blobs::{BlobError, BlobStore, Staged};
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::Change;

/// Why what the database holds cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PublishError {
    /// The database.
    #[error("cannot use the database")]
    Storage(#[from] StorageError),
    /// What the database holds.
    #[error("cannot make the catalog from the database")]
    Compile(#[from] CompileError),
}

impl PublishError {
    /// A catalog that cannot be made after a commit is a fault of ours, like a database that is gone.
    pub(crate) fn into_storage(self) -> StorageError {
        match self {
            Self::Storage(failure) => failure,
            other => StorageError::Unavailable(Box::new(other)),
        }
    }
}

/// Answers where links begin at the moment.
type BaseUrl = Box<dyn Fn() -> String + Send + Sync>;

/// What remembers and what answers.
pub(crate) struct Store {
    database: Database,
    catalog: ArcSwap<Catalog>,
    base_url: BaseUrl,
    /// Held from planning to publishing, so that changes are made one after another.
    changing: Mutex<()>,
}

impl Store {
    /// A database with the catalog that was made of it; links begin with what `base_url` answers.
    pub(crate) fn new(
        database: Database,
        catalog: Catalog,
        base_url: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        let (catalog, base_url) = (ArcSwap::from_pointee(catalog), Box::new(base_url));
        Self { database, catalog, base_url, changing: Mutex::default() }
    }

    /// The catalog of this moment.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// The store of record.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Makes one change: plans it against the current catalog, commits it, and publishes the result. When
    /// another server was faster, it is planned anew against what that one left.
    pub(crate) async fn change<T, E>(&self, plan: impl Fn(&Catalog) -> Result<(Change, T), E>) -> Result<T, E>
    where
        E: From<CommitError>,
    {
        self.change_as_planned(&[], |catalog| std::future::ready(plan(&catalog))).await
    }

    /// As [`Store::change`] with a plan that waits for what the database knows: if another server changed that meanwhile,
    /// the commit is a conflict and it is planned anew.
    pub(crate) async fn change_after<T, E, F>(&self, plan: impl Fn(Arc<Catalog>) -> F) -> Result<T, E>
    where
        E: From<CommitError>,
        F: Future<Output = Result<(Change, T), E>>,
    {
        self.change_as_planned(&[], plan).await
    }

    /// As [`Store::change`] for an import: it is planned on a blocking thread, and gives an owner to `files`, which were
    /// published for it.
    pub(crate) async fn import<T, E, P>(&self, files: &[Staged], plan: &Arc<P>) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<CommitError> + Send + 'static,
        P: Fn(&Catalog) -> Result<(Change, T), E> + Send + Sync + 'static,
    {
        let planned = |catalog: Arc<Catalog>| {
            let plan = Arc::clone(plan);
            off_thread(move || plan(&catalog))
        };
        self.change_as_planned(files, planned).await
    }

    async fn change_as_planned<T, E, F>(
        &self,
        files: &[Staged],
        plan: impl Fn(Arc<Catalog>) -> F,
    ) -> Result<T, E>
    where
        E: From<CommitError>,
        F: Future<Output = Result<(Change, T), E>>,
    {
        let _one_at_a_time = self.changing.lock().await;
        loop {
            let catalog = self.catalog();
            let (change, result) = plan(Arc::clone(&catalog)).await?;
            match self.database.commit(&change, files, catalog.position.generation).await {
                Ok(_) => {
                    // Committed is durable; until it is visible too, nobody is told that it is done.
                    self.load().await.map_err(|failure| CommitError::Unknown(failure.into_storage()))?;
                    return Ok(result);
                }
                Err(CommitError::Conflict { .. }) => {
                    self.load().await.map_err(|failure| CommitError::Storage(failure.into_storage()))?;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Lets what the database holds now answer.
    pub(crate) async fn publish(&self) -> Result<(), PublishError> {
        let _one_at_a_time = self.changing.lock().await;
        self.load().await
    }

    /// As [`Store::publish`], unless this is what answers already. `true` when there was something to take over.
    pub(crate) async fn follow(&self, generation: i64, blobs: &BlobStore) -> Result<bool, PublishError> {
        let _one_at_a_time = self.changing.lock().await;
        if generation == self.catalog().position.generation {
            return Ok(false);
        }
        // Another server may have replaced files that are damaged, or set some aside.
        match blobs.damaged().await {
            Ok(damaged) => self.catalog().mark_damaged(&damaged),
            Err(failure) => {
                error!(why = one_line(&failure), "Cannot tell which files are damaged");
            }
        }
        self.load().await?;
        Ok(true)
    }

    /// Keeps devices from what is damaged by now.
    pub(crate) async fn learn_damage(&self, blobs: &BlobStore) -> Result<(), BlobError> {
        let _one_at_a_time = self.changing.lock().await;
        self.catalog().mark_damaged(&blobs.damaged().await?);
        Ok(())
    }

    /// Only what changed since is read and compiled, but for what every answer depends on.
    async fn load(&self) -> Result<(), PublishError> {
        failpoint!("catalog.load");
        let catalog = match self.advanced().await? {
            Some(catalog) => catalog,
            None => self.compiled().await?,
        };
        info!(
            generation = catalog.position.generation,
            snaps = catalog.count_snaps(),
            "Serving generation {}",
            catalog.position.generation
        );
        self.catalog.store(Arc::new(catalog));
        failpoint!("catalog.published");
        Ok(())
    }

    /// The catalog after what changed; `None` when everything must be compiled anew.
    async fn advanced(&self) -> Result<Option<Catalog>, PublishError> {
        let catalog = self.catalog();
        if *catalog.base_url != *(self.base_url)() {
            return Ok(None);
        }
        let Some(increment) = self.database.load_since(catalog.position).await? else { return Ok(None) };
        Ok(off_thread(move || catalog.advance(increment)).await?)
    }

    async fn compiled(&self) -> Result<Catalog, PublishError> {
        let snapshot = self.database.load().await?;
        let (before, base_url) = (self.catalog(), (self.base_url)());
        Ok(off_thread(move || Catalog::compile(snapshot, &base_url, Some(&before))).await?)
    }
}

/// Work that keeps a processor busy, away from what answers devices.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
    }
}

#[cfg(test)]
mod tests;
