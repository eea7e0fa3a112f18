//! The recorded actions of operators.

use axum::Json;
use axum::extract::{Query, State};
use schema::api::admin::{AuditEntry, AuditLog};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Admin;
use super::error::AdminError;
use crate::clock;
use crate::fleet::written;
use crate::storage::error::StorageError;
use crate::storage::records::AuditRecord;

/// Maximum number of events per answer.
const MOST: u32 = 100_000;

/// Which events to list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct AuditQuery {
    /// From the last so many seconds.
    #[serde(default)]
    since: Option<u64>,
    /// Only events with a higher number.
    #[serde(default)]
    after: Option<i64>,
}

/// Answers `ListAudit`.
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditLog>, AdminError> {
    read(&admin, query).await.map(Json).map_err(|error| AdminError::failed("audit-not-read", &error))
}

async fn read(admin: &Admin, query: AuditQuery) -> Result<AuditLog, StorageError> {
    let database = admin.store.database();
    let records = match query.after {
        Some(after) => database.events_after(after, MOST).await?,
        None => database.events(i64::MAX, MOST).await?.into_iter().rev().collect(),
    };
    let since = moment(query.since);
    let events = records.into_iter().filter(|record| record.at_micros >= since).map(entry).collect();
    Ok(AuditLog { events, head: database.audit_head().await? })
}

/// The moment so many seconds ago, in microseconds since 1970; the beginning of time without a number.
pub(super) fn moment(seconds_ago: Option<u64>) -> i64 {
    let age = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    seconds_ago.map_or(i64::MIN, |seconds| clock::micros().saturating_sub(age(seconds)))
}

fn entry(record: AuditRecord) -> AuditEntry {
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
