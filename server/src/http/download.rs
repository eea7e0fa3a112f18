//! Downloads of snaps and components. See `schema/docs/store-api.md#downloads`.

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, Method};

use super::App;
use super::blob_body::serve_blob;
use super::caller::Caller;
use super::error::ApiError;
use crate::catalog::Blob;

/// `GET` or `HEAD` of `{snap-id}_{revision}.snap`
pub(super) async fn snap(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
    Path(file): Path<String>,
) -> Result<Response, ApiError> {
    let view = caller.view();
    let blob = file.strip_suffix(".snap").and_then(|stem| {
        let (id, revision) = stem.split_once('_')?;
        view.snap(id)?.revisions.get(&number(revision)?)
    });
    serve(&app, blob.map(|revision| &*revision.blob), &method, &headers).await
}

/// `GET` or `HEAD` of `{snap-id}_{component}_{revision}.comp`
pub(super) async fn component(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
    Path(file): Path<String>,
) -> Result<Response, ApiError> {
    let view = caller.view();
    let found = file.strip_suffix(".comp").and_then(|stem| {
        let (id, rest) = stem.split_once('_')?;
        let (name, revision) = rest.split_once('_')?;
        view.snap(id)?.components.get(&(name.to_owned(), number(revision)?))
    });
    serve(&app, found.map(|file| &**file), &method, &headers).await
}

/// A revision in the only spelling that links use.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| number.to_string() == text)
}

pub(super) async fn serve(
    app: &App,
    blob: Option<&Blob>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let blob =
        blob.ok_or_else(|| ApiError::NotFound("resource-not-found", "this store holds no such file".into()))?;
    let (blobs, digest, size) = (app.blobs().clone(), blob.digest, blob.size);
    let open = move || blobs.open_blob(&digest, size).map_err(std::io::Error::from);
    let checks = Some(blob.checks.clone());
    serve_blob(open, blob.size, &blob.etag, checks, method, headers)
        .await
        .map_err(|error| ApiError::blob(&error))
}
