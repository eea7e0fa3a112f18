//! Liveness and readiness.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;
use super::envelope::STORE_VERSION;
use super::error::{ApiError, not_ready};
use super::{json, registration};

/// Below 6, snapd contacts its gadget's device service directly; from 6 on it asks the store to relay.
const NO_RELAY: HeaderValue = HeaderValue::from_static("5");

/// `HEAD /`: a device that needs a serial checks whether the store registers devices, by itself or by a relay.
pub(super) async fn here(State(app): State<App>) -> Response {
    let mut response = json::respond("{}".into());
    let registers = app.relay().is_open() || registration::signs_here(&app);
    if !app.serves_devices() || !registers {
        response.headers_mut().insert(STORE_VERSION, NO_RELAY);
    }
    response
}

/// `GET /_status/check`: 200 if devices can be served, else 503 with the reason.
pub(super) async fn check(State(app): State<App>) -> Response {
    match app.health().await {
        Ok(()) => json::respond(json!({ "status": "ok" }).to_string()),
        Err(failure) => ApiError::storage(&failure).into_response(),
    }
}

/// `GET /_status/ready`: 200 if every part of the store is ready to serve devices, else 503 with those that are not.
pub(super) async fn ready(State(app): State<App>) -> Response {
    let troubles = app.readiness().troubles(&app).await;
    match troubles.is_empty() {
        true => json::respond(json!({ "status": "ready" }).to_string()),
        false => not_ready(&troubles),
    }
}
