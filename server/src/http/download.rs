//! Downloads of snaps and components. See `schema/docs/store-api.md#downloads`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use schema::digest::Sha3_384;
use schema::store::{DeltaFormat, SnapId};

use super::App;
use super::blob_body::serve_blob;
use super::caller::Caller;
use super::error::ApiError;
use super::tally::tallied;
use crate::catalog::{Blob, Principal, View};
use crate::deltas::Delta;
use crate::observe::deltas::Client;
use crate::storage::blobs::Source;
use crate::storage::downloads::Step;

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
        let (delta, file) = delta(&app, &view, stem).ok_or_else(no_such_file)?;
        let (size, etag) = (delta.size, delta.etag.clone());
        let open = move || delta.open().map(Source::File);
        let sent = serve_blob(open, size, &etag, None, &method, &headers).await;
        let sent = sent.map_err(|error| ApiError::blob(&error))?;
        return Ok(counted(app, &caller, sent, file));
    }
    let found = file.strip_suffix(".snap").and_then(|stem| {
        let (id, revision) = stem.split_once('_')?;
        let snap = view.snap(id)?;
        let revision = snap.revisions.get(&number(revision)?)?;
        let (digest, target) = (revision.blob.digest, revision.number);
        Some((&*revision.blob, Wanted { snap_id: snap.id.clone(), target, digest, delta: None }))
    });
    let (blob, file) = found.ok_or_else(no_such_file)?;
    let sent = serve(&app, Some(blob), &method, &headers).await?;
    Ok(counted(app, &caller, sent, file))
}

/// What is downloaded.
struct Wanted {
    snap_id: SnapId,
    /// The revision that it is, or that it leads to, and the digest of that.
    target: u32,
    digest: Sha3_384,
    /// For a delta, where it starts from and its format.
    delta: Option<(u32, DeltaFormat)>,
}

/// Counts what is sent of an answer, once that is over.
fn counted(app: App, caller: &Caller, sent: Response, file: Wanted) -> Response {
    let (principal, address) = (caller.principal.clone(), caller.client.address);
    tallied(sent, move |bytes| {
        let client = downloader(&principal, address);
        let observed = &app.observed().deltas;
        let step = match file.delta {
            Some((source, format)) => {
                observed.served(format, client, &file.digest, bytes);
                Step::Delta(source, format, bytes)
            }
            None => match observed.served_whole(client, &file.digest, bytes) {
                true => Step::FellBack(bytes),
                false => Step::Whole(bytes),
            },
        };
        app.sightings().downloads.note(&principal, &file.snap_id, file.target, &step);
    })
}

/// By what a client is known from one request to the next: a device may change its address between them.
pub(super) fn downloader(principal: &Principal, address: Option<IpAddr>) -> Client<'_> {
    let device = principal.device();
    (device, address.filter(|_| device.is_none()))
}

/// The delta of `{snap-id}_{source}_{target}_{format}`, between two revisions that the caller sees.
fn delta(app: &App, view: &View<'_>, stem: &str) -> Option<(Arc<Delta>, Wanted)> {
    let (id, rest) = stem.split_once('_')?;
    let (source, rest) = rest.split_once('_')?;
    let (target, format) = rest.split_once('_')?;
    let (snap, format) = (view.snap(id)?, format.parse().ok()?);
    let revision = |text: &str| snap.revisions.get(&number(text)?);
    let (source, target) = (revision(source)?, revision(target)?);
    let delta = app.deltas().between(&source.blob, &target.blob, format)?;
    let wanted = Wanted {
        snap_id: snap.id.clone(),
        target: target.number,
        digest: target.blob.digest,
        delta: Some((source.number, format)),
    };
    Some((delta, wanted))
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
