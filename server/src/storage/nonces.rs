//! Spent nonces: each buys one session, decided by the database and by nothing else.
//!
//! A nonce belongs to an epoch. Epochs are counted, not timed: advancing to the next one forgets the nonces of all but the
//! newest two, and what is forgotten can never be spent again, because a spent nonce must refer to an epoch that is there.

use schema::digest::Sha3_384;

use super::Database;
use super::engine::{Lane, Mode, Reader, statements};
use super::error::StorageError;
use super::records::Spending;

statements! {
    SPEND = "INSERT INTO spent_nonces (nonce, epoch, request_digest, issued_at)
        SELECT $1, epoch, $3, $4 FROM nonce_epochs WHERE epoch = $2
        ON CONFLICT (nonce) DO NOTHING RETURNING issued_at";
    SELECT_SPENT = "SELECT request_digest, issued_at FROM spent_nonces WHERE nonce = $1";
    SELECT_EPOCH = "SELECT max(epoch) FROM nonce_epochs";
    INSERT_EPOCH = "INSERT INTO nonce_epochs (epoch) SELECT max(epoch) + 1 FROM nonce_epochs WHERE epoch > 0 RETURNING epoch";
    // Takes their spent nonces with them.
    DELETE_EPOCHS = "DELETE FROM nonce_epochs WHERE epoch < $1";
}

impl Database {
    /// Spends `nonce`, of `epoch`, on the request with `request_digest`.
    ///
    /// The first request gets it, with `issued_at_micros` as the issue time of its session; the same request again gets the
    /// issue time that was recorded then; any other request is refused. Only a digest of the nonce is kept.
    pub(crate) async fn spend_nonce(
        &self,
        nonce: &str,
        epoch: i64,
        request_digest: &str,
        issued_at_micros: i64,
    ) -> Result<Spending, StorageError> {
        let key = Sha3_384::of(nonce.as_bytes()).to_base64url();
        let values = vec![key.as_str().into(), epoch.into(), request_digest.into(), issued_at_micros.into()];
        match self.engine.write(Lane::Sessions, SPEND, values).await {
            Ok(rows) if !rows.is_empty() => {
                return Ok(Spending::Spent { issued_at_micros, fresh: true });
            }
            Ok(_) => {}
            // The epoch was forgotten in this very moment.
            Err(StorageError::Constraint(_)) => return Ok(Spending::Replayed),
            Err(error) => return Err(error),
        }
        let rows = self.engine.read(Lane::Sessions, SELECT_SPENT, vec![key.into()]).await?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(Spending::Replayed);
        };
        let mut row = Reader::new("spent_nonces", row);
        if row.text("request_digest")? != request_digest {
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

    /// Begins the next epoch and forgets what was spent in all but the newest two. Answers the new epoch.
    ///
    /// # Errors
    /// [`StorageError::Constraint`] when another server does the same at the same time, which then did it.
    pub(crate) async fn advance_nonce_epoch(&self) -> Result<i64, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        let row = transaction.query(INSERT_EPOCH, Vec::new()).await?.into_iter().next().unwrap_or_default();
        let epoch = Reader::new("nonce_epochs", row).int("epoch")?;
        transaction.query(DELETE_EPOCHS, vec![(epoch - 1).into()]).await?;
        transaction.commit().await?;
        Ok(epoch)
    }
}
