//! What operators did, as it was recorded with each change.

use axum::Json;
use axum::extract::{Query, State};
use schema::api::admin::{AuditEntry, AuditLog};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Admin;
use super::devices::written;
use super::error::AdminError;
use crate::clock;
use crate::storage::records::AuditRecord;

/// Events that one answer tells of at most, the newest.
const MOST: u32 = 100_000;

/// Which events.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct AuditQuery {
    /// Of the last so many seconds.
    #[serde(default)]
    since: Option<u64>,
}

/// `GET /v1/audit`
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditLog>, AdminError> {
    let age = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let since = query.since.map_or(i64::MIN, |seconds| clock::micros().saturating_sub(age(seconds)));
    let read = admin.store.database().events(i64::MAX, MOST).await;
    let records = read.map_err(|error| AdminError::failed("audit-not-read", &error))?;
    let events = records.into_iter().rev().filter(|record| record.at_micros >= since).map(entry).collect();
    Ok(Json(AuditLog { events }))
}

fn entry(record: AuditRecord) -> AuditEntry {
    let AuditRecord { sequence, at_micros, event } = record;
    AuditEntry {
        sequence,
        at: written(at_micros),
        who: event.who,
        what: event.what,
        subject: event.subject,
        outcome: event.outcome,
        detail: event.detail,
    }
}
