//! The metrics port: `GET /metrics`, and nothing else.

mod gather;
mod process;

pub(crate) use gather::Gatherer;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The router of the metrics port.
pub(crate) fn router(gatherer: Arc<Gatherer>) -> Router {
    Router::new().route("/metrics", get(metrics)).fallback(elsewhere).with_state(gatherer)
}

async fn metrics(State(gatherer): State<Arc<Gatherer>>) -> Response {
    let headers = [(CONTENT_TYPE, TEXT), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (headers, gatherer.scrape().await).into_response()
}

async fn elsewhere() -> Response {
    (StatusCode::NOT_FOUND, [(CONTENT_TYPE, PLAIN)], "The metrics are at /metrics.\n").into_response()
}
