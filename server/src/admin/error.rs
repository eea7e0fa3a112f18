//! Refusals of the admin API.

use std::any::Any;

use axum::body::to_bytes;
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use schema::api::admin::Failure;
use schema::causes::{in_words, one_line};
use schema::config::{ConfigError, FileError};
use schema::service_login::Acl;
use tracing::{error, warn};

use crate::imports::ImportError;
use crate::site::ConfigureError;
use crate::storage::error::CommitError;

/// Why an operator's action was refused or failed.
#[derive(Debug)]
pub(super) struct AdminError {
    status: StatusCode,
    failure: Failure,
    recorded: bool,
    action: Option<(&'static str, String)>,
}

/// Marks an answer that refuses an operator's action.
#[derive(Debug, Clone)]
pub(super) struct RefusedAction {
    pub(super) failure: Failure,
    /// The refused action and its subject, if the URL does not contain them.
    pub(super) action: Option<(&'static str, String)>,
}

impl AdminError {
    /// The operator's input is wrong.
    pub(super) fn refused(code: &str, error: &dyn std::error::Error) -> Self {
        let message = one_line(error);
        warn!(code, why = message, "Refused what an operator asked for");
        let failure = Failure::new(code, message);
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, failure, recorded: true, action: None }
    }

    /// What the caller is told.
    pub(super) fn failure(&self) -> &Failure {
        &self.failure
    }

    /// The failure, for streams whose status was already sent.
    pub(super) fn into_failure(self) -> Failure {
        self.failure
    }

    /// Whether the operator's input is wrong for good: not for one of these reasons.
    pub(super) fn is_final(&self, but: &[&str]) -> bool {
        self.status == StatusCode::UNPROCESSABLE_ENTITY && !but.contains(&&*self.failure.code)
    }

    /// Adds one entry per refused item.
    pub(super) fn with_details(mut self, details: Vec<String>) -> Self {
        self.failure.details = details;
        self
    }

    /// Adds the refused action. A refused request that would not have changed anything is not recorded.
    pub(super) fn of(self, is_action: bool, what: &'static str, subject: String) -> Self {
        Self { recorded: self.recorded && is_action, action: Some((what, subject)), ..self }
    }

    /// The caller is unknown. The answer does not say what is wrong with the token.
    pub(super) fn unauthenticated() -> Self {
        let message = "this needs a service login, and the token is missing, unknown, expired or revoked: \
                       `proxy create-login` on the server's host makes one, `proxy list-logins` shows those there are";
        let failure = Failure::new("login-required", message);
        Self { status: StatusCode::UNAUTHORIZED, failure, recorded: false, action: None }
    }

    /// The socket is for reading.
    pub(super) fn for_reading() -> Self {
        let message = "this socket is for reading only: without --socket and AIRLOCK_SOCKET, root and the group of the server's own \
                       socket may do this (`sudo proxy …`)";
        let failure = Failure::new("permission-required", message);
        Self { status: StatusCode::FORBIDDEN, failure, recorded: false, action: None }
    }

    /// The login lacks the permission.
    pub(super) fn forbidden(needs: &[Acl]) -> Self {
        let names: Vec<&str> = needs.iter().map(|acl| acl.as_str()).collect();
        let message = format!(
            "the login is not for this: it takes one with {} (`proxy create-login --acl PERMISSION`)",
            names.join(" or ")
        );
        Self {
            status: StatusCode::FORBIDDEN,
            failure: Failure::new("permission-required", message),
            recorded: false,
            action: None,
        }
    }

    /// It is done once others have approved it.
    pub(super) fn waits(id: i64, needed: u32) -> Self {
        let others = if needed == 1 { "one other person has" } else { "two other people have" };
        let message = format!(
            "this waits as request {id} until {others} approved it (`proxy approvals approve {id}`): then run the same \
             command again"
        );
        let failure = Failure::new("approval-needed", message);
        Self { status: StatusCode::CONFLICT, failure, recorded: false, action: None }
    }

    /// The settings were refused.
    pub(super) fn settings(error: ConfigureError) -> Self {
        match error {
            ConfigureError::Value(ConfigError::Meanwhile(_)) => Self::refused(Failure::MOVED, &error),
            ConfigureError::Value(_) | ConfigureError::Files(_) => Self::refused("invalid-setting", &error),
            ConfigureError::Store(_) | ConfigureError::Tls(_) | ConfigureError::Place(_) => {
                Self::refused("setting-refused", &error)
            }
            ConfigureError::Commit(CommitError::Unknown(_))
            | ConfigureError::File(FileError::Unflushed { .. }) => Self::failed("unknown-outcome", &error),
            _ => Self::failed("setting-not-stored", &error),
        }
    }

    /// The server is at fault.
    pub(super) fn failed(code: &str, error: &dyn std::error::Error) -> Self {
        let message = one_line(error);
        error!(code, why = message, "Cannot do what an operator asked for");
        let failure = Failure::new(code, message);
        Self { status: StatusCode::SERVICE_UNAVAILABLE, failure, recorded: false, action: None }
    }
}

impl From<ImportError> for AdminError {
    fn from(error: ImportError) -> Self {
        match error.is_ours() {
            true => Self::failed(error.code(), &error),
            false => {
                let mut refused = Self::refused(error.code(), &error);
                if let ImportError::Widens(changes) = &error {
                    refused.failure.details = changes.iter().map(ToString::to_string).collect();
                }
                refused
            }
        }
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let refusal = self
            .recorded
            .then(|| Extension(RefusedAction { failure: self.failure.clone(), action: self.action }));
        let mut response = (self.status, refusal, Json(self.failure)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"airlock admin\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Answers a request that cannot be read like every other refusal: in JSON, and without the words of a library.
pub(super) async fn in_json(response: Response) -> Response {
    let kind = response.headers().get(CONTENT_TYPE);
    let is_text = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !is_text || !response.status().is_client_error() {
        return response;
    }
    let status = response.status();
    // An extractor's own words are short.
    let text = to_bytes(response.into_body(), 64 << 10).await.unwrap_or_default();
    let failure = Failure::new("invalid-request", in_words(String::from_utf8_lossy(&text)));
    AdminError { status, failure, recorded: false, action: None }.into_response()
}

pub(super) async fn no_such_route() -> AdminError {
    AdminError {
        status: StatusCode::NOT_FOUND,
        failure: Failure::new(
            "no-such-route",
            "the server does not know this request: are `proxy` and `proxyd` of the same version?",
        ),
        recorded: false,
        action: None,
    }
}

/// A handler that panicked: the server's fault, and the process continues.
pub(super) fn after_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    error!(panic = text, "A request of an operator ended in a panic");
    let failure = Failure::new("internal", "the server could not answer: see its log");
    AdminError { status: StatusCode::SERVICE_UNAVAILABLE, failure, recorded: false, action: None }
        .into_response()
}
