//! What every request passes through and every answer carries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, VARY};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use tracing::field::Empty;
use tracing::{Level, info};

use super::App;
use super::error::ApiError;
use crate::logs;

/// The store version, from which snapd derives the supported features.
pub(super) const STORE_VERSION: HeaderName = HeaderName::from_static("snap-store-version");
/// High enough for every feature that snapd ties to it.
const EVERY_FEATURE: HeaderValue = HeaderValue::from_static("64");
/// Caches must not give one device's answer to another, and know no device headers.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");
const EVERY_CREDENTIAL: HeaderValue =
    HeaderValue::from_static("Snap-Device-Authorization, X-Device-Authorization, Authorization");

/// The route label of unknown paths.
const UNKNOWN: &str = "none";

/// Numbers requests, so that one can be found in the log by what the device shows.
static COUNT: AtomicU64 = AtomicU64::new(1);

/// Adds the common headers to each answer, counts it, and logs it where the settings ask for that.
pub(super) async fn seal<F: Future<Output = Response>>(
    app: &App,
    route: Option<&'static str>,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let (number, begun) = (COUNT.fetch_add(1, Ordering::Relaxed), Instant::now());
    let method = request.method().clone();
    let span = logs::span!(
        "request",
        otel.name = Empty,
        otel.kind = "server",
        airlock.request = number,
        http.request.method = Empty,
        http.route = Empty,
        http.response.status_code = Empty,
        otel.status_code = Empty
    );
    if !span.is_disabled() {
        let (method, route) = (known(&method), route.unwrap_or(UNKNOWN));
        span.record("otel.name", format!("{method} {route}"));
        span.record("http.request.method", method).record("http.route", route);
    }
    let seen = tracing::enabled!(target: logs::ACCESS, Level::INFO)
        .then(|| (request.uri().path().to_owned(), request.body().size_hint().exact()));
    let mut response = logs::as_span(span.clone(), next(request)).await;
    let headers = response.headers_mut();
    headers.entry(STORE_VERSION).or_insert(EVERY_FEATURE);
    headers.insert(CACHE_CONTROL, PRIVATE);
    headers.insert(VARY, EVERY_CREDENTIAL);
    if !response.status().is_success()
        && let Ok(value) = HeaderValue::from_str(&number.to_string())
    {
        response.headers_mut().insert(HeaderName::from_static("x-oops-id"), value);
    }
    let (status, took) = (response.status(), begun.elapsed());
    app.observed().requests.record(route, &method, status, took);
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    if let Some((path, received)) = seen {
        let path: String = path.escape_default().take(300).collect();
        let (method, route, status) = (known(&method), route.unwrap_or(UNKNOWN), status.as_u16());
        let sent = response.body().size_hint().exact();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        info!(
            target: logs::ACCESS,
            request = number,
            method,
            route,
            path,
            status,
            micros,
            request_bytes = received,
            response_bytes = sent,
            "Answered"
        );
    }
    response
}

/// A method's name, never text from the client.
fn known(method: &Method) -> &'static str {
    ["GET", "HEAD", "POST", "PUT", "DELETE"].into_iter().find(|known| method == known).unwrap_or("other")
}

/// Until the operator enables this mode, nothing is served, and every answer says how to enable it.
pub(super) async fn only_in_airgap_mode(State(app): State<App>, request: Request, next: Next) -> Response {
    if app.serves_devices() {
        return next.run(request).await;
    }
    ApiError::Unavailable("this store is not in air-gapped mode yet: run `proxy enable-airgap-mode`".into())
        .into_response()
}
