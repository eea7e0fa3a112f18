//! Maintenance: checking everything, repairs, removing unowned files, and backups.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use schema::api::admin::{BackupRequest, CleanUp, CleanedUp, Rehearsal, Repaired, VerifyNews, VerifyRequest};
use schema::backup::{MISSING_HEADER, SESSION_KEY_HEADER};
use schema::bundle::Limits;
use schema::causes::one_line;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::error::AdminError;
use super::given::Given;
use super::push::{TRIES, reader};
use super::refusals::shown;
use super::{Admin, Operator};
use crate::imports::{ImportError, receive};
use crate::storage::blobs::{Condition, Pace, Staged};
use crate::storage::commit::all_stand;
use crate::storage::error::CommitError;
use crate::storage::records::AuditEvent;
use crate::verify::{self, Meter, Reader};
use crate::{backup, cleanup, clock};

/// How often a check reports its progress.
const NEWS: Duration = Duration::from_millis(200);

/// Answers `Verify`: one line per message; if the caller disconnects, the check ends.
pub(super) async fn verify(State(admin): State<Admin>, Given(wanted): Given<VerifyRequest>) -> Streamed {
    let (sender, receiver) = mpsc::channel(4);
    let checking = AbortOnDropHandle::new(tokio::spawn(check(admin, wanted, sender)));
    let lines = stream::unfold((receiver, checking), |(mut receiver, checking)| async {
        let news: VerifyNews = receiver.recv().await?;
        let line = Bytes::from(format!("{}\n", json!(news)));
        Some((Ok::<_, Infallible>(line), (receiver, checking)))
    });
    Streamed(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

async fn check(admin: Admin, wanted: VerifyRequest, news: mpsc::Sender<VerifyNews>) {
    // One more file than is read at once is being opened.
    let at_once = std::thread::available_parallelism().map_or(1, usize::from) + 1;
    let reader = Reader { rate: wanted.rate.map(u64::from), at_once, resume: wanted.resume };
    let meter = Meter::default();
    let check = verify::verify(&admin.store, &reader, &meter, wanted.audit_head.as_ref());
    tokio::pin!(check);
    let mut ticks = tokio::time::interval(NEWS);
    let done = loop {
        tokio::select! {
            done = &mut check => break done,
            _ = ticks.tick() => {
                // A caller that does not read can miss progress.
                let _ = news.try_send(VerifyNews::Progress(meter.progress()));
            }
        }
    };
    let last = match done {
        Ok(report) => VerifyNews::Report(report),
        Err(error) => VerifyNews::Failed(AdminError::failed("not-verified", &error).into_failure()),
    };
    // If the caller is gone, there is nobody to tell.
    let _ = news.send(last).await;
}

/// Answers `Repair`: takes only files that are damaged here from a bundle, which is checked like any import.
pub(super) async fn repair(
    State(admin): State<Admin>,
    Operator(who): Operator,
    body: Body,
) -> Result<Json<Repaired>, AdminError> {
    let cx = admin.context(who.clone(), None);
    let store = &admin.store;
    let received = receive(store.blobs().clone(), reader(body), Limits::archive()).await?;
    let (_, staged) = admin.inspect(received, &cx).await?;
    let _no_clean_up = store.naming().read().await;
    let pace = Arc::new(Pace::new(None));
    let mut wanted: Vec<Staged> = Vec::new();
    for file in staged {
        let record = file.record();
        if store.catalog().blob(&record.digest).is_none() {
            continue;
        }
        let held = store.blobs().examine(record.digest, record.size, Arc::clone(&pace)).await;
        if held.map_err(ImportError::from)? != Condition::Whole {
            wanted.push(file);
        }
    }
    let digests: Vec<String> = wanted.iter().map(|file| file.record().digest.to_hex()).collect();
    if digests.is_empty() {
        return Ok(Json(Repaired::default()));
    }
    let event = AuditEvent::new(who, "repair", format!("{} files", digests.len()))
        .outcome("begun")
        .detail(json!({ "files": digests }));
    store.database().record_event(&event, clock::micros()).await.map_err(ImportError::from)?;
    let done = replace(&admin, wanted).await;
    store
        .database()
        .record_end(event, done.as_ref().err().map(|error| one_line(error)), clock::micros())
        .await;
    done?;
    info!(files = digests.len(), "Replaced {} damaged files", digests.len());
    Ok(Json(Repaired { files: digests }))
}

async fn replace(admin: &Admin, mut wanted: Vec<Staged>) -> Result<(), ImportError> {
    for _ in 0..TRIES {
        wanted = admin.put_in_place(wanted, &mut Vec::new()).await?;
        // The files have owners; as in a commit, this notices what another server set aside or removed meanwhile.
        let held = admin.store.database().hold().await?;
        let stand = all_stand(&wanted).await?;
        let released = held.release().await;
        if stand && released.is_ok() {
            return Ok(());
        }
    }
    Err(CommitError::FileGone.into())
}

/// Answers `CollectGarbage`.
pub(super) async fn gc(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<CleanUp>,
) -> Result<Json<CleanedUp>, AdminError> {
    let done = cleanup::clean_up(&admin.store, &who, wanted).await;
    done.map(Json).map_err(|error| AdminError::failed("not-cleaned-up", &error))
}

/// Answers `Backup`: the archive without its first entry, which only `proxy` can write.
pub(super) async fn backup(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<BackupRequest>,
) -> Result<Streamed, AdminError> {
    let taken = backup::take(&admin.store, &who, wanted).await;
    let taken = taken.map_err(|error| AdminError::failed("not-backed-up", &error))?;
    let length = HeaderValue::from(taken.length());
    let key = taken.session_key().and_then(|key| HeaderValue::from_str(key).ok());
    let missing = HeaderValue::from(taken.missing());
    let pieces = stream::unfold(taken.stream(Arc::clone(&admin.store)), |mut pieces| async {
        Some((pieces.recv().await?, pieces))
    });
    let mut answer = Response::new(Body::from_stream(pieces));
    answer.headers_mut().insert(header::CONTENT_LENGTH, length);
    answer.headers_mut().insert(MISSING_HEADER, missing);
    if let Some(key) = key {
        answer.headers_mut().insert(SESSION_KEY_HEADER, key);
    }
    Ok(Streamed(answer))
}

/// An answer that is streamed.
pub(super) struct Streamed(pub(super) Response);

impl IntoResponse for Streamed {
    fn into_response(self) -> Response {
        self.0
    }
}

/// Answers `NoteRehearsal`.
pub(super) async fn rehearsed(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(rehearsal): Given<Rehearsal>,
) -> Result<Json<Rehearsal>, AdminError> {
    let noted = Rehearsal { file: shown(&rehearsal.file), backup_of: shown(&rehearsal.backup_of) };
    let event = AuditEvent::new(who, "rehearse", noted.file.clone());
    let event = event.detail(json!({ "backup-of": noted.backup_of }));
    let done = admin.store.database().record_event(&event, clock::micros()).await;
    done.map_err(|error| AdminError::failed("rehearsal-not-noted", &error))?;
    Ok(Json(noted))
}
