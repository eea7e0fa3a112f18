//! Deltas for devices: listed, made and dropped.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schema::api::admin::{DeltaRequest, DeltaTraffic, DeltaUse, Deltas, MeasureStep};
use schema::store::DeltaFormat;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::error::AdminError;
use super::given::{Given, Query};
use super::{Admin, Operator};
use crate::catalog::Snap;
use crate::clock;
use crate::deltas::{Wanted, Word};
use crate::jobs::wanted_deltas;
use crate::observe::deltas::{FALLBACKS, OFFERED, OFFERED_BYTES, SERVED, SERVED_BYTES, WHOLE_BYTES};
use crate::plans::overrides::{held, snap_of};
use crate::site::Site;
use crate::storage::error::StorageError;
use crate::storage::records::AuditEvent;

/// Why no delta is made or dropped.
#[derive(Debug, thiserror::Error)]
enum DeltaError {
    #[error("no deltas are made here: `proxy config proxy.deltas.budget=2000` lets them take 2000 MB")]
    Off,
    #[error("which delta is to be made: `proxy deltas make {0} FROM TO` names two revisions")]
    Unnamed(String),
    #[error("revisions {0} and {1} are the same file")]
    Same(u32, u32),
}

/// Which deltas to list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct DeltasQuery {
    /// Only those of this snap.
    #[serde(default)]
    snap: Option<String>,
}

/// Answers `ListDeltas`.
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(query): Query<DeltasQuery>,
) -> Result<Json<Deltas>, AdminError> {
    let catalog = admin.store.catalog();
    let snap = query.snap.as_deref().map(|name| snap_of(&catalog, name)).transpose()?;
    let mut all = wanted(&admin).await?;
    all.retain(|one| snap.is_none_or(|snap| one.snap.id == snap.id));
    Ok(Json(listed(&admin, all).await?))
}

/// Answers `ChangeDeltas`.
pub(super) async fn change(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(request): Given<DeltaRequest>,
) -> Result<Json<Deltas>, AdminError> {
    let (what, word) = if request.drop { ("drop-delta", Word::Drop) } else { ("make-delta", Word::Make) };
    let subject = match request.revisions {
        Some((source, target)) => format!("{} {source} {target}", request.snap),
        None => request.snap.clone(),
    };
    let meant = meant(&admin, &request).await.map_err(|error| error.of(true, what, subject.clone()))?;
    let event = AuditEvent::new(who, what, &subject);
    let recorded = admin.store.database().record_event(&event, clock::micros()).await;
    recorded.map_err(|error| AdminError::failed("deltas-not-changed", &error))?;
    let (store, pairs) = (Arc::clone(&admin.store), meant.iter().map(Wanted::pair).collect::<Vec<_>>());
    let said = spawn_blocking(move || pairs.into_iter().try_for_each(|pair| store.deltas().say(pair, word)));
    let said = said.await.unwrap_or_else(|cut| Err(std::io::Error::other(cut)));
    said.map_err(|error| AdminError::failed("deltas-not-changed", &error))?;
    Ok(Json(listed(&admin, meant).await?))
}

/// What is held, and what it came to: the same counts as on the pages.
pub(super) async fn used(store: &Site, database_answers: bool) -> DeltaUse {
    let now = clock::micros();
    // What this server has counted and not yet written is shown as well.
    let is_written = database_answers && store.observed().write_down(store.database(), now).await.is_ok();
    let traffic = async |step: MeasureStep, steps: i64| match is_written {
        true => traffic(store, step, step.begin(now) - (steps - 1) * step.micros()).await.ok(),
        false => None,
    };
    DeltaUse {
        budget: store.settings().deltas.bytes(),
        held: store.deltas().held(),
        last_24_hours: traffic(MeasureStep::Hour, 24).await,
        last_30_days: traffic(MeasureStep::Day, 30).await,
    }
}

/// What was counted in the steps from a moment on.
async fn traffic(store: &Site, step: MeasureStep, first_micros: i64) -> Result<DeltaTraffic, StorageError> {
    let mut all = DeltaTraffic::default();
    for metric in [OFFERED, OFFERED_BYTES, SERVED, SERVED_BYTES, FALLBACKS, WHOLE_BYTES] {
        for (label, counts) in store.database().measures(metric, step, first_micros, i64::MAX).await? {
            let sum: u64 = counts.values().sum();
            match (metric, label.parse::<DeltaFormat>()) {
                (OFFERED, Ok(format)) => all.of(format).deltas_offered = sum,
                (OFFERED_BYTES, Ok(format)) => all.of(format).deltas_offered_bytes = sum,
                (SERVED, Ok(format)) => all.of(format).deltas_served = sum,
                (SERVED_BYTES, Ok(format)) => all.of(format).deltas_served_bytes = sum,
                (FALLBACKS, Err(_)) => all.deltas_fallbacks = sum,
                (WHOLE_BYTES, Err(_)) => all.snaps_served_bytes = sum,
                // Of a format that this release does not know.
                _ => {}
            }
        }
    }
    Ok(all)
}

/// The deltas that a request means.
async fn meant(admin: &Admin, request: &DeltaRequest) -> Result<Vec<Wanted>, AdminError> {
    let refused = |code: &str, error: DeltaError| Err(AdminError::refused(code, &error));
    let catalog = admin.store.catalog();
    let snap: &Arc<Snap> = snap_of(&catalog, &request.snap)?;
    match request.revisions {
        _ if !request.drop && admin.store.settings().deltas.budget == 0 => {
            refused("deltas-off", DeltaError::Off)
        }
        Some((source, target)) => {
            for number in [source, target] {
                held(snap, number)?;
            }
            match Wanted::of(snap, source, target) {
                Some(one) => Ok(vec![one]),
                None => refused("same-file", DeltaError::Same(source, target)),
            }
        }
        // One that is being made now would be there a moment later.
        None if request.drop => {
            Ok(wanted(admin).await?.into_iter().filter(|one| one.snap.id == snap.id).collect())
        }
        None => refused("no-revisions", DeltaError::Unnamed(request.snap.chars().take(80).collect())),
    }
}

async fn wanted(admin: &Admin) -> Result<Vec<Wanted>, AdminError> {
    wanted_deltas(&admin.store).await.map_err(|error| AdminError::failed("devices-not-read", &error))
}

/// How these stand.
async fn listed(admin: &Admin, all: Vec<Wanted>) -> Result<Deltas, AdminError> {
    let store = Arc::clone(&admin.store);
    // The job may be looking through the folder.
    let listed = spawn_blocking(move || {
        let (deltas, settings) = (store.deltas(), store.settings());
        let formats = deltas.formats();
        let each = |one: &Wanted| {
            let state = |format: &DeltaFormat| deltas.status(one, *format, settings.deltas.keep_ratio);
            formats.iter().map(state).collect::<Vec<_>>()
        };
        Deltas {
            budget: settings.deltas.bytes(),
            used: deltas.size().1,
            deltas: all.iter().flat_map(each).collect(),
        }
    });
    listed.await.map_err(|cut| AdminError::failed("deltas-not-read", &cut))
}
