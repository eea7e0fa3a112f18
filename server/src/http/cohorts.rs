//! `POST /v2/cohorts`: cohort keys for devices.
//!
//! The channel map changes only when the operator imports, so all devices see the same one anyway. Cohort keys are
//! therefore issued and accepted, but ignored.

use axum::body::Bytes;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::api::device::CohortsRequest;
use schema::api::object;
use serde_json::{Map, Value, json};

use super::caller::Caller;
use super::error::ApiError;
use super::json;

/// Answers with a key per snap; a snap that is not visible makes it "not found".
pub(super) async fn create(caller: Caller, body: Bytes) -> Result<Response, ApiError> {
    let request: CohortsRequest = object::read(&body)
        .map_err(|error| ApiError::Invalid("invalid-request", json::unreadable(&error)))?;
    let view = caller.view();
    let mut keys = Map::new();
    for name in request.snaps {
        let snap = view.snap_named(&name).ok_or_else(|| {
            ApiError::NotFound("resource-not-found", "no snap of this name is in this store".into())
        })?;
        let key = STANDARD.encode(format!("1 {} {}", snap.id, crate::clock::seconds()));
        keys.insert(name, Value::from(key));
    }
    Ok(json::respond(json!({ "cohort-keys": keys }).to_string()))
}
