//! Spent nonces: each buys one session, decided by the database and by nothing else.
//!
//! A nonce belongs to an epoch. Epochs are counted, not timed: advancing to the next one forgets the nonces of all but the
//! newest two, and what is forgotten can never be spent again, because a spent nonce must refer to an epoch that is there.

use std::sync::Arc;
use std::time::Duration;

use super::Database;
use super::engine::{Lane, Mode, Reader, Sql, statements};
use super::error::StorageError;
use super::records::{NonceUse, Spending};

statements! {
    SPEND = "INSERT INTO spent_nonces (nonce, epoch, request_digest, issued_at)
        SELECT $1, epoch, $3, $4 FROM nonce_epochs WHERE epoch = $2
        ON CONFLICT (nonce) DO NOTHING RETURNING issued_at";
    SELECT_SPENT = "SELECT request_digest, issued_at FROM spent_nonces WHERE nonce = $1";
    SELECT_EPOCH = "SELECT max(epoch) FROM nonce_epochs";
    INSERT_EPOCH = "INSERT INTO nonce_epochs (epoch) SELECT epoch + 1 FROM nonce_epochs
        WHERE epoch = $1 AND epoch = (SELECT max(epoch) FROM nonce_epochs) RETURNING epoch";
    INSERT_FAR_EPOCH = "INSERT INTO nonce_epochs (epoch) SELECT max(epoch) + $1 FROM nonce_epochs WHERE epoch > 0 RETURNING epoch";
    // Takes their spent nonces with them.
    DELETE_EPOCHS = "DELETE FROM nonce_epochs WHERE epoch < $1";
}

/// How many epochs are left out by a leap: at one an hour, as many as a copy of a database that is almost two years old lacks.
const LEAP: i64 = 1 << 14;
/// How many more are left out by chance, at most, since one copy may be put back twice. An epoch's number has room for some
/// ninety thousand leaps.
const CHANCE: i64 = 1 << 16;

impl Database {
    /// How long a device waits for its nonce to be spent.
    pub(crate) const PATIENCE: Duration = Lane::Sessions.deadline();

    /// Spends nonces, together: either all of them are durable when this returns, or none is.
    ///
    /// The first request gets a nonce, with `issued_at_micros` as the issue time of its session; the same request again gets
    /// the issue time that was recorded then; any other request is refused.
    pub(crate) async fn spend_nonces(&self, uses: &[NonceUse]) -> Vec<Result<Spending, Arc<StorageError>>> {
        match self.spend_together(uses).await {
            Ok(fresh) => {
                let mut outcomes = Vec::with_capacity(uses.len());
                for (of, fresh) in uses.iter().zip(fresh) {
                    outcomes.push(match fresh {
                        true => Ok(Spending::Spent { issued_at_micros: of.issued_at_micros, fresh }),
                        false => self.spent_before(of).await.map_err(Arc::new),
                    });
                }
                outcomes
            }
            // An epoch was forgotten in this very moment.
            Err(StorageError::Constraint(_)) => match uses {
                [_] => vec![Ok(Spending::Replayed)],
                _ => {
                    let mut outcomes = Vec::with_capacity(uses.len());
                    for of in uses.chunks(1) {
                        outcomes.extend(Box::pin(self.spend_nonces(of)).await);
                    }
                    outcomes
                }
            },
            Err(error) => {
                let error = Arc::new(error);
                uses.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    /// Which of these nonces were fresh.
    async fn spend_together(&self, uses: &[NonceUse]) -> Result<Vec<bool>, StorageError> {
        let values = |of: &NonceUse| {
            let NonceUse { epoch, key, request_digest, issued_at_micros } = of;
            vec![
                key.as_str().into(),
                (*epoch).into(),
                request_digest.as_str().into(),
                (*issued_at_micros).into(),
            ]
        };
        if let [of] = uses {
            return Ok(vec![!self.engine.write(Lane::Sessions, SPEND, values(of)).await?.is_empty()]);
        }
        let mut transaction = self.engine.begin(Lane::Sessions, Mode::Write).await?;
        // In the same order at every server, so that no two wait for each other.
        let mut order: Vec<usize> = (0..uses.len()).collect();
        order.sort_by_key(|&at| uses.get(at));
        let in_order = order.iter().filter_map(|&at| uses.get(at));
        let rows = transaction.each(SPEND, in_order.map(values).collect()).await?;
        transaction.commit().await?;
        let mut fresh: Vec<_> = order.into_iter().zip(rows.iter().map(|rows| !rows.is_empty())).collect();
        fresh.sort_unstable();
        Ok(fresh.into_iter().map(|(_, fresh)| fresh).collect())
    }

    /// What a use gets of a nonce that it did not spend.
    async fn spent_before(&self, of: &NonceUse) -> Result<Spending, StorageError> {
        let rows = self.engine.read(Lane::Sessions, SELECT_SPENT, vec![of.key.as_str().into()]).await?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(Spending::Replayed);
        };
        let mut row = Reader::new("spent_nonces", row);
        if row.text("request_digest")? != of.request_digest {
            return Ok(Spending::Replayed);
        }
        Ok(Spending::Spent { issued_at_micros: row.int("issued_at")?, fresh: false })
    }

    /// The epoch that new nonces carry. Those of the one before are accepted as well.
    pub(crate) async fn nonce_epoch(&self) -> Result<i64, StorageError> {
        let row = self
            .engine
            .read(Lane::Sessions, SELECT_EPOCH, Vec::new())
            .await?
            .into_iter()
            .next()
            .unwrap_or_default();
        Reader::new("nonce_epochs", row).int("epoch")
    }

    /// Is this among the spent nonces, by its key?
    pub(crate) async fn is_spent(&self, key: &str) -> Result<bool, StorageError> {
        let rows = self.engine.read(Lane::Sessions, SELECT_SPENT, vec![key.into()]).await?;
        Ok(!rows.is_empty())
    }

    /// Begins the epoch after `seen` and forgets what was spent in all but the newest two. Answers the newest epoch, which
    /// another server may have begun.
    pub(crate) async fn turn_nonce_epoch(&self, seen: i64) -> Result<i64, StorageError> {
        match self.begin_epoch(INSERT_EPOCH, seen, 1).await {
            Ok(Some(epoch)) => Ok(epoch),
            // Another server did it, before or in this very moment.
            Ok(None) | Err(StorageError::Constraint(_)) => self.nonce_epoch().await,
            Err(error) => Err(error),
        }
    }

    /// Begins an epoch that lies beyond all that were ever begun, even by a database of which this is an older copy, and
    /// forgets the others: no nonce of before buys anything. Answers the newest epoch. `chance` is any number.
    pub(crate) async fn leap_nonce_epochs(&self, chance: u32) -> Result<i64, StorageError> {
        match self.begin_epoch(INSERT_FAR_EPOCH, LEAP + i64::from(chance) % CHANCE, 0).await {
            Ok(Some(epoch)) => Ok(epoch),
            Ok(None) | Err(StorageError::Constraint(_)) => self.nonce_epoch().await,
            Err(error) => Err(error),
        }
    }

    /// Begins an epoch by `statement`, and forgets all but it and the `kept` before.
    async fn begin_epoch(&self, statement: Sql, value: i64, kept: i64) -> Result<Option<i64>, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        let Some(row) = transaction.query(statement, vec![value.into()]).await?.into_iter().next() else {
            return Ok(None);
        };
        let epoch = Reader::new("nonce_epochs", row).int("epoch")?;
        transaction.query(DELETE_EPOCHS, vec![(epoch - kept).into()]).await?;
        transaction.commit().await?;
        Ok(Some(epoch))
    }
}
