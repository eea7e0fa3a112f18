//! Downloads of snaps and components (store API §12).

use axum::extract::Path;
use axum::response::Response;
use http::{HeaderMap, Method};

use super::blob_body::serve_blob;
use super::caller::Caller;
use super::error::ApiError;
use crate::catalog::Blob;

/// `GET` or `HEAD` of `{snap-id}_{revision}.snap`
pub(super) async fn snap(
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
    serve(blob.map(|revision| &*revision.blob), &method, &headers).await
}

/// `GET` or `HEAD` of `{snap-id}_{component}_{revision}.comp`
pub(super) async fn component(
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
    serve(found.map(|component| &*component.blob), &method, &headers).await
}

/// A revision in the one spelling that links have.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| number.to_string() == text)
}

async fn serve(blob: Option<&Blob>, method: &Method, headers: &HeaderMap) -> Result<Response, ApiError> {
    let blob = blob
        .ok_or_else(|| ApiError::NotFound("resource-not-found", "this store holds no such file".into()))?;
    let path = blob.path.clone();
    let open = move || std::fs::File::open(path);
    let checks = Some(blob.checks.clone());
    serve_blob(open, blob.size, &blob.etag, checks, method, headers).await.map_err(|error| ApiError::blob(&error))
}
