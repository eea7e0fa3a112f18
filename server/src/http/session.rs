//! The two requests that start a device session. See `schema/docs/store-api.md#device-sessions`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::App;
use super::error::ApiError;
use super::json;
use crate::catalog::Principal;
use crate::fleet::Client;
use crate::observe;
use crate::sessions::SessionError;

/// `POST /api/v1/snaps/auth/nonces`
pub(super) async fn nonce(State(app): State<App>) -> Result<Response, ApiError> {
    let nonce = app.sessions().nonce().await.map_err(ApiError::from)?;
    Ok(json::respond(json!({ "nonce": nonce }).to_string()))
}

/// `POST /api/v1/snaps/auth/sessions`. A previous session in a header is only a hint and is ignored.
pub(super) async fn session(
    State(app): State<App>,
    client: Client,
    body: Bytes,
) -> Result<Response, ApiError> {
    let begun = app.sessions().begin(app.catalog(), body).await;
    app.observed().sessions.count(match &begun {
        Ok(_) => observe::BEGUN,
        Err(SessionError::Refused(refusal)) => refusal.check().name(),
        Err(SessionError::NoSecret) => observe::NO_SECRET,
        Err(SessionError::Unavailable(_)) => observe::UNAVAILABLE,
    });
    let (session, token) = begun?;
    app.sightings().note(&Principal::Device(Arc::new(session)), &client, &[], Vec::new(), Vec::new());
    Ok(json::respond(json!({ "macaroon": token }).to_string()))
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Unavailable(failure) => Self::storage(&failure),
            SessionError::NoSecret => Self::Unavailable(error.to_string()),
            SessionError::Refused(refusal) if refusal.is_malformed() => {
                Self::Invalid(refusal.check().name(), refusal.to_string())
            }
            SessionError::Refused(refusal) => Self::Refused(refusal.check().name(), refusal.to_string()),
        }
    }
}
