//! Overrides: shown, set and deleted by an operator.

use axum::Json;
use axum::extract::State;
use schema::api::admin::{OverrideRequest, Overrides};
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::AdminError;
use super::given::{Given, Query};
use super::{Admin, Operator};
use crate::catalog::Catalog;
use crate::clock;
use crate::plans::By;
use crate::plans::moves::moves;
use crate::plans::overrides::{ChannelMapError, Wish, list as listed, plan_overrides};

impl From<ChannelMapError> for AdminError {
    fn from(error: ChannelMapError) -> Self {
        match &error {
            ChannelMapError::UnknownSnap(_) => Self::refused("unknown-snap", &error),
            ChannelMapError::Ambiguous { .. } => Self::refused("ambiguous-snap", &error),
            ChannelMapError::NotHeld { .. } => Self::refused("revision-not-held", &error),
            ChannelMapError::UnknownTrack { .. } => Self::refused("unknown-track", &error),
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
    Given(wanted): Given<OverrideRequest>,
) -> Result<Json<Overrides>, AdminError> {
    let OverrideRequest { snap, channel, revision, create_track } = wanted;
    change(&admin, &who, Wish { snap, channel, revision: Some(revision), create_track }).await
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
    let overrides = listed(&admin.store.catalog(), query.snap.as_deref())?;
    Ok(Json(Overrides { overrides, moves: Vec::new() }))
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
    let OverrideQuery { snap, channel } = query;
    change(&admin, &who, Wish { snap, channel, revision: None, create_track: false }).await
}

async fn change(admin: &Admin, who: &str, wish: Wish) -> Result<Json<Overrides>, AdminError> {
    let (wishes, by) = ([wish], By { who: who.to_owned(), now: clock::now() });
    let plan = |catalog: &Catalog| -> Result<_, ChannelMapError> {
        let (change, overrides) = plan_overrides(catalog, &wishes, &by)?;
        let moves = moves(catalog, &change);
        Ok((change, Overrides { overrides, moves }))
    };
    Ok(Json(admin.store.change(plan).await?))
}
