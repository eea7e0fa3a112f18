//! What was imported, by whom and from which file.

use axum::Json;
use axum::extract::State;
use schema::api::admin::{Import, Imports, PushedSnap, Store, ViewChange};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::Admin;
use super::audit::moment;
use super::error::AdminError;
use super::given::Query;
use crate::fleet::written;
use crate::imports::parts;
use crate::storage::records::{AuditRecord, ImportRecord};

/// Maximum number of imports per answer.
const MOST: u32 = 100_000;

/// Which imports to list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ImportsQuery {
    /// From the last so many seconds.
    #[serde(default)]
    since: Option<u64>,
    /// At most so many, the newest ones.
    #[serde(default)]
    last: Option<u32>,
}

/// Answers `ListImports`.
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(query): Query<ImportsQuery>,
) -> Result<Json<Imports>, AdminError> {
    let all = admin.store.database().imports(moment(query.since), query.last.unwrap_or(MOST)).await;
    let all = all.map_err(|error| AdminError::failed("imports-not-read", &error))?;
    let waiting = admin.waiting().await?.len();
    Ok(Json(Imports { imports: all.into_iter().map(entry).collect(), waiting }))
}

fn entry((event, import): (AuditRecord, Option<ImportRecord>)) -> Import {
    let AuditRecord { sequence, at_micros, event, .. } = event;
    let text = |name: &str| event.detail[name].as_str().map(str::to_owned);
    let named = Some(event.subject).filter(|subject| !subject.is_empty());
    Import {
        sequence,
        at: written(at_micros),
        // The subject of a refusal is the file, for nothing else is known of it.
        file: if import.is_none() { named } else { text("file-name") },
        changes: import.as_ref().map(|import| changes(&import.summary)).unwrap_or_default(),
        refused: if import.is_none() { text("message") } else { None },
        sha256: import.map(|import| import.file_digest),
        who: event.who,
        what: event.what,
    }
}

/// A line for everything that is new.
fn changes(summary: &Value) -> Vec<String> {
    let snaps = parts::<PushedSnap>(summary, "snaps").flat_map(|snap| {
        let new = snap.revisions.iter().filter(|revision| !revision.already_held);
        let new = new.map(|revision| format!("snap {} revision {}", snap.name, revision.revision));
        let moves = snap.moves.iter().map(|moved| format!("snap {} {moved}", snap.name));
        let track = snap.default_track.iter().map(|moved| format!("snap {} {moved}", snap.name));
        new.chain(moves).chain(track).collect::<Vec<_>>()
    });
    let stores = parts::<Store>(summary, "stores")
        .map(|store| format!("grants of store {}: {}", store.id, store.snaps.len()));
    let assertions = parts::<String>(summary, "added").map(|name| format!("assertion {name}"));
    let views = parts::<ViewChange>(summary, "visibility").map(|change| format!("snap {change}"));
    snaps.chain(stores).chain(assertions).chain(views).collect()
}
