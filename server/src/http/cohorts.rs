//! `POST /v2/cohorts`: keys under which devices keep what the channels of a snap hold now.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use schema::api::device::CohortsRequest;
use schema::api::object;
use serde_json::{Map, Value, json};

use super::App;
use super::caller::Caller;
use super::error::ApiError;
use super::json;
use crate::clock;

/// Answers with a key per snap; a snap that is not visible makes it "not found".
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request: CohortsRequest = object::read(&body)
        .map_err(|error| ApiError::Invalid("invalid-request", json::unreadable(&error)))?;
    let view = caller.view();
    let mut keys = Map::new();
    for name in request.snaps {
        let snap = view.snap_named(&name).ok_or_else(|| {
            ApiError::NotFound("resource-not-found", "no snap of this name is in this store".into())
        })?;
        let key = app.sessions().seal_cohort(&snap.freeze(clock::seconds())).map_err(ApiError::from)?;
        keys.insert(name, Value::from(key));
    }
    Ok(json::respond(json!({ "cohort-keys": keys }).to_string()))
}
