//! Overrides: shown, set and deleted by an operator.

use axum::Json;
use axum::extract::{Query, State};
use schema::api::admin::{OverrideRequest, Overrides};
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::AdminError;
use super::{Admin, Operator};
use crate::clock;
use crate::plans::By;
use crate::plans::overrides::{ChannelMapError, Wish, list as listed, plan_overrides};

impl From<ChannelMapError> for AdminError {
    fn from(error: ChannelMapError) -> Self {
        match &error {
            ChannelMapError::UnknownSnap(_) => Self::refused("unknown-snap", &error),
            ChannelMapError::Ambiguous { .. } => Self::refused("ambiguous-snap", &error),
            ChannelMapError::NotHeld { .. } => Self::refused("revision-not-held", &error),
            ChannelMapError::Channel(_) => Self::refused("invalid-channel", &error),
            ChannelMapError::NoOverride { .. } => Self::refused("no-override", &error),
            ChannelMapError::Twice { .. } => Self::refused("channel-twice", &error),
            ChannelMapError::Commit(_) => Self::failed("channel-map-not-changed", &error),
        }
    }
}

/// Answers `SetOverrides`.
pub(super) async fn set(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Json(wanted): Json<OverrideRequest>,
) -> Result<Json<Overrides>, AdminError> {
    let OverrideRequest { snap, channel, revision } = wanted;
    change(&admin, &who, Wish { snap, channel, revision: Some(revision) }).await
}

/// Which overrides to list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct OverridesQuery {
    /// Only those of this snap.
    #[serde(default)]
    snap: Option<String>,
}

/// Answers `ListOverrides`.
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(query): Query<OverridesQuery>,
) -> Result<Json<Overrides>, AdminError> {
    Ok(Json(Overrides { overrides: listed(&admin.store.catalog(), query.snap.as_deref())? }))
}

/// Which override to delete.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct OverrideQuery {
    /// The snap's name.
    snap: String,
    /// The channel.
    channel: String,
}

/// Answers `RemoveOverrides`.
pub(super) async fn remove(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Query(query): Query<OverrideQuery>,
) -> Result<Json<Overrides>, AdminError> {
    change(&admin, &who, Wish { snap: query.snap, channel: query.channel, revision: None }).await
}

async fn change(admin: &Admin, who: &str, wish: Wish) -> Result<Json<Overrides>, AdminError> {
    let (wishes, by) = ([wish], By { who: who.to_owned(), now: clock::now() });
    let done = admin.store.change(|catalog| plan_overrides(catalog, &wishes, &by)).await;
    Ok(Json(Overrides { overrides: done? }))
}
