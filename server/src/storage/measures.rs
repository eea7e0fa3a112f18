//! What was counted, in steps of an hour and of a day. Several servers write into the same steps.

use std::collections::BTreeMap;

use schema::api::admin::MeasureStep;

use super::Database;
use super::audit::ATTEMPTS;
use super::engine::{Lane, Mode, Reader, Sql, Value, statements};
use super::error::StorageError;

statements! {
    ADD_MEASURE = "INSERT INTO measures (step, metric, at, label, value) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (step, metric, at, label) DO UPDATE SET value = measures.value + excluded.value";
    LOWER_MEASURE = "INSERT INTO measures (step, metric, at, label, value) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (step, metric, at, label) DO UPDATE SET value = excluded.value WHERE excluded.value < measures.value";
    PUT_MEASURE = "INSERT INTO measures (step, metric, at, label, value) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (step, metric, at, label) DO UPDATE SET value = excluded.value";
    DROP_STEP = "DELETE FROM measures WHERE step = $1 AND at = $2 AND substr(metric, 1, 25) = $3";
    SELECT_MEASURES = "SELECT at, label, value FROM measures
        WHERE step = $1 AND metric = $2 AND at >= $3 AND at <= $4 ORDER BY label, at";
    // Steps are counted, not dated: a clock that was ahead for a while takes nothing away.
    DROP_OLD_STEPS = "DELETE FROM measures WHERE step = $1 AND at < (SELECT COALESCE(MIN(at), 0) FROM
        (SELECT DISTINCT at FROM measures WHERE step = $1 ORDER BY at DESC LIMIT $2) AS newest)";
}

/// The metric of how many devices run each revision of a snap; the snap's id follows it.
pub(crate) const REVISIONS: &str = "airlock_revision_devices:";

/// How a value meets the one that its step already has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Meeting {
    /// It is added.
    Sum,
    /// The lower one stays.
    Least,
}

/// Something that was counted: the metric, the value of its label, and how much.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Measure {
    /// The metric, as a monitoring system names it.
    pub(crate) metric: String,
    /// The value of its label; empty without one.
    pub(crate) label: String,
    /// How much.
    pub(crate) value: u64,
}

/// The counts of one metric: by label, and by the first microsecond of the step.
pub(crate) type Counts = BTreeMap<String, BTreeMap<i64, u64>>;

impl Database {
    /// Records what was counted in the hour and the day of a moment, in one transaction.
    pub(crate) async fn record_measures(
        &self,
        measures: &[Measure],
        meeting: Meeting,
        at_micros: i64,
    ) -> Result<(), StorageError> {
        let sql = match meeting {
            Meeting::Sum => ADD_MEASURE,
            Meeting::Least => LOWER_MEASURE,
        };
        let mut attempt = 1;
        loop {
            match self.write_measures(measures, sql, None, at_micros).await {
                Err(StorageError::Contended(_)) if attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    /// Records how many devices run each revision, in place of what the hour and the day of a moment had, and forgets
    /// steps that are older than those that are kept.
    pub(crate) async fn record_revisions(
        &self,
        measures: &[Measure],
        at_micros: i64,
    ) -> Result<(), StorageError> {
        self.write_measures(measures, PUT_MEASURE, Some(REVISIONS), at_micros).await
    }

    async fn write_measures(
        &self,
        measures: &[Measure],
        sql: Sql,
        instead_of: Option<&str>,
        at_micros: i64,
    ) -> Result<(), StorageError> {
        // In key order, so that two servers cannot deadlock.
        let mut sorted: Vec<&Measure> = measures.iter().collect();
        sorted.sort();
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        for step in MeasureStep::ALL {
            let begin = step.begin(at_micros);
            if let Some(metric) = instead_of {
                let of = vec![step.as_str().into(), begin.into(), metric.into()];
                transaction.query(DROP_STEP, of).await?;
            }
            let row = |measure: &&Measure| -> Vec<Value> {
                vec![
                    step.as_str().into(),
                    measure.metric.as_str().into(),
                    begin.into(),
                    measure.label.as_str().into(),
                    i64::try_from(measure.value).unwrap_or(i64::MAX).into(),
                ]
            };
            transaction.each(sql, sorted.iter().map(row).collect()).await?;
            if instead_of.is_some() {
                transaction.query(DROP_OLD_STEPS, vec![step.as_str().into(), step.kept().into()]).await?;
            }
        }
        transaction.commit().await
    }

    /// What was counted of a metric in the steps that begin between two moments.
    pub(crate) async fn measures(
        &self,
        metric: &str,
        step: MeasureStep,
        first_micros: i64,
        last_micros: i64,
    ) -> Result<Counts, StorageError> {
        let of = vec![step.as_str().into(), metric.into(), first_micros.into(), last_micros.into()];
        let mut counts = Counts::new();
        for row in self.engine.read(Lane::Operator, SELECT_MEASURES, of).await? {
            let mut row = Reader::new("measures", row);
            let (at, label) = (row.int("at")?, row.text("label")?);
            counts.entry(label).or_default().insert(at, row.number("value")?);
        }
        Ok(counts)
    }
}
