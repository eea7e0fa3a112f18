//! Is the server there, and is it well?

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;
use super::error::{ApiError, not_ready};
use super::json;

/// `HEAD /`: snapd asks this before it trusts the store with a device service (store API §6.1).
pub(super) async fn here() -> Response {
    json::respond("{}".into())
}

/// `GET /_status/check`: 200 when devices can be served, 503 with the reason otherwise.
pub(super) async fn check(State(app): State<App>) -> Response {
    match app.health().await {
        Ok(()) => json::respond(json!({ "status": "ok" }).to_string()),
        Err(failure) => ApiError::storage(&failure).into_response(),
    }
}

/// `GET /_status/ready`: 200 when every part of the store is ready to serve devices, 503 with those that are not.
pub(super) async fn ready(State(app): State<App>) -> Response {
    let troubles = app.readiness().troubles(&app).await;
    match troubles.is_empty() {
        true => json::respond(json!({ "status": "ready" }).to_string()),
        false => not_ready(&troubles),
    }
}
