//! What keeps a store sound: the check of everything in it, and the clean-up of files that nobody owns.

use axum::Json;
use axum::extract::State;
use schema::api::admin::{CleanUp, CleanedUp, VerifyReport};

use super::error::AdminError;
use super::{Admin, Operator};
use crate::{cleanup, verify};

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
