//! `GET /icons/{digest}.{format}`: a snap's icon.
//!
//! snapd requests it without any authorisation, so its URL is the content's digest: only an answer that showed the
//! snap reveals it.

use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use schema::digest::Sha3_384;

use super::App;
use super::download::serve;
use super::error::ApiError;

/// Answers with the exact length, never chunked or compressed; otherwise snapd stores an empty icon.
pub(super) async fn icon(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
    Path(file): Path<String>,
) -> Result<Response, ApiError> {
    let catalog = app.catalog();
    let (hex, format) = file.split_once('.').unwrap_or_default();
    let blob = Sha3_384::from_hex(hex).ok().and_then(|digest| catalog.icon(&digest, format));
    let mut response = serve(&app, blob.map(|blob| &**blob), &method, &headers).await?;
    let content_type = match format {
        "png" => "image/png",
        "jpg" => "image/jpeg",
        _ => "image/svg+xml",
    };
    if response.status().is_success() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    Ok(response)
}
