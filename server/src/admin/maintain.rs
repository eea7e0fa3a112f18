//! What keeps a store sound: the check of everything in it, the clean-up of files that nobody owns, and backups.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderValue, header};
use schema::api::admin::{BackupRequest, CleanUp, CleanedUp, VerifyReport};
use schema::backup::{MISSING_HEADER, SESSION_KEY_HEADER};

use super::error::AdminError;
use super::{Admin, Operator};
use crate::{backup, cleanup, verify};

/// `POST /v1/verify`
pub(super) async fn verify(State(admin): State<Admin>) -> Result<Json<VerifyReport>, AdminError> {
    let _one_at_a_time = admin.verifying.lock().await;
    let done = verify::verify(&admin.store).await;
    done.map(Json).map_err(|error| AdminError::failed("not-verified", &error))
}

/// `POST /v1/gc`
pub(super) async fn gc(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Json(wanted): Json<CleanUp>,
) -> Result<Json<CleanedUp>, AdminError> {
    let done = cleanup::clean_up(&admin.store, &who, wanted).await;
    done.map(Json).map_err(|error| AdminError::failed("not-cleaned-up", &error))
}

/// `POST /v1/backup`: the archive without its first entry, which only the companion can write.
pub(super) async fn backup(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Json(wanted): Json<BackupRequest>,
) -> Result<Streamed, AdminError> {
    let taken = backup::take(&admin.store, &who, wanted).await;
    let taken = taken.map_err(|error| AdminError::failed("not-backed-up", &error))?;
    let length = HeaderValue::from(taken.length());
    let key = taken.session_key().and_then(|key| HeaderValue::from_str(key).ok());
    let missing = HeaderValue::from(taken.missing());
    let pieces = stream::unfold(taken.stream(), |mut pieces| async { Some((pieces.recv().await?, pieces)) });
    let mut answer = Response::new(Body::from_stream(pieces));
    answer.headers_mut().insert(header::CONTENT_LENGTH, length);
    answer.headers_mut().insert(MISSING_HEADER, missing);
    if let Some(key) = key {
        answer.headers_mut().insert(SESSION_KEY_HEADER, key);
    }
    Ok(Streamed(answer))
}

/// An answer of bytes that are sent as they come.
pub(super) struct Streamed(Response);

impl IntoResponse for Streamed {
    fn into_response(self) -> Response {
        self.0
    }
}
