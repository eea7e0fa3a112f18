//! Readiness: tests each part that the store depends on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use schema::causes::one_line;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{error, info};

use super::{SecretTrouble, Site};
use crate::storage::error::StorageError;

/// The parts, in the order they are tested.
pub(crate) const PARTS: [&str; 5] = ["database", "schema", "storage", "secret", "mode"];
/// How long a result is cached, so that frequent queries do not load the store.
const KEPT: Duration = Duration::from_millis(500);
/// Timeout of the database and the file system, which are tested concurrently.
const PATIENCE: Duration = Duration::from_secs(3);

/// A part that is not ready.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    /// One of [`PARTS`].
    pub(crate) part: &'static str,
    /// A stable code for programs.
    pub(crate) code: &'static str,
    /// A message for people, which reveals no internals.
    pub(crate) message: &'static str,
    /// The cause, for operators; may be empty.
    pub(crate) why: String,
}

const DATABASE: Trouble =
    trouble("database", "database-unavailable", "the store's database is not available");
const SCHEMA: Trouble =
    trouble("schema", "schema-not-recognised", "the database has another schema than this program's");
const STORAGE: Trouble =
    trouble("storage", "storage-not-writable", "the store's files cannot be written or read");
const NO_SECRET: Trouble =
    trouble("secret", "session-secret-missing", "there is no secret to sign device sessions with");
const FOREIGN_SECRET: Trouble = trouble(
    "secret",
    "session-secret-foreign",
    "the session secret is another one than the one that the store's devices hold sessions of",
);
const MODE: Trouble =
    trouble("mode", "airgap-mode-off", "devices are not served: run `proxy enable-airgap-mode`");

const fn trouble(part: &'static str, code: &'static str, message: &'static str) -> Trouble {
    Trouble { part, code, message, why: String::new() }
}

impl Trouble {
    fn because(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }
}

/// The last test of all parts.
#[derive(Default)]
pub(crate) struct Health {
    last: Mutex<Option<(Instant, Arc<[Trouble]>)>>,
}

impl Health {
    /// What keeps `store` from serving devices; nothing when it is ready.
    pub(crate) async fn troubles(&self, store: &Site) -> Arc<[Trouble]> {
        let mut last = self.last.lock().await;
        if let Some((at, troubles)) = &*last
            && at.elapsed() < KEPT
        {
            return Arc::clone(troubles);
        }
        let known = last.take().map(|(_, troubles)| troubles);
        let troubles: Arc<[Trouble]> = look(store, known.as_deref().unwrap_or_default()).await.into();
        *last = Some((Instant::now(), Arc::clone(&troubles)));
        troubles
    }
}

async fn look(store: &Site, known: &[Trouble]) -> Vec<Trouble> {
    let (records, files) =
        tokio::join!(timeout(PATIENCE, records(store)), timeout(PATIENCE, store.blobs().try_write()));
    let mut found: Vec<Trouble> = Vec::new();
    match records {
        Ok(Ok(())) => {}
        Ok(Err((trouble, failure))) => found.push(trouble.because(one_line(&failure))),
        Err(_) => found.push(DATABASE.because("the database does not answer")),
    }
    match files {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => found.push(STORAGE.because(one_line(&failure))),
        Err(_) => found.push(STORAGE.because(format!("{} does not answer", store.place()))),
    }
    match store.secret_trouble() {
        None => {}
        Some(SecretTrouble::Missing) => found.push(NO_SECRET),
        Some(SecretTrouble::Foreign) => found.push(FOREIGN_SECRET),
    }
    if !store.serves_devices() {
        found.push(MODE);
    }
    // Logged once when a problem begins and once when it ends.
    let is_in = |all: &[Trouble], one: &Trouble| all.iter().any(|other| other.code == one.code);
    for Trouble { part, code, message, why } in found.iter().filter(|trouble| !is_in(known, trouble)) {
        error!(part, code, why, "Not ready: {message}");
    }
    for over in known.iter().filter(|trouble| !is_in(&found, trouble)) {
        info!(part = over.part, code = over.code, "Over: {}", over.message);
    }
    found
}

/// The database, and then what is in it.
async fn records(store: &Site) -> Result<(), (Trouble, StorageError)> {
    store.database().health().await.map_err(|failure| (DATABASE, failure))?;
    store.database().check_schema().await.map_err(|failure| match failure.is_unavailable() {
        true => (DATABASE, failure),
        false => (SCHEMA, failure),
    })
}
