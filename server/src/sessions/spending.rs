//! Spends concurrent nonces together: those that arrive during a database write go into the next transaction.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{Instrument as _, Span};

use super::witness::Witness;
use crate::storage::Database;
use crate::storage::error::StorageError;
use crate::storage::records::{NonceUse, Spending, Spent};

/// Most nonces per transaction: a fleet that logs in at once reaches it, and more would gain nothing.
const TOGETHER: usize = 64;

/// A nonce use, the waiting caller, and its trace span.
type Waiting = (NonceUse, oneshot::Sender<Result<Spending, Arc<StorageError>>>, Span);

/// The queue of nonces to spend.
pub(super) struct Spender {
    uses: mpsc::Sender<Waiting>,
    last: Arc<Last>,
}

/// The nonce that this server spent last, which the database must know.
#[derive(Default)]
struct Last(Mutex<Option<Spent>>);

impl Last {
    fn get(&self) -> Option<Spent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, last: Option<Spent>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}

impl Spender {
    /// Spends nonces in `database` and has the witness note them, until this is dropped.
    pub(super) fn new(database: Database, witness: Arc<Witness>) -> Self {
        let (uses, waiting) = mpsc::channel(TOGETHER);
        let last = Arc::<Last>::default();
        tokio::spawn(spend(database, witness, waiting, last.clone()));
        Self { uses, last }
    }

    /// The nonce that this server spent last.
    pub(super) fn last(&self) -> Option<Spent> {
        self.last.get()
    }

    /// Continues after this nonce.
    pub(super) fn go_on(&self, last: Option<Spent>) {
        self.last.set(last);
    }

    /// Spends a nonce and returns the result. If the device disconnects, its nonce stays spent.
    ///
    /// # Errors
    /// The database is unavailable or too slow; the nonce may or may not be spent.
    pub(super) async fn spend(&self, of: NonceUse) -> Result<Spending, Arc<StorageError>> {
        let (tell, told) = oneshot::channel();
        let outcome = timeout(Database::PATIENCE, async {
            self.uses.send((of, tell, Span::current())).await.ok()?;
            told.await.ok()
        });
        let late = || Err(Arc::new(StorageError::late(Database::PATIENCE)));
        outcome.await.ok().flatten().unwrap_or_else(late)
    }
}

async fn spend(
    database: Database,
    witness: Arc<Witness>,
    mut waiting: mpsc::Receiver<Waiting>,
    last: Arc<Last>,
) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, TOGETHER).await > 0 {
        // Callers that waited too long already got an error.
        batch.retain(|(_, tell, _)| !tell.is_closed());
        let Some(span) = batch.first().map(|(_, _, span)| span.clone()) else { continue };
        let (uses, tellers): (Vec<_>, Vec<_>) = batch.drain(..).map(|(of, tell, _)| (of, tell)).unzip();
        // Noted before it is spent, so that a note is never older than the last spent nonce.
        witness.note(uses.last().map(Spent::from).as_ref());
        let outcomes = database.spend_nonces(&uses, last.get().as_ref()).instrument(span).await;
        let fresh =
            |outcome: &Result<Spending, _>| matches!(outcome, Ok(Spending::Spent { fresh: true, .. }));
        if let Some((of, _)) = uses.iter().zip(&outcomes).rfind(|(_, outcome)| fresh(outcome)) {
            last.set(Some(of.into()));
        }
        for (tell, outcome) in tellers.into_iter().zip(outcomes) {
            let _ = tell.send(outcome);
        }
    }
}
