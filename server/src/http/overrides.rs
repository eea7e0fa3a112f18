//! Overrides for a site's own tools: the holder of a login with `overrides` lists, sets and deletes them.
//!
//! ```text
//! GET  /v2/metadata/overrides/hello      Authorization: Macaroon TOKEN
//! POST /v2/metadata/overrides            [{"snap_name": "hello", "revision": 7, "channel": "stable", "series":
//! "16"}]
//! ```
//!
//! Device sessions are not accepted here, and a 401 never asks for one: the caller is a program of the operator.

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::HeaderName;
use axum::http::request::Parts;
use axum::response::Response;
use schema::api::admin::Override;
use schema::api::device::{OverrideEntry, OverrideList, OverrideWish};
use schema::api::object::Object;
use schema::service_login::Acl;
use schema::store::SERIES;
use serde_json::json;

use super::App;
use super::error::ApiError;
use super::json;
use crate::clock;
use crate::plans::By;
use crate::plans::overrides::{ChannelMapError, Wish, list as listed, plan_overrides};
use crate::sessions::bearer_of;
use crate::storage::error::CommitError;

/// Most entries per request: each needs a look at the channel map.
const MOST: usize = 1000;

static SERIES_HEADER: HeaderName = HeaderName::from_static("x-ubuntu-series");

/// The holder of a login with `overrides`, for the audit log.
pub(super) struct Overrider(String);

impl FromRequestParts<App> for Overrider {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let accept = |token| app.logins().accept(token, &app.catalog(), clock::seconds());
        let login = bearer_of(&parts.headers).and_then(accept).ok_or(ApiError::NeedsLogin)?;
        if !login.may(&[Acl::Overrides]) {
            let message = "this needs a login with overrides: `proxy create-login --acl overrides`";
            return Err(ApiError::Refused("macaroon-permission-required", message.into()));
        }
        let mut named = parts.headers.get_all(&SERIES_HEADER).iter();
        match named.all(|series| series.as_bytes() == SERIES.as_bytes()) {
            true => Ok(Self(format!("login {}", login.id))),
            false => Err(other_series()),
        }
    }
}

/// `GET /v2/metadata/overrides/{snap}`
pub(super) async fn list(
    State(app): State<App>,
    _: Overrider,
    Path(snap): Path<String>,
) -> Result<Response, ApiError> {
    Ok(answer(listed(&app.catalog(), Some(&snap))?))
}

/// `POST /v2/metadata/overrides`: all or nothing.
pub(super) async fn change(
    State(app): State<App>,
    Overrider(who): Overrider,
    body: Bytes,
) -> Result<Response, ApiError> {
    let wishes: Vec<Object<OverrideWish>> = serde_json::from_slice(&body)
        .map_err(|error| ApiError::Invalid("invalid-request", json::unreadable(&error)))?;
    if !(1..=MOST).contains(&wishes.len()) {
        let message = format!("between 1 and {MOST} overrides are changed at a time, not {}", wishes.len());
        return Err(ApiError::Invalid("invalid-request", message));
    }
    if wishes.iter().any(|Object(wish)| wish.series.as_deref().is_some_and(|series| series != SERIES)) {
        return Err(other_series());
    }
    let wish = |Object(wish): Object<OverrideWish>| Wish {
        snap: wish.snap_name,
        channel: wish.channel,
        revision: wish.revision,
        // Its callers are programs of brands, which open tracks this way.
        create_track: true,
    };
    let wishes: Vec<Wish> = wishes.into_iter().map(wish).collect();
    let by = By { who, now: clock::now() };
    let done = app.change(|catalog| plan_overrides(catalog, &wishes, &by)).await;
    Ok(answer(done?))
}

fn other_series() -> ApiError {
    ApiError::Invalid("invalid-series", format!("this store has series {SERIES} only"))
}

fn answer(overrides: Vec<Override>) -> Response {
    let entry = |one: Override| OverrideEntry {
        snap_id: one.snap_id,
        snap_name: one.snap_name,
        revision: one.revision,
        upstream_revision: one.upstream_revision,
        channel: one.channel,
        architecture: one.architecture,
        series: SERIES,
    };
    let list = OverrideList { overrides: overrides.into_iter().map(entry).collect() };
    json::respond(json!(list).to_string())
}

impl From<ChannelMapError> for ApiError {
    fn from(error: ChannelMapError) -> Self {
        let code = match &error {
            ChannelMapError::UnknownSnap(_) => {
                return Self::NotFound("resource-not-found", error.to_string());
            }
            ChannelMapError::Commit(CommitError::Storage(failure) | CommitError::Unknown(failure)) => {
                return Self::storage(failure);
            }
            ChannelMapError::Commit(_) => {
                return Self::Unavailable("the overrides could not be changed".into());
            }
            ChannelMapError::Ambiguous { .. } => "ambiguous-snap",
            ChannelMapError::NotHeld { .. } => "revision-not-held",
            ChannelMapError::Channel(_) => "invalid-channel",
            ChannelMapError::UnknownTrack { .. } => "unknown-track",
            ChannelMapError::NoOverride { .. } => "no-override",
            ChannelMapError::Twice { .. } => "channel-twice",
        };
        Self::Invalid(code, error.to_string())
    }
}
