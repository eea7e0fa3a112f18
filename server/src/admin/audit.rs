//! The recorded actions of operators.

use axum::Json;
use axum::extract::State;
use schema::api::admin::{AuditEntry, AuditLog};
use schemars::JsonSchema;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Admin;
use super::error::AdminError;
use super::given::Query;
use crate::clock;
use crate::fleet::written;
use crate::storage::EventsWhere;
use crate::storage::error::StorageError;
use crate::storage::records::AuditRecord;

/// Maximum number of events per answer.
const MOST: u32 = 100_000;
/// Microseconds.
const DAY: i64 = 86_400_000_000;

/// Which events to list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct AuditQuery {
    /// From the last so many seconds.
    #[serde(default)]
    since: Option<u64>,
    /// Only events with a higher number.
    #[serde(default)]
    after: Option<i64>,
    /// Only events with a lower number.
    #[serde(default)]
    before: Option<i64>,
    /// Only those of this operator.
    #[serde(default)]
    who: Option<String>,
    /// Only this action.
    #[serde(default)]
    what: Option<String>,
    /// Only what applied to this.
    #[serde(default)]
    subject: Option<String>,
    /// Not before this day, such as 2026-11-29, in UTC.
    #[serde(default)]
    from: Option<String>,
    /// Not after this day.
    #[serde(default)]
    to: Option<String>,
    /// At most so many, the newest ones.
    #[serde(default)]
    limit: Option<u32>,
}

/// The text is no day.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {0:?} as a day: write it like 2026-11-29")]
struct NoDay(String);

/// Answers `ListAudit`.
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditLog>, AdminError> {
    let day = |text: &Option<String>| text.as_deref().map(day).transpose();
    let days = day(&query.from).and_then(|from| Ok((from, day(&query.to)?)));
    let (from, to) = days.map_err(|error| AdminError::refused("invalid-day", &error))?;
    let of = EventsWhere {
        before: query.before,
        since_micros: Some(moment(query.since)).max(from).filter(|since| *since > i64::MIN),
        until_micros: to.map(|to| to.saturating_add(DAY)),
        who: query.who,
        what: query.what,
        subject: query.subject,
    };
    let read = read(&admin, query.after, of, query.limit.unwrap_or(MOST).min(MOST)).await;
    read.map(Json).map_err(|error| AdminError::failed("audit-not-read", &error))
}

async fn read(
    admin: &Admin,
    after: Option<i64>,
    of: EventsWhere,
    limit: u32,
) -> Result<AuditLog, StorageError> {
    let database = admin.store.database();
    let records: Vec<AuditRecord> = match after {
        Some(after) => {
            let since = of.since_micros.unwrap_or(i64::MIN);
            let newer = database.events_after(after, limit).await?;
            newer.into_iter().filter(|record| record.at_micros >= since).collect()
        }
        None => database.events_where(of, limit).await?.into_iter().rev().collect(),
    };
    Ok(AuditLog { events: records.into_iter().map(entry).collect(), head: database.audit_head().await? })
}

/// The beginning of a day, in microseconds since 1970.
fn day(text: &str) -> Result<i64, NoDay> {
    let no_day = || NoDay(text.chars().take(40).collect());
    let midnight = OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339).map_err(|_| no_day())?;
    i64::try_from(midnight.unix_timestamp_nanos() / 1000).map_err(|_| no_day())
}

/// The moment so many seconds ago, in microseconds since 1970; the beginning of time without a number.
pub(super) fn moment(seconds_ago: Option<u64>) -> i64 {
    let age = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    seconds_ago.map_or(i64::MIN, |seconds| clock::micros().saturating_sub(age(seconds)))
}

pub(super) fn entry(record: AuditRecord) -> AuditEntry {
    let AuditRecord { sequence, at_micros, event, hash } = record;
    AuditEntry {
        sequence,
        at: written(at_micros),
        who: event.who,
        what: event.what,
        subject: event.subject,
        outcome: event.outcome,
        detail: event.detail,
        hash,
    }
}
