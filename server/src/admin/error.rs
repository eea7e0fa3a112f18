//! Refusals of the admin API.

use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use schema::api::admin::Failure;
use tracing::{error, warn};

use super::refusals::Refusal;
use crate::imports::ImportError;
use crate::store::ConfigureError;

/// Why an action of the operator was refused or failed.
#[derive(Debug)]
pub(super) struct AdminError {
    status: StatusCode,
    failure: Failure,
    recorded: bool,
    action: Option<(&'static str, String)>,
}

impl AdminError {
    /// The operator's input is at fault.
    pub(super) fn refused(code: &str, error: &dyn std::error::Error) -> Self {
        let message = one_line(error);
        warn!(code, message, "Refused what an operator asked for");
        let failure = Failure { code: code.into(), message };
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, failure, recorded: true, action: None }
    }

    /// What is said where no status can be given any more.
    pub(super) fn into_failure(self) -> Failure {
        self.failure
    }

    /// Names what was refused. Where nothing was to be changed, the refusal is not worth an event.
    pub(super) fn of(self, is_action: bool, what: &'static str, subject: String) -> Self {
        Self { recorded: self.recorded && is_action, action: Some((what, subject)), ..self }
    }

    /// Settings were not taken.
    pub(super) fn settings(error: ConfigureError) -> Self {
        match error {
            ConfigureError::Value(_) => Self::refused("invalid-setting", &error),
            ConfigureError::Store(_) | ConfigureError::Tls(_) => Self::refused("setting-refused", &error),
            _ => Self::failed("setting-not-stored", &error),
        }
    }

    /// The fault is ours.
    pub(super) fn failed(code: &str, error: &dyn std::error::Error) -> Self {
        let message = one_line(error);
        error!(code, message, "Cannot do what an operator asked for");
        let failure = Failure { code: code.into(), message };
        Self { status: StatusCode::SERVICE_UNAVAILABLE, failure, recorded: false, action: None }
    }
}

impl From<ImportError> for AdminError {
    fn from(error: ImportError) -> Self {
        match error.is_ours() {
            true => Self::failed(error.code(), &error),
            false => Self::refused(error.code(), &error),
        }
    }
}

/// The whole chain of causes in one line; a cause that its outer text holds already is not said twice.
pub(crate) fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let refusal =
            self.recorded.then(|| Extension(Refusal { failure: self.failure.clone(), action: self.action }));
        (self.status, refusal, Json(self.failure)).into_response()
    }
}

pub(super) async fn no_such_route() -> AdminError {
    AdminError {
        status: StatusCode::NOT_FOUND,
        failure: Failure {
            code: "no-such-route".into(),
            message: "the server does not know this request: are `proxy` and `proxyd` of the same version?"
                .into(),
        },
        recorded: false,
        action: None,
    }
}
