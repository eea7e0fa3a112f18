//! Spent nonces: each buys one session, as decided by the database alone.
//!
//! A nonce belongs to an epoch. Epochs are counted, not timed: the next one forgets the nonces of all but the newest
//! two, and a forgotten nonce can never be spent again, because a spent nonce must refer to an existing epoch.
//!
//! A database that may have been restored to an earlier state has forgotten what was spent since. So each life of a
//! database has a name that only an uninterrupted database still matches, and nothing is spent in any other: first an
//! epoch begins that lies beyond all earlier ones. A device with an earlier nonce requests a new one.

use std::sync::Arc;
use std::time::Duration;

use super::Database;
use super::anew::leap;
use super::engine::{Lane, Mode, Reader, Transaction, statements};
use super::error::StorageError;
use super::records::{NonceUse, Spending, Spent};

statements! {
    SPEND = "INSERT INTO spent_nonces (nonce, epoch, request_digest, issued_at)
        SELECT $1, epoch, $3, $4 FROM nonce_epochs WHERE epoch = $2
        ON CONFLICT (nonce) DO NOTHING RETURNING issued_at";
    SELECT_SPENT = "SELECT request_digest, issued_at FROM spent_nonces WHERE nonce = $1";
    SELECT_EPOCH = "SELECT max(epoch) FROM nonce_epochs";
    INSERT_EPOCH = "INSERT INTO nonce_epochs (epoch) SELECT epoch + 1 FROM nonce_epochs
        WHERE epoch = $1 AND epoch = (SELECT max(epoch) FROM nonce_epochs) RETURNING epoch";
    INSERT_FAR_EPOCH = "INSERT INTO nonce_epochs (epoch) VALUES ($1) ON CONFLICT (epoch) DO NOTHING";
    // Both also delete the spent nonces of these epochs.
    DELETE_EPOCHS = "DELETE FROM nonce_epochs WHERE epoch < $1";
    DELETE_OTHER_EPOCHS = "DELETE FROM nonce_epochs WHERE epoch <> $1";
    // Or its epoch is over, and with it that of everything spent before it.
    SELECT_KNOWN = "SELECT 1 FROM spent_nonces WHERE nonce = $1
        UNION ALL SELECT 1 WHERE (SELECT min(epoch) FROM nonce_epochs) > $2";
    SELECT_LIFE = "SELECT 1 FROM meta WHERE name = 'nonce-life' AND value = $1";
}

/// How many epochs a leap skips: at one per hour, as many as a copy that is almost two years old lacks.
const LEAP: i64 = 1 << 14;
/// The maximum number of epochs skipped at random in addition, because one copy may be restored twice. An epoch's
/// number has room for about ninety thousand leaps, and starts again after that.
const CHANCE: i64 = 1 << 16;

impl Database {
    /// How long a device waits for its nonce to be spent.
    pub(crate) const PATIENCE: Duration = Lane::Sessions.deadline();

    /// Spends nonces together: all of them or none. The embedded database does not wait for the disk, because a power cut
    /// voids every nonce of before: it leaves no note of the last life.
    ///
    /// The first request for a nonce gets it, with `issued_at_micros` as its session's issue time; the same request
    /// again gets the recorded issue time; any other request is refused. All are refused if the database does not
    /// continue from its state when the `last` nonce was spent here.
    pub(crate) async fn spend_nonces(
        &self,
        uses: &[NonceUse],
        last: Option<&Spent>,
    ) -> Vec<Result<Spending, Arc<StorageError>>> {
        match self.spend_together(uses, last).await {
            Ok(Some(fresh)) => {
                let mut outcomes = Vec::with_capacity(uses.len());
                for (of, fresh) in uses.iter().zip(fresh) {
                    outcomes.push(match fresh {
                        true => Ok(Spending::Spent { issued_at_micros: of.issued_at_micros, fresh }),
                        false => self.spent_before(of).await.map_err(Arc::new),
                    });
                }
                outcomes
            }
            Ok(None) => uses.iter().map(|_| Ok(Spending::Replayed)).collect(),
            // An epoch was forgotten at this very moment.
            Err(StorageError::Constraint(_)) => match uses {
                [_] => vec![Ok(Spending::Replayed)],
                _ => {
                    let mut outcomes = Vec::with_capacity(uses.len());
                    for of in uses.chunks(1) {
                        outcomes.extend(Box::pin(self.spend_nonces(of, last)).await);
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

    /// Which of these nonces were fresh; `None` if the database does not continue.
    async fn spend_together(
        &self,
        uses: &[NonceUse],
        last: Option<&Spent>,
    ) -> Result<Option<Vec<bool>>, StorageError> {
        let values = |of: &NonceUse| {
            let NonceUse { epoch, key, request_digest, issued_at_micros } = of;
            vec![
                key.as_str().into(),
                (*epoch).into(),
                request_digest.as_str().into(),
                (*issued_at_micros).into(),
            ]
        };
        // In the same order on every server, so that no two deadlock.
        let mut order: Vec<usize> = (0..uses.len()).collect();
        order.sort_by_key(|&at| uses.get(at));
        let spends = order.iter().filter_map(|&at| uses.get(at)).map(values).collect();
        let last = last.cloned();
        let spend = async move |mut transaction: Transaction| {
            if !goes_on(&mut transaction, last.as_ref()).await? {
                return Ok(None);
            }
            let rows = transaction.each(SPEND, spends).await?;
            transaction.commit().await?;
            Ok(Some(rows))
        };
        let Some(rows) = self.engine.transact(Lane::Sessions, Mode::WriteUnflushed, spend).await? else {
            return Ok(None);
        };
        let mut fresh: Vec<_> = order.into_iter().zip(rows.iter().map(|rows| !rows.is_empty())).collect();
        fresh.sort_unstable();
        Ok(Some(fresh.into_iter().map(|(_, fresh)| fresh).collect()))
    }

    /// The result for a nonce that this use did not spend.
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

    /// The epoch of new nonces. Nonces of the previous one are accepted as well. `None` if the database does not
    /// continue from its state when the `last` nonce was spent here.
    pub(crate) async fn nonce_epoch(&self, last: Option<&Spent>) -> Result<Option<i64>, StorageError> {
        let mut transaction = self.engine.begin(Lane::Sessions, Mode::Read).await?;
        let epoch = match goes_on(&mut transaction, last).await? {
            true => Some(newest(&mut transaction).await?),
            false => None,
        };
        transaction.commit().await?;
        Ok(epoch)
    }

    /// Starts the epoch after `seen` and forgets what was spent in all but the newest two. Returns the newest epoch,
    /// which another server may have started.
    pub(crate) async fn turn_nonce_epoch(&self, seen: i64) -> Result<i64, StorageError> {
        match self.begin_epoch(seen).await {
            Ok(Some(epoch)) => Ok(epoch),
            // Another server did it, earlier or at this very moment.
            Ok(None) | Err(StorageError::Constraint(_)) => {
                let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
                let epoch = newest(&mut transaction).await?;
                transaction.commit().await?;
                Ok(epoch)
            }
            Err(error) => Err(error),
        }
    }

    async fn begin_epoch(&self, seen: i64) -> Result<Option<i64>, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        let Some(row) = transaction.query(INSERT_EPOCH, vec![seen.into()]).await?.into_iter().next() else {
            return Ok(None);
        };
        let epoch = Reader::new("nonce_epochs", row).int("epoch")?;
        transaction.query(DELETE_EPOCHS, vec![(epoch - 1).into()]).await?;
        transaction.commit().await?;
        Ok(Some(epoch))
    }

    /// If the database does not continue: starts an epoch beyond all that were ever started, even by a database of
    /// which this is an older copy, and forgets the others. Returns the newest epoch. `chance` is any number.
    pub(crate) async fn leap_nonce_epochs(
        &self,
        last: Option<&Spent>,
        chance: u32,
    ) -> Result<i64, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        // One server does it, and the others find it done.
        transaction.lock_schema().await?;
        let before = newest(&mut transaction).await?;
        if goes_on(&mut transaction, last).await? {
            return Ok(before);
        }
        let epoch = leap(before, LEAP, i64::from(chance) % CHANCE);
        transaction.query(INSERT_FAR_EPOCH, vec![epoch.into()]).await?;
        transaction.query(DELETE_OTHER_EPOCHS, vec![epoch.into()]).await?;
        transaction.begin_life().await?;
        transaction.commit().await?;
        Ok(epoch)
    }

    /// Identifies this opening of an embedded database; PostgreSQL tells its lives apart itself.
    pub(crate) fn life(&self) -> Option<&str> {
        self.engine.life()
    }

    /// Continues the life of this name, in which the `last` nonce was spent, if the database matches it.
    pub(crate) async fn go_on(&self, life: &str, last: Option<&Spent>) -> Result<bool, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        let goes_on = !transaction.query(SELECT_LIFE, vec![life.into()]).await?.is_empty()
            && knows(&mut transaction, last).await?;
        if goes_on {
            transaction.begin_life().await?;
            transaction.commit().await?;
        }
        Ok(goes_on)
    }
}

async fn newest(on: &mut Transaction) -> Result<i64, StorageError> {
    let row = on.query(SELECT_EPOCH, Vec::new()).await?.into_iter().next().unwrap_or_default();
    Reader::new("nonce_epochs", row).int("epoch")
}

async fn goes_on(on: &mut Transaction, last: Option<&Spent>) -> Result<bool, StorageError> {
    Ok(on.continues().await? && knows(on, last).await?)
}

async fn knows(on: &mut Transaction, last: Option<&Spent>) -> Result<bool, StorageError> {
    let Some(Spent { epoch, key }) = last else { return Ok(true) };
    Ok(!on.query(SELECT_KNOWN, vec![key.as_str().into(), (*epoch).into()]).await?.is_empty())
}
