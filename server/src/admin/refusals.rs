//! Records refused actions: who tried what, and why it was refused.
//!
//! A refusal changes nothing, so its event is written on its own before the operator gets the answer.

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use schema::api::admin::Failure;
use schema::api::admin::calls::{
    AddModel, AddTrust, AllowRemodel, BlockDevice, BreakTheGlass, Call as _, ChangeConfig, ClearMisses,
    CloseModel, CopyDatabase, CreateKey, CreateLogin, DecideApproval, LimitKey, NoteRehearsal, PushArchive,
    PushAssertions, PushSnaps, PushStores, ReissueSerial, RemoveOverrides, RemoveTag, RemoveTrust, RenewAcme,
    RequestKey, RetireKey, RevokeLogin, RotateSecret, SetOverrides, SetTag, SignDigest,
};
use serde_json::json;
use tracing::error;
use url::form_urlencoded;

use super::{Admin, Operator};
use crate::clock;
use crate::storage::records::AuditEvent;

/// Maximum number of characters kept of an outside text.
const LONGEST: usize = 1000;

/// Marks an answer that refuses an operator's action.
#[derive(Debug, Clone)]
pub(super) struct RefusedAction {
    pub(super) failure: Failure,
    /// The refused action and its subject, if the URL does not contain them.
    pub(super) action: Option<(&'static str, String)>,
}

/// Passes a request on and records a refusal.
pub(super) async fn record(
    State(admin): State<Admin>,
    Operator(who): Operator,
    request: Request,
    next: Next,
) -> Response {
    let asked = Asked::of(&request);
    let answer = next.run(request).await;
    let refusal = answer.extensions().get::<RefusedAction>();
    let Some((RefusedAction { failure, action }, mut asked)) = refusal.zip(asked) else { return answer };
    if let Some((what, subject)) = action {
        asked = Asked { what: (*what).to_owned(), subject: shown(subject) };
    }
    let event = AuditEvent::new(who, asked.what, asked.subject)
        .outcome("refused")
        .detail(json!({ "code": failure.code, "message": shown(&failure.message) }));
    if let Err(failure) = admin.store.database().record_event(&event, clock::micros()).await {
        // Nothing was changed, so nothing has to be undone.
        error!(error = &failure as &dyn std::error::Error, "Cannot record what was refused");
    }
    answer
}

/// The operator's request.
struct Asked {
    what: String,
    subject: String,
}

impl Asked {
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
            ("POST", PushSnaps::PATH) => "push-snaps",
            ("POST", PushArchive::PATH) => "push-store",
            ("POST", PushAssertions::PATH) => match value("as").as_deref() {
                Some("account-keys") => "push-account-keys",
                Some("registration") => "register",
                _ => "push-assertions",
            },
            ("POST", PushStores::PATH) => "push-brand-store-metadata",
            ("POST", AddTrust::PATH) => "trust-add",
            ("DELETE", path) if RemoveTrust::subject(path).is_some() => "trust-remove",
            ("PATCH", ChangeConfig::PATH) => "config",
            ("POST", SetOverrides::PATH) => "override",
            ("DELETE", RemoveOverrides::PATH) => "delete-override",
            ("POST", SetTag::PATH) => "tag",
            ("DELETE", path) if RemoveTag::subject(path).is_some() => "remove-tag",
            ("POST", NoteRehearsal::PATH) => "rehearse",
            ("DELETE", ClearMisses::PATH) => "clear-misses",
            ("PUT", BlockDevice::PATH) => "block-device",
            ("POST", CreateLogin::PATH) => "create-login",
            ("DELETE", path) if RevokeLogin::subject(path).is_some() => "revoke-login",
            ("POST", RotateSecret::PATH) => "rotate-secret",
            ("POST", CopyDatabase::PATH) => "migrate-database",
            ("PUT", AllowRemodel::PATH) => "allow-remodel",
            ("PUT", ReissueSerial::PATH) => "reissue-serial",
            ("POST", BreakTheGlass::PATH) => "break-glass",
            ("POST", DecideApproval::PATH) => "decide",
            ("POST", CreateKey::PATH) => "create-key",
            ("POST", path) if RequestKey::subject(path).is_some() => "request-key",
            ("PUT", LimitKey::PATH) => "limit-key",
            ("POST", SignDigest::PATH) => "sign-digest",
            ("DELETE", path) if RetireKey::subject(path).is_some() => "retire-key",
            ("POST", AddModel::PATH) => "add-model",
            ("PUT", CloseModel::PATH) => "close-model",
            ("POST", RenewAcme::PATH) => "acme-renew",
            (_, path) => path.strip_prefix("/v1/").unwrap_or(path),
        };
        let last = || path.rsplit('/').next().filter(|_| request.method() == Method::DELETE).map(shown);
        let subject = value("file").or_else(|| value("snap")).or_else(last).unwrap_or_default();
        Some(Self { what: shown(what), subject })
    }
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
    use super::shown;

    #[test]
    fn nothing_hostile_is_kept() {
        assert_eq!(shown("a\u{1b}[2J\n\0ü"), "a\\u{1b}[2J\\n\\u{0}ü");
        assert_eq!(shown(&"x".repeat(5000)).len(), 1000);
    }
}
