//! Spends the nonces of devices that come at once together: those that arrive while the database writes are written next,
//! in one transaction with one flush.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{Instrument as _, Span};

use super::witness::Witness;
use crate::storage::Database;
use crate::storage::error::StorageError;
use crate::storage::records::{NonceUse, Spending, Spent};

/// Most nonces that are spent together: a fleet that logs in at once fills it, and more gain nothing.
const TOGETHER: usize = 64;

/// One use, who waits for what comes of it, and where that is traced.
type Waiting = (NonceUse, oneshot::Sender<Result<Spending, Arc<StorageError>>>, Span);

/// Where nonces are spent.
pub(super) struct Spender {
    uses: mpsc::Sender<Waiting>,
    last: Arc<Last>,
}

/// The nonce that this server spent last: the database must know it.
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
    /// Spends in `database`, and has the witness note what is spent, until this is dropped.
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

    /// Goes on from this one.
    pub(super) fn go_on(&self, last: Option<Spent>) {
        self.last.set(last);
    }

    /// What became of a use. A device that goes away leaves its nonce spent.
    ///
    /// # Errors
    /// The database did not say in time, or is not there: the nonce may be spent or not.
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
        // Whoever waited too long was told so.
        batch.retain(|(_, tell, _)| !tell.is_closed());
        let Some(span) = batch.first().map(|(_, _, span)| span.clone()) else { continue };
        let (uses, tellers): (Vec<_>, Vec<_>) = batch.drain(..).map(|(of, tell, _)| (of, tell)).unzip();
        // Noted before it is spent, so that no note is ever older than what was spent.
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
