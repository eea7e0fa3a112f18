//! A restored database starts over: it continues where the backup was made, and every nonce issued before is void.
//!
//! The backup does not contain what was spent after it was made. So its epochs are dropped together with everything
//! spent in them, and the next epoch lies beyond any that the original store can have reached: more than a century of
//! epochs ahead, plus a random distance, because one backup may be restored twice.

use super::Database;
use super::engine::{Lane, Mode, Reader, statements};
use super::error::{SchemaError, StorageError};
use super::policies::PolicyRecord;

statements! {
    SELECT_LAST_EPOCH = "SELECT max(epoch) FROM nonce_epochs";
    DELETE_EPOCHS = "DELETE FROM nonce_epochs";
    INSERT_EPOCH = "INSERT INTO nonce_epochs (epoch) VALUES ($1)";
    SET_FACT = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    SELECT_POLICIES = "SELECT value FROM meta WHERE name LIKE 'serial-policy.%'";
    // What was approved may have been done since.
    VOID_APPROVALS = "UPDATE approvals SET state = 'void' WHERE state IN ('waiting', 'approved')";
    SELECT_FACT = "SELECT value FROM meta WHERE name = $1";
    SELECT_BROUGHT = "SELECT 1 FROM (SELECT kind FROM assertions UNION ALL SELECT snap_id FROM snaps
        UNION ALL SELECT store_id FROM stores) AS brought LIMIT 1";
    GENERATION = "SELECT value FROM counters WHERE name = 'generation'";
    COUNT_SERIALS = "SELECT COUNT(*) FROM issued_serials";
    SUM_COUNTERS = "SELECT CAST(COALESCE(sum(value), 0) AS BIGINT) FROM counters";
}

/// The fact that tells one restored database from all others.
const RESTORED: &str = "restored";
/// The minimum number of skipped epochs: at one per hour, 119 years.
const LEAP: i64 = 1 << 20;
/// The maximum number of epochs skipped at random in addition.
const CHANCE: i64 = 1 << 24;
/// The highest epoch that leaves room in a nonce.
const LAST: i64 = u32::MAX as i64 - CHANCE;

/// The epoch after `last`, skipping `at_least` epochs plus a random `chance`.
pub(super) fn leap(last: i64, at_least: i64, chance: i64) -> i64 {
    match last.saturating_add(at_least + chance) {
        next if next <= LAST => next,
        // There is no room left: only the random part is possible.
        _ => 1 + chance,
    }
}

impl Database {
    /// Makes this copy the continuing database, under its own name. Policies for serials that may have been given out since
    /// the backup are closed, and returned; what waits for approvals or has them is void.
    pub(crate) async fn begin_anew(
        &self,
        name: &str,
        chance: u32,
    ) -> Result<Vec<PolicyRecord>, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        let row =
            transaction.query(SELECT_LAST_EPOCH, Vec::new()).await?.into_iter().next().unwrap_or_default();
        let epoch = leap(Reader::new("nonce_epochs", row).int("epoch")?, LEAP, i64::from(chance) % CHANCE);
        transaction.query(DELETE_EPOCHS, Vec::new()).await?;
        transaction.query(INSERT_EPOCH, vec![epoch.into()]).await?;
        transaction.query(SET_FACT, vec![RESTORED.into(), name.into()]).await?;
        transaction.query(VOID_APPROVALS, Vec::new()).await?;
        let mut closed = Vec::new();
        for row in transaction.query(SELECT_POLICIES, Vec::new()).await? {
            let policy: PolicyRecord = Reader::new("meta", row).json("value")?;
            let policy = policy.restored();
            let (name, value) = policy.fact();
            transaction.query(SET_FACT, vec![name.into(), value.into()]).await?;
            closed.extend(Some(policy).filter(PolicyRecord::is_restored));
        }
        transaction.commit().await?;
        Ok(closed)
    }

    /// The name under which it was restored; `None` if it never was, or is empty.
    pub(crate) async fn restored_as(&self) -> Result<Option<String>, StorageError> {
        self.fact(RESTORED).await
    }

    /// A fact; `None` if it was never set, or the database is empty.
    pub(crate) async fn fact(&self, name: &str) -> Result<Option<String>, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let fact = match transaction.tables().await?.iter().any(|table| table == "meta") {
            true => transaction.query(SELECT_FACT, vec![name.into()]).await?.into_iter().next(),
            false => None,
        };
        transaction.commit().await?;
        fact.map(|row| Reader::new("meta", row).text("value")).transpose()
    }

    /// Whether no server has ever used it. Writes nothing.
    pub(crate) async fn is_new(&self) -> Result<bool, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let tables = transaction.tables().await?;
        transaction.commit().await?;
        Ok(tables.is_empty())
    }

    /// Whether it holds anything imported by an operator. Writes nothing.
    pub(crate) async fn is_filled(&self) -> Result<bool, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let filled = match transaction.tables().await?.iter().any(|table| table == "stores") {
            true => !transaction.query(SELECT_BROUGHT, Vec::new()).await?.is_empty(),
            false => false,
        };
        transaction.commit().await?;
        Ok(filled)
    }

    /// How many changes were committed, and how many serials given out, by whatever version of this program. Writes nothing.
    pub(crate) async fn age(&self) -> Result<(i64, i64), StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let tables = transaction.tables().await?;
        let mut counts = [0; 2];
        for (count, (table, sql)) in
            counts.iter_mut().zip([("counters", GENERATION), ("issued_serials", COUNT_SERIALS)])
        {
            if tables.iter().any(|held| held == table) {
                let row = transaction.query(sql, Vec::new()).await?.into_iter().next().unwrap_or_default();
                *count = Reader::new(table, row).int("value")?;
            }
        }
        transaction.commit().await?;
        Ok(counts.into())
    }

    /// Whether it holds a store. Writes nothing.
    ///
    /// # Errors
    /// [`SchemaError::Foreign`] if it holds something else.
    pub(crate) async fn holds_a_store(&self) -> Result<bool, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let tables = transaction.tables().await?;
        let holds = match tables.iter().any(|table| table == "counters") {
            true => {
                let row =
                    transaction.query(SUM_COUNTERS, Vec::new()).await?.into_iter().next().unwrap_or_default();
                Reader::new("counters", row).int("value")? != 0
            }
            false => match tables.into_iter().next() {
                Some(table) => return Err(SchemaError::Foreign { table }.into()),
                None => false,
            },
        };
        transaction.commit().await?;
        Ok(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_epoch_of_before_comes_again_while_there_is_room() {
        for chance in [0, 1, CHANCE - 1] {
            assert_eq!(leap(7, LEAP, chance), 7 + LEAP + chance);
            let far = leap(LAST, LEAP, chance);
            assert!((1..=CHANCE).contains(&far), "{far}");
            assert!(leap(LAST - LEAP - CHANCE, LEAP, chance) <= LAST);
        }
    }
}
