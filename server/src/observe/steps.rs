//! What is counted over time: the differences of the counters, written down for their hour and day. A request only adds to its counter;
//! this looks at all of them once in a while.

use tokio::sync::Mutex;

use super::Observed;
use crate::storage::Database;
use crate::storage::error::StorageError;
use crate::storage::measures::{Measure, Meeting};

/// The path pattern of the request with which a device says what it runs and learns what to update.
const REFRESH: &str = "/v2/snaps/refresh";

/// What was written down of each counter.
#[derive(Debug, Default)]
pub(super) struct Steps(Mutex<Vec<u64>>);

impl Observed {
    /// The counters that are written down, always in the same order: metric, label, count.
    fn counted(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut all = vec![("airlock_http_requests_total", REFRESH, self.requests.answered(REFRESH))];
        all.extend(self.deltas.counted());
        all.extend(self.sessions.all().map(|(outcome, count)| ("airlock_sessions_total", outcome, count)));
        all
    }

    /// Writes down what was counted since the last time, for the hour and the day of this moment.
    ///
    /// # Errors
    /// It could not be written, and waits on.
    pub(crate) async fn write_down(&self, database: &Database, at_micros: i64) -> Result<(), StorageError> {
        let mut written = self.steps.0.lock().await;
        let counted = self.counted();
        written.resize(counted.len(), 0);
        let grown = counted.iter().zip(&*written).filter(|((.., count), before)| count > *before);
        let measures: Vec<Measure> = grown
            .map(|((metric, label, count), before)| Measure {
                metric: (*metric).to_owned(),
                label: (*label).to_owned(),
                value: count - before,
            })
            .collect();
        if !measures.is_empty() {
            database.record_measures(&measures, Meeting::Sum, at_micros).await?;
        }
        *written = counted.into_iter().map(|(.., count)| count).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{Method, StatusCode};
    use schema::api::admin::MeasureStep;

    use super::*;
    use crate::observe::BEGUN;
    use crate::storage::contract::fixture::Store;

    const NOW: i64 = 1_780_000_000_000_000;

    async fn begun(database: &Database) -> u64 {
        let counts =
            database.measures("airlock_sessions_total", MeasureStep::Hour, 0, i64::MAX).await.unwrap();
        counts.get(BEGUN).map_or(0, |counts| counts.values().sum())
    }

    #[tokio::test]
    async fn each_count_is_written_once() {
        let (store, outage) = (Store::sqlite().await, Store::sqlite().await);
        let database = store.migrated().await;
        let observed = Observed::new(vec![REFRESH], std::iter::empty());
        let took = std::time::Duration::from_millis(1);
        for round in 1..4 {
            observed.sessions.count(BEGUN);
            observed.sessions.count(BEGUN);
            observed.requests.record(Some(REFRESH), &Method::POST, StatusCode::OK, took);
            observed.requests.record(Some(REFRESH), &Method::POST, StatusCode::UNAUTHORIZED, took);
            // The database is away: without its tables it takes nothing, and the counts wait.
            assert!(observed.write_down(&outage.database, NOW).await.is_err());
            observed.write_down(database, NOW).await.unwrap();
            observed.write_down(database, NOW).await.unwrap();
            assert_eq!(begun(database).await, 2 * round);
        }
        let visits = database.measures("airlock_http_requests_total", MeasureStep::Day, 0, i64::MAX).await;
        assert_eq!(visits.unwrap()[REFRESH].values().sum::<u64>(), 3, "refused visits are none");
        // A server that starts anew begins at zero, and adds.
        let restarted = Observed::new(vec![REFRESH], std::iter::empty());
        restarted.sessions.count(BEGUN);
        restarted.write_down(database, NOW).await.unwrap();
        assert_eq!(begun(database).await, 7);
    }
}
