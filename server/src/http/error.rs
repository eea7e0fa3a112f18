//! All error answers. Only this file knows status codes and the structure of error bodies.
//!
//! The content type is exactly `application/json`: snapd compares it as text, and treats a "not found" with any other
//! one as a failure.

use std::any::Any;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schema::api::device::{ErrorEntry, ErrorList};
use schema::causes::one_line;
use serde_json::json;
use tracing::error;

use crate::http::blob_body::SendError;
use crate::site::Trouble;
use crate::storage::error::StorageError;

/// Makes a device renew its session and repeat the request. See `schema/docs/store-api.md#session-renewal`.
const RENEW: HeaderValue = HeaderValue::from_static("Macaroon realm=\"airlock\", refresh_device_session=1");
const LOGIN: HeaderValue = HeaderValue::from_static("Macaroon realm=\"airlock\"");

/// Why a request is not answered as asked.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The request is invalid.
    Invalid(&'static str, String),
    /// The presented session is not, or no longer, valid: get a new one.
    Renew(&'static str),
    /// Only holders of a service login get this.
    NeedsLogin,
    /// The device is known but not served, or the login lacks the permission.
    Refused(&'static str, String),
    /// The request's body is larger than anything that a device sends.
    TooLarge,
    /// The caller sees no such thing.
    NotFound(&'static str, String),
    /// The store's own fault; retrying later makes sense.
    Unavailable(String),
}

impl ApiError {
    /// A database error: the log gets the cause, the device a sentence.
    pub(crate) fn storage(failure: &StorageError) -> Self {
        error!(error = failure as &dyn std::error::Error, "The database could not be used");
        Self::Unavailable("the store's database is not available".into())
    }

    /// A blob cannot be served.
    pub(crate) fn blob(failure: &SendError) -> Self {
        error!(error = one_line(failure), "A blob could not be served");
        Self::Unavailable("the file is not available at the moment".into())
    }

    /// Status code, error code and message.
    fn told(self) -> (StatusCode, &'static str, String) {
        match self {
            ApiError::Invalid(code, message) => (StatusCode::BAD_REQUEST, code, message),
            ApiError::Renew(message) => (StatusCode::UNAUTHORIZED, "session-not-accepted", message.into()),
            ApiError::NeedsLogin => (
                StatusCode::UNAUTHORIZED,
                "macaroon-authorization-required",
                "this needs a service login: the store's operator makes one with `proxy create-login`".into(),
            ),
            ApiError::Refused(code, message) => (StatusCode::FORBIDDEN, code, message),
            ApiError::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "request-too-large",
                "the request is larger than this store reads".into(),
            ),
            ApiError::NotFound(code, message) => (StatusCode::NOT_FOUND, code, message),
            ApiError::Unavailable(message) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        // Only a device is helped by a new session.
        let challenge = if matches!(self, ApiError::NeedsLogin) { LOGIN } else { RENEW };
        let (status, code, message) = self.told();
        let mut response = answer(status, code, message);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// An error for a registering device: snapd reads the message from a field that it uses nowhere else.
#[derive(Debug)]
pub(super) struct RegistrationError(pub(super) ApiError);

impl IntoResponse for RegistrationError {
    fn into_response(self) -> Response {
        let (status, code, message) = self.0.told();
        let errors = json!([{ "code": code, "message": message }]);
        let mut response = super::json::respond(
            json!({ "message": message, "error-list": errors, "error_list": errors }).to_string(),
        );
        *response.status_mut() = status;
        response
    }
}

/// The parts of the store that are not ready.
pub(super) fn not_ready(troubles: &[Trouble]) -> Response {
    let entry = |trouble: &Trouble| ErrorEntry { code: trouble.code, message: trouble.message.into() };
    list(StatusCode::SERVICE_UNAVAILABLE, troubles.iter().map(entry).collect())
}

fn answer(status: StatusCode, code: &'static str, message: String) -> Response {
    list(status, vec![ErrorEntry { code, message }])
}

fn list(status: StatusCode, error_list: Vec<ErrorEntry>) -> Response {
    let list = ErrorList { error_list };
    let mut response = Response::new(Body::from(serde_json::to_vec(&list).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, super::json::JSON);
    response
}

/// Rewrites the framework's own refusals, such as a body that is too large, into this API's error format.
pub(super) async fn in_our_words(response: Response) -> Response {
    let is_text =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let status = response.status();
    match status {
        _ if !status.is_client_error() || !is_text => response,
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge.into_response(),
        _ => answer(status, "bad-request", "cannot read the request".into()),
    }
}

/// An unknown path.
pub(super) async fn no_such_endpoint() -> ApiError {
    ApiError::NotFound("resource-not-found", "this store has no such endpoint".into())
}

/// A known path with an unknown method.
pub(super) async fn no_such_method() -> Response {
    answer(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this endpoint has no such method".into())
}

/// A handler that panicked: the store's fault, and the process continues.
pub(super) fn after_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    error!(panic = text, "A request ended in a panic");
    ApiError::Unavailable("the store could not answer".into()).into_response()
}
