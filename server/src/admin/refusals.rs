//! Records refused actions: who tried what, and why it was refused.
//!
//! A refusal changes nothing, so its event is written on its own before the operator gets the answer.

use axum::body::{HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use percent_encoding::percent_decode_str;
use schema::api::admin::Failure;
use schema::api::admin::calls::{
    AddModel, AddSender, AddTrust, AllowRemodel, BackTrain, Backup, BeginParcel, BlockDevice, BreakTheGlass,
    Call as _, ChangeConfig, ChangeDeltas, ClearMisses, CloseModel, CollectGarbage, CopyDatabase, CreateKey,
    CreateLogin, DecideApproval, DisableAcme, DraftTrain, DropParcel, EnableAcme, ForecastRollout,
    ImportParcel, LimitKey, MoveRollout, MoveTrain, NoteRehearsal, OpenPages, PauseJob, PlanRollout,
    PushArchive, PushAssertions, PushPart, PushSnaps, PushStores, RefuseImport, ReissueSerial, ReleaseImport,
    RemoveGroup, RemoveOverrides, RemoveSender, RemoveTag, RemoveTrust, RenewAcme, Repair, RequestKey,
    RetireKey, RevokeLogin, RotateSecret, SetDeviceTags, SetGroup, SetOverrides, SetTag, SignDigest,
    SignTrain, Upkeep, Verify, WriteReceipt,
};
use serde_json::{Map, Value, json};
use tracing::{error, warn};
use url::form_urlencoded;

use super::error::{AdminError, RefusedAction};
use super::{Admin, Operator};
use crate::clock;
use crate::storage::records::AuditEvent;

/// Maximum number of characters kept of an outside text.
const LONGEST: usize = 1000;
/// Maximum number of bytes of a body that is looked at for its subject.
const MOST_READ: u64 = 1 << 20;
/// The fields of requests that name what the action is done to, the one that counts first.
const SUBJECTS: [&str; 8] = ["device", "model", "to", "name", "key", "set", "snap", "import"];

/// Passes a request on and records a refusal.
pub(super) async fn record(
    State(admin): State<Admin>,
    Operator(who): Operator,
    request: Request,
    next: Next,
) -> Response {
    let Ok((asked, request)) = Asked::with_subject(request).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let stays = |asked: &Asked| {
        ["config", "backup", "rehearse", "open-pages", "migrate-database"].contains(&&*asked.what)
    };
    if admin.store.is_copied_away() && asked.as_ref().is_some_and(|asked| !stays(asked)) {
        return AdminError::refused("copied-away", &CopiedAway).into_response();
    }
    let answer = next.run(request).await;
    let refusal = answer.extensions().get::<RefusedAction>();
    let Some((RefusedAction { failure, action }, mut asked)) = refusal.zip(asked) else { return answer };
    if let Some((what, subject)) = action {
        asked = Asked { what: (*what).to_owned(), subject: shown(subject) };
    }
    asked.note(&admin, who, failure).await;
    answer
}

/// Records what somebody has no permission for.
pub(super) async fn without_permission(admin: &Admin, who: String, request: Request, failure: &Failure) {
    if let Ok((Some(asked), _)) = Asked::with_subject(request).await {
        warn!(who, what = asked.what, subject = asked.subject, "Refused what a login has no permission for");
        asked.note(admin, who, failure).await;
    }
}

/// What is done here would be lost with the change of the database.
#[derive(Debug, thiserror::Error)]
#[error(
    "everything was copied to another database, and this change would be missing there: name it with `proxy config \
     proxy.db.connection=URL` and restart the server; a restart without that stays with the database of before"
)]
struct CopiedAway;

/// The operator's request.
struct Asked {
    what: String,
    subject: String,
}

impl Asked {
    /// Looks at a request, and at its body where only that names the subject.
    async fn with_subject(request: Request) -> Result<(Option<Self>, Request), axum::Error> {
        let mut asked = Self::of(&request);
        let Some(found) = asked.as_mut().filter(|asked| asked.subject.is_empty() && is_small_json(&request))
        else {
            return Ok((asked, request));
        };
        let (parts, body) = request.into_parts();
        let bytes = to_bytes(body, usize::MAX).await?;
        found.subject = subject_of(&bytes);
        Ok((asked, Request::from_parts(parts, bytes.into())))
    }

    async fn note(self, admin: &Admin, who: String, failure: &Failure) {
        let event = AuditEvent::new(who, self.what, self.subject)
            .outcome("refused")
            .detail(json!({ "code": failure.code, "message": shown(&failure.message) }));
        if let Err(failure) = admin.store.database().record_event(&event, clock::micros()).await {
            // Nothing was changed, so nothing has to be undone.
            error!(error = &failure as &dyn std::error::Error, "Cannot record what was refused");
        }
    }

    /// `None` for a request that would not have changed anything.
    fn of(request: &Request) -> Option<Self> {
        let query = request.uri().query().unwrap_or_default().as_bytes();
        let value = |wanted: &str| {
            form_urlencoded::parse(query).find(|(name, _)| name == wanted).map(|(_, value)| shown(&value))
        };
        if request.method() == Method::GET || value("dry-run").is_some_and(|value| value == "true") {
            return None;
        }
        let path = request.uri().path();
        let what = match (request.method().as_str(), path) {
            ("POST", PushAssertions::PATH) => match value("as").as_deref() {
                Some("account-keys") => "push-account-keys",
                Some("registration") => "register",
                _ => "push-assertions",
            },
            (method, path) => action(method, path)?,
        };
        let last = || {
            let is_named = request.method() == Method::DELETE || RequestKey::subject(path).is_some();
            let last = path.rsplit('/').next().filter(|_| is_named)?;
            Some(shown(&percent_decode_str(last).decode_utf8_lossy()))
        };
        let subject = value("file").or_else(|| value("snap")).or_else(last).unwrap_or_default();
        Some(Self { what: shown(what), subject })
    }
}

/// The action of a call as the audit log names it; `None` if the call changes nothing.
fn action<'a>(method: &str, path: &'a str) -> Option<&'a str> {
    Some(match (method, path) {
        ("POST", ForecastRollout::PATH | DraftTrain::PATH | Verify::PATH | WriteReceipt::PATH) => {
            return None;
        }
        ("POST", PushSnaps::PATH) => "push-snaps",
        ("POST", PushArchive::PATH) => "push-store",
        ("POST", PushAssertions::PATH) => "push-assertions",
        ("POST", PushStores::PATH) => "push-brand-store-metadata",
        ("POST", BeginParcel::PATH | PushPart::PATH | ImportParcel::PATH) => "push-parcel",
        ("DELETE", path) if DropParcel::subject(path).is_some() => "drop-parcel",
        ("POST", AddSender::PATH) => "trust-sender",
        ("DELETE", path) if RemoveSender::subject(path).is_some() => "distrust-sender",
        ("POST", ReleaseImport::PATH) => "release-import",
        ("DELETE", path) if RefuseImport::subject(path).is_some() => "refuse-import",
        ("POST", AddTrust::PATH) => "trust-add",
        ("DELETE", path) if RemoveTrust::subject(path).is_some() => "trust-remove",
        ("PATCH", ChangeConfig::PATH) | ("PUT", EnableAcme::PATH) | ("DELETE", DisableAcme::PATH) => "config",
        ("POST", RenewAcme::PATH) => "acme-renew",
        ("PUT", PauseJob::PATH) => "pause-job",
        ("POST", ChangeDeltas::PATH) => "make-delta",
        ("POST", SetOverrides::PATH) => "override",
        ("DELETE", RemoveOverrides::PATH) => "delete-override",
        ("POST", SetTag::PATH) => "tag",
        ("DELETE", path) if RemoveTag::subject(path).is_some() => "remove-tag",
        ("POST", SetGroup::PATH) => "group-add",
        ("DELETE", path) if RemoveGroup::subject(path).is_some() => "group-remove",
        ("PUT", SetDeviceTags::PATH) => "device-tag",
        ("PUT", BlockDevice::PATH) => "block-device",
        ("DELETE", ClearMisses::PATH) => "clear-misses",
        ("POST", PlanRollout::PATH) => "rollout-plan",
        ("POST", MoveRollout::PATH) => "rollout-step",
        ("POST", MoveTrain::PATH) => "train-step",
        ("POST", BackTrain::PATH) => "train-back",
        ("POST", SignTrain::PATH) => "train-sign",
        ("POST", Upkeep::PATH) => "upkeep",
        ("POST", CreateLogin::PATH) => "create-login",
        ("DELETE", path) if RevokeLogin::subject(path).is_some() => "revoke-login",
        ("POST", OpenPages::PATH) => "open-pages",
        ("POST", DecideApproval::PATH) => "decide",
        ("POST", CreateKey::PATH) => "create-key",
        ("POST", path) if RequestKey::subject(path).is_some() => "request-key",
        ("PUT", LimitKey::PATH) => "limit-key",
        ("POST", SignDigest::PATH) => "sign-digest",
        ("DELETE", path) if RetireKey::subject(path).is_some() => "retire-key",
        ("POST", AddModel::PATH) => "add-model",
        ("PUT", CloseModel::PATH) => "close-model",
        ("PUT", AllowRemodel::PATH) => "allow-remodel",
        ("PUT", ReissueSerial::PATH) => "reissue-serial",
        ("POST", BreakTheGlass::PATH) => "break-glass",
        ("POST", Repair::PATH) => "repair",
        ("POST", CollectGarbage::PATH) => "gc",
        ("POST", Backup::PATH) => "backup",
        ("POST", NoteRehearsal::PATH) => "rehearse",
        ("POST", RotateSecret::PATH) => "rotate-secret",
        ("POST", CopyDatabase::PATH) => "migrate-database",
        (_, path) => path,
    })
}

fn is_small_json(request: &Request) -> bool {
    let is_json = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    is_json && request.body().size_hint().upper().is_some_and(|bytes| bytes <= MOST_READ)
}

/// What a request is about, or the names of its settings. A value of a setting may be a secret.
fn subject_of(body: &[u8]) -> String {
    let body = serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default();
    if let Some(settings) = body.get("values").and_then(Value::as_object) {
        return shown(&settings.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
    }
    shown(SUBJECTS.iter().find_map(|field| body.get(*field)?.as_str()).unwrap_or_default())
}

/// An outside text without control characters, shortened.
pub(super) fn shown(text: &str) -> String {
    let mut kept = String::new();
    for c in text.chars().take(LONGEST) {
        match c.is_control() {
            true => kept.extend(c.escape_default()),
            false => kept.push(c),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use schema::api::admin::calls::CALLS;

    use super::{action, shown, subject_of};

    #[test]
    fn every_action_has_a_name() {
        let names: Vec<_> = CALLS
            .iter()
            .filter(|(method, _)| method.as_str() != "GET")
            .filter_map(|(method, path)| action(method.as_str(), path))
            .collect();
        assert!(names.len() > 40 && names.iter().all(|name| !name.contains('/')), "{names:?}");
    }

    #[test]
    fn a_body_says_what_it_is_about_and_no_secret() {
        let remodel = br#"{"from": "acme/old", "to": "acme/new", "allowed": true}"#;
        assert_eq!(subject_of(remodel), "acme/new");
        assert_eq!(subject_of(br#"{"key": "k", "model": "acme/new", "api-key": "hidden"}"#), "acme/new");
        assert_eq!(subject_of(br#"{"values": {"proxy.a": "hidden", "proxy.b": "x"}}"#), "proxy.a, proxy.b");
        for other in [&b"not JSON"[..], b"[1]", br#"{"name": 7}"#] {
            assert_eq!(subject_of(other), "");
        }
    }

    #[test]
    fn nothing_hostile_is_kept() {
        assert_eq!(shown("a\u{1b}[2J\n\0ü"), "a\\u{1b}[2J\\n\\u{0}ü");
        assert_eq!(shown(&"x".repeat(5000)).len(), 1000);
    }
}
