//! Downloads of snaps and components. See `schema/docs/store-api.md#downloads`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use schema::store::{DeltaFormat, DeviceId};

use super::App;
use super::blob_body::serve_blob;
use super::caller::Caller;
use super::error::ApiError;
use crate::catalog::{Blob, View};
use crate::deltas::Delta;
use crate::storage::blobs::Source;

/// `GET` or `HEAD` of `{snap-id}_{revision}.snap`, or of a delta between two of them
pub(super) async fn snap(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
    Path(file): Path<String>,
) -> Result<Response, ApiError> {
    let view = caller.view();
    if let Some(stem) = file.strip_suffix(".delta") {
        let (delta, format, target) = delta(&app, &view, stem).ok_or_else(no_such_file)?;
        let (size, etag) = (delta.size, delta.etag.clone());
        let open = move || delta.open().map(Source::File);
        let sent = serve_blob(open, size, &etag, None, &method, &headers).await;
        let sent = sent.map_err(|error| ApiError::blob(&error))?;
        if let Some(bytes) = sent_bytes(&method, &sent) {
            app.observed().deltas.served(format, client(&caller), &target.digest, bytes);
        }
        return Ok(sent);
    }
    let blob = file.strip_suffix(".snap").and_then(|stem| {
        let (id, revision) = stem.split_once('_')?;
        view.snap(id)?.revisions.get(&number(revision)?)
    });
    let blob = blob.map(|revision| &*revision.blob);
    let sent = serve(&app, blob, &method, &headers).await?;
    if let (Some(bytes), Some(blob)) = (sent_bytes(&method, &sent), blob) {
        app.observed().deltas.served_whole(client(&caller), &blob.digest, bytes);
    }
    Ok(sent)
}

/// How many bytes an answer promises, if it has any.
fn sent_bytes(method: &Method, sent: &Response) -> Option<u64> {
    let length = sent.headers().get(CONTENT_LENGTH).filter(|_| method == Method::GET)?;
    length.to_str().ok()?.parse().ok()
}

/// Who is counted.
fn client(caller: &Caller) -> (Option<&DeviceId>, Option<IpAddr>) {
    let device = caller.principal.device();
    // A device may change its address between two requests.
    (device, caller.client.address.filter(|_| device.is_none()))
}

/// The delta of `{snap-id}_{source}_{target}_{format}`, between two revisions that the caller sees, and what it leads to.
fn delta<'a>(app: &App, view: &View<'a>, stem: &str) -> Option<(Arc<Delta>, DeltaFormat, &'a Blob)> {
    let (id, rest) = stem.split_once('_')?;
    let (source, rest) = rest.split_once('_')?;
    let (target, format) = rest.split_once('_')?;
    let (snap, format) = (view.snap(id)?, format.parse().ok()?);
    let blob = |text: &str| snap.revisions.get(&number(text)?).map(|revision| &*revision.blob);
    let target = blob(target)?;
    Some((app.deltas().between(blob(source)?, target, format)?, format, target))
}

fn no_such_file() -> ApiError {
    ApiError::NotFound("resource-not-found", "this store holds no such file".into())
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
    let blob = blob.ok_or_else(no_such_file)?;
    let (blobs, digest, size) = (app.blobs().clone(), blob.digest, blob.size);
    let open = move || blobs.open_blob(&digest, size).map_err(std::io::Error::from);
    let checks = Some(blob.checks.clone());
    serve_blob(open, blob.size, &blob.etag, checks, method, headers)
        .await
        .map_err(|error| ApiError::blob(&error))
}
