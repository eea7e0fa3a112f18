//! How much each key signed on a day: keys with a limit, and those whose documents are in no table of their own. All servers of
//! a database count together.

use std::collections::BTreeMap;

use super::Database;
use super::engine::{Lane, Mode, Reader, Sql, Transaction, Value, statements};
use super::error::StorageError;

statements! {
    COUNT = "INSERT INTO key_days (key_name, day, signed) VALUES ($1, $2, 1) ON CONFLICT (key_name, day)
        DO UPDATE SET signed = key_days.signed + 1 WHERE key_days.signed < $3 RETURNING signed";
    SIGNED_ON = "SELECT key_name, signed FROM key_days WHERE day = $1";
    SIGNED_IN_ALL = "SELECT key_name, CAST(SUM(signed) AS BIGINT) AS signed FROM key_days GROUP BY key_name";
}

impl Database {
    /// Counts a signature, unless the key has `most` of this day already. Durable when this returns.
    pub(crate) async fn count_signature(&self, key: &str, day: i64, most: u32) -> Result<bool, StorageError> {
        let values = vec![key.into(), day.into(), most.into()];
        let count = async move |mut transaction: Transaction| {
            let counted = transaction.query(COUNT, values).await?;
            transaction.commit().await?;
            Ok(!counted.is_empty())
        };
        self.engine.transact(Lane::Sessions, Mode::Write, count).await
    }

    /// How much each key signed on a day.
    pub(crate) async fn signed_on(&self, day: i64) -> Result<BTreeMap<String, u64>, StorageError> {
        self.signed(SIGNED_ON, vec![day.into()]).await
    }

    /// How much each key signed on all days.
    pub(crate) async fn signed_in_all(&self) -> Result<BTreeMap<String, u64>, StorageError> {
        self.signed(SIGNED_IN_ALL, Vec::new()).await
    }

    async fn signed(
        &self,
        statement: Sql,
        values: Vec<Value>,
    ) -> Result<BTreeMap<String, u64>, StorageError> {
        let rows = self.engine.read(Lane::Operator, statement, values).await?;
        let read = |row| {
            let mut row = Reader::new("key_days", row);
            Ok((row.text("key_name")?, u64::try_from(row.int("signed")?).unwrap_or_default()))
        };
        rows.into_iter().map(read).collect()
    }
}
