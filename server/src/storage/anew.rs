//! A restored database begins anew: it goes on where the backup was made, and no nonce of before buys anything.
//!
//! What was spent after the backup was made is not in it. So the epochs of the backup go, with all that was spent in them,
//! and the one that follows lies beyond any that the store of before can have come to: more than a century of epochs ahead,
//! and, since one backup may be restored twice, further by chance.

use super::Database;
use super::engine::{Lane, Mode, Reader, statements};
use super::error::{SchemaError, StorageError};

statements! {
    SELECT_LAST_EPOCH = "SELECT max(epoch) FROM nonce_epochs";
    DELETE_EPOCHS = "DELETE FROM nonce_epochs";
    INSERT_EPOCH = "INSERT INTO nonce_epochs (epoch) VALUES ($1)";
    SET_FACT = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    SELECT_FACT = "SELECT value FROM meta WHERE name = $1";
    SELECT_BROUGHT = "SELECT 1 FROM (SELECT kind FROM assertions UNION ALL SELECT snap_id FROM snaps
        UNION ALL SELECT store_id FROM stores) AS brought LIMIT 1";
    SUM_COUNTERS = "SELECT CAST(COALESCE(sum(value), 0) AS BIGINT) FROM counters";
}

/// Name of the fact that tells one restored database from all others.
const RESTORED: &str = "restored";
/// How many epochs are left out at least: at one an hour, 119 years.
const LEAP: i64 = 1 << 20;
/// How many more are left out by chance, at most.
const CHANCE: i64 = 1 << 24;
/// A nonce has room for no more.
const LAST: i64 = u32::MAX as i64 - CHANCE;

/// The epoch that follows `last` when at least so many are left out, and so many by chance.
pub(super) fn leap(last: i64, at_least: i64, chance: i64) -> i64 {
    match last.saturating_add(at_least + chance) {
        next if next <= LAST => next,
        // There is no room for more: chance alone has to do.
        _ => 1 + chance,
    }
}

impl Database {
    /// Makes this copy the one that goes on, under a name of its own. Answers its nonce epoch.
    pub(crate) async fn begin_anew(&self, name: &str, chance: u32) -> Result<i64, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        let row =
            transaction.query(SELECT_LAST_EPOCH, Vec::new()).await?.into_iter().next().unwrap_or_default();
        let epoch = leap(Reader::new("nonce_epochs", row).int("epoch")?, LEAP, i64::from(chance) % CHANCE);
        transaction.query(DELETE_EPOCHS, Vec::new()).await?;
        transaction.query(INSERT_EPOCH, vec![epoch.into()]).await?;
        transaction.query(SET_FACT, vec![RESTORED.into(), name.into()]).await?;
        transaction.commit().await?;
        Ok(epoch)
    }

    /// The name that it was restored under; none for a database that never was, or holds nothing.
    pub(crate) async fn restored_as(&self) -> Result<Option<String>, StorageError> {
        self.fact(RESTORED).await
    }

    /// A fact; none where it was never written, or nothing is held.
    pub(crate) async fn fact(&self, name: &str) -> Result<Option<String>, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let fact = match transaction.tables().await?.iter().any(|table| table == "meta") {
            true => transaction.query(SELECT_FACT, vec![name.into()]).await?.into_iter().next(),
            false => None,
        };
        transaction.commit().await?;
        fact.map(|row| Reader::new("meta", row).text("value")).transpose()
    }

    /// Does it hold anything that an operator brought in? Writes nothing.
    pub(crate) async fn is_filled(&self) -> Result<bool, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let filled = match transaction.tables().await?.iter().any(|table| table == "stores") {
            true => !transaction.query(SELECT_BROUGHT, Vec::new()).await?.is_empty(),
            false => false,
        };
        transaction.commit().await?;
        Ok(filled)
    }

    /// Does it hold a store? Writes nothing.
    ///
    /// # Errors
    /// [`SchemaError::Foreign`] when it holds something else.
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
