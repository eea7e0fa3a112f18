//! Audit events and imported files.

use super::chain::Link;
use super::engine::{Lane, Mode, Reader, Row, Sql, Transaction, statements};
use super::error::StorageError;
use super::records::{AuditEvent, AuditRecord, ImportRecord};
use super::{Database, chain};

statements! {
    // The counter's row stays locked until the transaction ends, so numbers have no gaps and rows appear in order.
    NEXT_EVENT = "UPDATE counters SET value = value + 1 WHERE name = 'audit' RETURNING value";
    NEXT_IMPORT = "UPDATE counters SET value = value + 1 WHERE name = 'import' RETURNING value";
    INSERT_EVENT = "INSERT INTO audit (sequence, at, who, what, subject, outcome, detail, hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    INSERT_IMPORT = "INSERT INTO imports (sequence, at, file_digest, kind, summary) VALUES ($1, $2, $3, $4, $5)";
    // A search walks one index backwards: the one of the subject, of person and action, of either, or of the numbers. $8 and $9 are the
    // numbers between which a time lies; a clock that went back makes them lie further apart.
    SEARCH = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE sequence < $1 AND sequence >= $8 AND sequence <= $9
            AND at >= COALESCE($3, at) AND at < COALESCE($4, at + 1)
            AND who = COALESCE($5, who) AND what = COALESCE($6, what) AND subject = COALESCE($7, subject)
        ORDER BY sequence DESC LIMIT $2";
    SEARCH_WHO = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE substr(who, 1, 64) = $10 AND sequence < $1 AND sequence >= $8 AND sequence <= $9
            AND at >= COALESCE($3, at) AND at < COALESCE($4, at + 1)
            AND who = COALESCE($5, who) AND what = COALESCE($6, what) AND subject = COALESCE($7, subject)
        ORDER BY sequence DESC LIMIT $2";
    SEARCH_WHAT = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE substr(what, 1, 64) = $10 AND sequence < $1 AND sequence >= $8 AND sequence <= $9
            AND at >= COALESCE($3, at) AND at < COALESCE($4, at + 1)
            AND who = COALESCE($5, who) AND what = COALESCE($6, what) AND subject = COALESCE($7, subject)
        ORDER BY sequence DESC LIMIT $2";
    SEARCH_SUBJECT = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE substr(subject, 1, 64) = $10 AND sequence < $1 AND sequence >= $8 AND sequence <= $9
            AND at >= COALESCE($3, at) AND at < COALESCE($4, at + 1)
            AND who = COALESCE($5, who) AND what = COALESCE($6, what) AND subject = COALESCE($7, subject)
        ORDER BY sequence DESC LIMIT $2";
    SEARCH_BOTH = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE substr(who, 1, 64) = $10 AND substr(what, 1, 64) = $11 AND sequence < $1 AND sequence >= $8 AND sequence <= $9
            AND at >= COALESCE($3, at) AND at < COALESCE($4, at + 1)
            AND who = COALESCE($5, who) AND what = COALESCE($6, what) AND subject = COALESCE($7, subject)
        ORDER BY sequence DESC LIMIT $2";
    FIRST_SINCE = "SELECT COALESCE(MIN(sequence), 9223372036854775807) AS sequence FROM audit WHERE at >= $1";
    LAST_UNTIL = "SELECT COALESCE(MAX(sequence), 0) AS sequence FROM audit WHERE at < $1";
    SELECT_NEXT_EVENTS = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE sequence > $1 ORDER BY sequence LIMIT $2";
    LATEST_EVENT = "SELECT MAX(at) AS at FROM (SELECT at FROM audit ORDER BY sequence DESC LIMIT 5000) AS newest
        HAVING COUNT(*) > 0";
    LAST_EVENT_OF = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE what = $1 AND outcome <> 'refused' ORDER BY sequence DESC LIMIT 1";
    SELECT_EVENTS_OF = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE what = $1 AND outcome = 'done' ORDER BY sequence";
    // Both rows of an import are written in one transaction, with one time.
    SELECT_IMPORTS = "SELECT audit.sequence, audit.at, who, what, subject, outcome, detail, hash,
            file_digest, kind, summary
        FROM imports JOIN audit ON audit.at = imports.at
        WHERE outcome = 'done' AND imports.at >= $1 ORDER BY audit.sequence DESC LIMIT $2";
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

/// Characters of a text that an index holds.
const INDEXED: usize = 64;

/// Number of columns of an event.
const EVENT_COLUMNS: usize = 8;

/// How often a conflicting write is retried.
pub(super) const ATTEMPTS: u32 = 4;

impl Database {
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
        let first = self.bound(FIRST_SINCE, since_micros, 0).await?;
        let last = self.bound(LAST_UNTIL, until_micros, i64::MAX).await?;
        let cut = |text: &String| text.chars().take(INDEXED).collect::<String>();
        let (search, keys) = match (&subject, &who, &what) {
            (Some(subject), ..) => (SEARCH_SUBJECT, vec![cut(subject)]),
            (None, Some(who), Some(what)) => (SEARCH_BOTH, vec![cut(who), cut(what)]),
            (None, Some(who), None) => (SEARCH_WHO, vec![cut(who)]),
            (None, None, Some(what)) => (SEARCH_WHAT, vec![cut(what)]),
            (None, None, None) => (SEARCH, Vec::new()),
        };
        let mut values = vec![
            before.unwrap_or(i64::MAX).into(),
            limit.into(),
            since_micros.into(),
            until_micros.into(),
            who.into(),
            what.into(),
            subject.into(),
            first.into(),
            last.into(),
        ];
        values.extend(keys.into_iter().map(Into::into));
        let rows = self.engine.read(Lane::Operator, search, values).await?;
        rows.into_iter().map(record).collect()
    }

    /// The number that a moment leads to; `otherwise` without one.
    async fn bound(&self, sql: Sql, at_micros: Option<i64>, otherwise: i64) -> Result<i64, StorageError> {
        let Some(at) = at_micros else { return Ok(otherwise) };
        let rows = self.engine.read(Lane::Operator, sql, vec![at.into()]).await?;
        Reader::new("audit", rows.into_iter().next().unwrap_or_default()).int("sequence")
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

    /// The last event of an action that was not refused.
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
    Ok(sequence)
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
