//! What every request goes through and every answer carries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderName, HeaderValue};
use tracing::debug;

use super::App;
use super::error::ApiError;

/// High enough for every feature that snapd ties to it (store API §4.3).
const STORE_VERSION: HeaderValue = HeaderValue::from_static("64");
/// Caches must not hand one device's answer to another; they know no device header by themselves.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");
const EVERY_CREDENTIAL: HeaderValue =
    HeaderValue::from_static("Snap-Device-Authorization, X-Device-Authorization, Authorization");

/// Numbers requests, to find one in the log by what the device shows of it.
static COUNT: AtomicU64 = AtomicU64::new(1);

/// Seals each answer with the headers that all of them need, and leaves a line for the curious.
pub(super) async fn seal(request: Request, next: Next) -> Response {
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let seen = tracing::enabled!(tracing::Level::DEBUG)
        .then(|| (request.method().clone(), request.uri().path().to_owned(), Instant::now()));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("snap-store-version"), STORE_VERSION);
    headers.insert(CACHE_CONTROL, PRIVATE);
    headers.insert(VARY, EVERY_CREDENTIAL);
    if !response.status().is_success()
        && let Ok(value) = HeaderValue::from_str(&number.to_string())
    {
        response.headers_mut().insert(HeaderName::from_static("x-oops-id"), value);
    }
    if let Some((method, path, begun)) = seen {
        let path: String = path.escape_default().take(300).collect();
        let status = response.status().as_u16();
        debug!(request = number, %method, path, status, micros = begun.elapsed().as_micros(), "Answered");
    }
    response
}

/// Until the operator has chosen this mode, nothing is served, and every answer says what to do.
pub(super) async fn only_in_airgap_mode(State(app): State<App>, request: Request, next: Next) -> Response {
    if app.serves_devices() {
        return next.run(request).await;
    }
    ApiError::Unavailable("this store is not in air-gapped mode yet: run `proxy enable-airgap-mode`".into())
        .into_response()
}
