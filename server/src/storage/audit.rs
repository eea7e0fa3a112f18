//! Audit events and imported files.

use serde_json::json;
use tracing::error;

use super::chain::Link;
use super::engine::{Lane, Mode, Reader, Row, Sql, Transaction, statements};
use super::error::StorageError;
use super::records::{AuditEvent, AuditRecord, ImportRecord};
use super::{Database, chain};

/// A search for events walks one index backwards: that of the columns which are given, or that of the numbers. $2 and $3 are the numbers
/// between which it looks. PostgreSQL believes that each condition with COALESCE holds for half of the events, and so that it soon has
/// enough of them; SQLite is told the index.
macro_rules! search {
    ($index:literal $(, $column:literal $number:literal)*) => {
        concat!(
            "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit /*SQLITE ", $index, "*/
            WHERE sequence >= $2 AND sequence <= $3 AND COALESCE(at >= $4, TRUE) AND COALESCE(at < $5, TRUE)
                AND COALESCE(who = $6, TRUE) AND COALESCE(what = $7, TRUE) AND COALESCE(subject = $8, TRUE)",
            $(" AND substr(", $column, ", 1, 64) = substr(CAST($", $number, " AS TEXT), 1, 64)",)*
            " ORDER BY sequence DESC LIMIT $1"
        )
    };
}

statements! {
    // The counter's row stays locked until the transaction ends, so numbers have no gaps and rows appear in order.
    NEXT_EVENT = "UPDATE counters SET value = value + 1 WHERE name = 'audit' RETURNING value";
    NEXT_IMPORT = "UPDATE counters SET value = value + 1 WHERE name = 'import' RETURNING value";
    INSERT_EVENT = "INSERT INTO audit (sequence, at, who, what, subject, outcome, detail, hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    INSERT_IMPORT = "INSERT INTO imports (sequence, at, file_digest, kind, summary) VALUES ($1, $2, $3, $4, $5)";
    SEARCH = search!("NOT INDEXED");
    SEARCH_WHO = search!("INDEXED BY audit_by_who", "who" 6);
    SEARCH_WHAT = search!("INDEXED BY audit_by_what", "what" 7);
    SEARCH_SUBJECT = search!("INDEXED BY audit_by_subject", "subject" 8);
    SEARCH_WHO_WHAT = search!("INDEXED BY audit_by_who_and_what", "who" 6, "what" 7);
    SEARCH_WHO_SUBJECT = search!("INDEXED BY audit_by_who_and_subject", "who" 6, "subject" 8);
    SEARCH_WHAT_SUBJECT = search!("INDEXED BY audit_by_what_and_subject", "what" 7, "subject" 8);
    SEARCH_ALL = search!("INDEXED BY audit_by_all", "who" 6, "what" 7, "subject" 8);
    // Spans that follow one another and may hold an event of that time, newest first. What other programs wrote past the last span is
    // not in it yet, so that one always counts.
    SELECT_RUNS = "SELECT MIN(span) AS first, MAX(span) AS last FROM (
            SELECT span, span - ROW_NUMBER() OVER (ORDER BY span) AS run FROM audit_spans
            WHERE (earliest < $2 AND latest >= $1) OR span = (SELECT MAX(span) FROM audit_spans)
        ) AS spans GROUP BY run ORDER BY 1 DESC";
    // Takes up all rows of the last span and those after it.
    WIDEN_SPANS = "INSERT INTO audit_spans (span, earliest, latest)
        SELECT sequence / 256, MIN(at), MAX(at) FROM audit
        WHERE sequence >= (SELECT COALESCE(MAX(span), 0) FROM audit_spans) * 256 AND sequence <= $1
        GROUP BY sequence / 256
        ON CONFLICT (span) DO UPDATE SET earliest = excluded.earliest, latest = excluded.latest";
    SELECT_NEXT_EVENTS = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE sequence > $1 ORDER BY sequence LIMIT $2";
    LATEST_EVENT = "SELECT MAX(at) AS at FROM (SELECT at FROM audit ORDER BY sequence DESC LIMIT 5000) AS newest
        HAVING COUNT(*) > 0";
    LAST_EVENT_OF = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE substr(what, 1, 64) = substr(CAST($1 AS TEXT), 1, 64) AND what = $1 AND outcome = 'done' ORDER BY sequence DESC LIMIT 1";
    SELECT_EVENTS_OF = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE substr(what, 1, 64) = substr(CAST($1 AS TEXT), 1, 64) AND what = $1 AND outcome = 'done' ORDER BY sequence";
    // Both rows of an import are written in one transaction, with one time.
    SELECT_IMPORTS = "SELECT audit.sequence, audit.at, who, what, subject, outcome, detail, hash,
            file_digest, kind, summary
        FROM (SELECT at, file_digest, kind, summary FROM imports WHERE at >= $1 ORDER BY sequence DESC LIMIT $2) AS newest
            JOIN audit ON audit.at = newest.at
        WHERE outcome = 'done' ORDER BY audit.sequence DESC";
    SELECT_REFUSED_IMPORTS = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE outcome = 'refused' AND at >= $1 AND what IN ('push-snaps', 'push-store', 'push-assertions',
            'push-account-keys', 'push-brand-store-metadata', 'register') ORDER BY sequence DESC LIMIT $2";
    SELECT_IMPORT = "SELECT file_digest, kind, summary FROM imports
        WHERE file_digest = $1 ORDER BY sequence DESC LIMIT 1";
    LAST_IMPORT = "SELECT at FROM imports ORDER BY sequence DESC LIMIT 1";
}

/// Which events to read; each field that is set narrows them.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventsWhere {
    /// With a lower number.
    pub(crate) before: Option<i64>,
    /// Not before this moment, in microseconds since 1970.
    pub(crate) since_micros: Option<i64>,
    /// Before this moment.
    pub(crate) until_micros: Option<i64>,
    /// Of this operator.
    pub(crate) who: Option<String>,
    /// Of this action.
    pub(crate) what: Option<String>,
    /// About this.
    pub(crate) subject: Option<String>,
}

/// Events of a span, as the statements have it.
const SPAN: i64 = 256;

/// Number of columns of an event.
const EVENT_COLUMNS: usize = 8;

/// How often a conflicting write is retried.
pub(super) const ATTEMPTS: u32 = 4;

impl Database {
    /// Records how something ended that was recorded when it began: why it failed, or that it is done. It has ended by then, whatever
    /// comes of the record.
    pub(crate) async fn record_end(&self, begun: AuditEvent, failed: Option<String>, at_micros: i64) {
        let ended = match failed {
            None => begun.outcome("done"),
            Some(why) => begun.outcome("failed").detail(json!({ "message": why })),
        };
        if let Err(failure) = self.record_event(&ended, at_micros).await {
            error!(
                error = &failure as &dyn std::error::Error,
                "Cannot record how an operator's action ended"
            );
        }
    }

    /// Records an action that changes nothing in the store, such as a refused one.
    pub(crate) async fn record_event(&self, event: &AuditEvent, at_micros: i64) -> Result<(), StorageError> {
        let mut attempt = 1;
        loop {
            let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
            let written = match insert_event(&mut transaction, event, at_micros).await {
                Ok(_) => transaction.commit().await,
                Err(error) => Err(error),
            };
            match written {
                Err(StorageError::Contended(_)) if attempt < ATTEMPTS => attempt += 1,
                written => return written,
            }
        }
    }

    /// The newest `limit` audit events whose number is below `before`, newest first.
    #[cfg(test)]
    pub(crate) async fn events(&self, before: i64, limit: u32) -> Result<Vec<AuditRecord>, StorageError> {
        self.events_where(EventsWhere { before: Some(before), ..EventsWhere::default() }, limit).await
    }

    /// Of these audit events the newest `limit`, newest first.
    pub(crate) async fn events_where(
        &self,
        of: EventsWhere,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StorageError> {
        let EventsWhere { before, since_micros, until_micros, who, what, subject } = of;
        let search = match (&who, &what, &subject) {
            (None, None, None) => SEARCH,
            (Some(_), None, None) => SEARCH_WHO,
            (None, Some(_), None) => SEARCH_WHAT,
            (None, None, Some(_)) => SEARCH_SUBJECT,
            (Some(_), Some(_), None) => SEARCH_WHO_WHAT,
            (Some(_), None, Some(_)) => SEARCH_WHO_SUBJECT,
            (None, Some(_), Some(_)) => SEARCH_WHAT_SUBJECT,
            (Some(_), Some(_), Some(_)) => SEARCH_ALL,
        };
        let before = before.map_or(i64::MAX, |before| before.saturating_sub(1));
        let limit = limit as usize;
        let mut found = Vec::new();
        for (first, last) in self.runs(since_micros, until_micros).await? {
            let lacking = i64::try_from(limit - found.len()).unwrap_or(i64::MAX);
            let (last, at) = (last.min(before), [since_micros, until_micros]);
            if lacking == 0 || first > last {
                continue;
            }
            let values = [lacking.into(), first.into(), last.into()].into_iter().chain(at.map(Into::into));
            let texts = [&who, &what, &subject].map(|text| text.as_deref().into());
            found.extend(self.engine.read(Lane::Operator, search, values.chain(texts).collect()).await?);
        }
        found.into_iter().map(record).collect()
    }

    /// The numbers between which events of a time lie, newest first.
    async fn runs(&self, since: Option<i64>, until: Option<i64>) -> Result<Vec<(i64, i64)>, StorageError> {
        if since.or(until).is_none() {
            return Ok(vec![(0, i64::MAX)]);
        }
        let between = vec![since.unwrap_or(i64::MIN).into(), until.unwrap_or(i64::MAX).into()];
        let rows = self.engine.read(Lane::Operator, SELECT_RUNS, between).await?;
        let mut runs = Vec::with_capacity(rows.len());
        for row in rows {
            let mut row = Reader::new("audit_spans", row);
            runs.push((row.int("first")? * SPAN, row.int("last")? * SPAN + SPAN - 1));
        }
        match runs.first_mut() {
            Some((_, last)) => *last = i64::MAX,
            None => runs.push((0, i64::MAX)),
        }
        Ok(runs)
    }

    /// The first `limit` audit events whose number is above `after`, oldest first.
    pub(crate) async fn events_after(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StorageError> {
        let values = vec![after.into(), limit.into()];
        let rows = self.engine.read(Lane::Operator, SELECT_NEXT_EVENTS, values).await?;
        rows.into_iter().map(record).collect()
    }

    /// All events of an action that was done, oldest first.
    pub(crate) async fn events_of(&self, what: &str) -> Result<Vec<AuditRecord>, StorageError> {
        let rows = self.engine.read(Lane::Operator, SELECT_EVENTS_OF, vec![what.into()]).await?;
        rows.into_iter().map(record).collect()
    }

    /// The last event of an action that was done to its end.
    pub(crate) async fn last_event_of(&self, what: &str) -> Result<Option<AuditRecord>, StorageError> {
        let rows = self.engine.read(Lane::Operator, LAST_EVENT_OF, vec![what.into()]).await?;
        rows.into_iter().next().map(record).transpose()
    }

    /// The latest time that the newest 5,000 events tell, in microseconds since 1970; `None` before the first event. The
    /// newest one alone may have been recorded by a clock that went backwards.
    pub(crate) async fn latest_event(&self) -> Result<Option<i64>, StorageError> {
        let rows = self.engine.read(Lane::Operator, LATEST_EVENT, Vec::new()).await?;
        rows.into_iter().next().map(|row| Reader::new("audit", row).int("at")).transpose()
    }

    /// When the last import was committed, in microseconds since 1970; `None` before the first.
    pub(crate) async fn last_import(&self) -> Result<Option<i64>, StorageError> {
        let rows = self.engine.read(Lane::Operator, LAST_IMPORT, Vec::new()).await?;
        rows.into_iter().next().map(|row| Reader::new("imports", row).int("at")).transpose()
    }

    /// The last `limit` imports since then, oldest first: the event, and what was imported if it was not refused.
    pub(crate) async fn imports(
        &self,
        since_micros: i64,
        limit: u32,
    ) -> Result<Vec<(AuditRecord, Option<ImportRecord>)>, StorageError> {
        let values = || vec![since_micros.into(), limit.into()];
        let done = self.engine.read(Lane::Operator, SELECT_IMPORTS, values()).await?;
        let refused = self.engine.read(Lane::Operator, SELECT_REFUSED_IMPORTS, values()).await?;
        let mut all = Vec::new();
        for mut row in done {
            let import = import_record(row.split_off(EVENT_COLUMNS))?;
            let event = record(row)?;
            // Two servers may do something at the same moment.
            if event.event.detail.to_string().contains(&import.file_digest) {
                all.push((event, Some(import)));
            }
        }
        for row in refused {
            all.push((record(row)?, None));
        }
        all.sort_by_key(|(event, _)| event.sequence);
        all.drain(..all.len().saturating_sub(limit as usize));
        Ok(all)
    }

    /// The last import of a file, if there was one.
    pub(crate) async fn find_import(&self, file_digest: &str) -> Result<Option<ImportRecord>, StorageError> {
        let rows = self.engine.read(Lane::Operator, SELECT_IMPORT, vec![file_digest.into()]).await?;
        rows.into_iter().next().map(import_record).transpose()
    }
}

fn import_record(row: Row) -> Result<ImportRecord, StorageError> {
    let mut row = Reader::new("imports", row);
    Ok(ImportRecord {
        file_digest: row.text("file_digest")?,
        kind: row.text("kind")?,
        summary: row.json("summary")?,
    })
}

fn record(row: Row) -> Result<AuditRecord, StorageError> {
    let mut row = Reader::new("audit", row);
    Ok(AuditRecord {
        sequence: row.int("sequence")?,
        at_micros: row.int("at")?,
        event: AuditEvent {
            who: row.text("who")?,
            what: row.text("what")?,
            subject: row.text("subject")?,
            outcome: row.text("outcome")?,
            detail: row.json("detail")?,
        },
        hash: row.text("hash")?,
    })
}

/// Appends a row to the log and its chain. An action that cannot be recorded must not happen: its error ends the
/// transaction. Returns its number.
pub(super) async fn insert_event(
    on: &mut Transaction,
    event: &AuditEvent,
    at_micros: i64,
) -> Result<i64, StorageError> {
    let sequence = next(on, NEXT_EVENT).await?;
    let AuditEvent { who, what, subject, outcome, detail } = event;
    let detail = &detail.to_string();
    let hash = chain::extend(on, &Link { sequence, at_micros, who, what, subject, outcome, detail }).await?;
    let texts = [who, what, subject, outcome, detail, &hash];
    let values = [sequence.into(), at_micros.into()].into_iter();
    let values = values.chain(texts.map(|text| text.as_str().into()));
    on.query(INSERT_EVENT, values.collect()).await?;
    widen_spans(on, sequence).await?;
    Ok(sequence)
}

/// Notes between which times the events up to this one lie.
pub(super) async fn widen_spans(on: &mut Transaction, sequence: i64) -> Result<(), StorageError> {
    on.query(WIDEN_SPANS, vec![sequence.into()]).await.map(drop)
}

pub(super) async fn insert_import(
    on: &mut Transaction,
    import: &ImportRecord,
    at_micros: i64,
) -> Result<(), StorageError> {
    let sequence = next(on, NEXT_IMPORT).await?;
    let values = vec![
        sequence.into(),
        at_micros.into(),
        import.file_digest.as_str().into(),
        import.kind.as_str().into(),
        (&import.summary).into(),
    ];
    on.query(INSERT_IMPORT, values).await.map(drop)
}

async fn next(on: &mut Transaction, counter: Sql) -> Result<i64, StorageError> {
    let row = on.query(counter, Vec::new()).await?.into_iter().next().unwrap_or_default();
    Reader::new("counters", row).int("value")
}
