//! Why a fetch failed.

use std::time::Duration;

use hyper::http::StatusCode;
use hyper::http::header::RETRY_AFTER;
use reqwest::Response;
use schema::looks;
use schema::store::NameError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use url::Url;

use super::Upstream;

/// The longest pause that a store may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UpstreamError {
    /// The request cannot be encoded.
    #[error("cannot make the request")]
    Request(#[source] reqwest::Error),
    /// The connection failed.
    #[error(
        "cannot reach {}: check the network, proxy.upstream, proxy.https.proxy and proxy.ca-certs, and run the same command again",
        place(url)
    )]
    Connection {
        /// The requested URL.
        url: Box<Url>,
        /// The cause.
        source: reqwest::Error,
    },
    /// The store reports a server error, or too many requests.
    #[error("{} {}", place(url), unwell(*status, *wait))]
    Unwell {
        /// The requested URL.
        url: Url,
        /// The status.
        status: StatusCode,
        /// How long to wait, if the store says so.
        wait: Option<Duration>,
    },
    /// A redirect would take the login to another place.
    #[error(
        "{} sends the login on to another place, where it does not go: check proxy.sso.location and the network",
        place(url)
    )]
    Elsewhere {
        /// The requested URL.
        url: Url,
    },
    /// A download ended early.
    #[error(
        "{} cuts downloads off: run the same command again, which goes on where this one stopped",
        place(url)
    )]
    CutOff {
        /// The requested URL.
        url: Url,
    },
    /// The answer is too long.
    #[error("the answer of {} has more than {most} bytes", place(url))]
    TooLong {
        /// The requested URL.
        url: Url,
        /// The limit.
        most: usize,
    },
    /// The store requires a login, or another one.
    #[error("{what} is not for this login ({reason}): give --auth a file of `snapcraft export-login`")]
    Login {
        /// What was requested.
        what: String,
        /// The store's reason.
        reason: String,
    },
    /// The store knows nothing of this login.
    #[error(
        "{}: ask for a new one, or export it with `snapcraft export-login`",
        void(expired.as_deref(), reason)
    )]
    Void {
        /// When it expired, if that is past.
        expired: Option<String>,
        /// The store's reason.
        reason: String,
    },
    /// The login has expired.
    #[error(
        "the login has expired and cannot be renewed ({0}): export a new one with `snapcraft export-login`"
    )]
    Expired(String),
    /// The store refused for another reason.
    #[error("cannot fetch {what}: {reason}")]
    Refused {
        /// What was requested.
        what: String,
        /// The store's reason.
        reason: String,
    },
    /// The store does not take a key.
    #[error("the store does not register the key: {0}")]
    NotRegistered(String),
    /// The answer does not parse.
    #[error("cannot understand the store's answer about {what}")]
    Answer {
        /// What was requested.
        what: String,
        /// The parse error.
        source: AnswerError,
    },
    /// The bytes did not match the digest, twice.
    #[error(
        "{what} arrived damaged twice: size or SHA3-384 differ from what is signed; something between here and the store changes it"
    )]
    Damaged {
        /// What was downloaded.
        what: String,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Disk {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// Why an answer does not parse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AnswerError {
    /// The structure is wrong.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An assertion is missing or wrong.
    #[error(transparent)]
    Assertion(#[from] schema::assertion::DecodeError),
    /// It is a file of another kind.
    #[error("it is {0}")]
    Looks(&'static str),
    /// The answer is about something else.
    #[error("it is about {0}")]
    Other(String),
}

impl UpstreamError {
    pub(super) fn connection(url: Url, source: reqwest::Error) -> Self {
        Self::Connection { url: Box::new(url), source: source.without_url() }
    }

    /// The error of an answer that asks for patience.
    pub(super) fn unwell(response: &Response) -> Option<Self> {
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let (url, wait) = (response.url().clone(), seconds.map(Duration::from_secs));
        let unwell = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        unwell.then_some(Self::Unwell { url, status, wait })
    }

    pub(super) fn answer(what: &str, source: impl Into<AnswerError>) -> Self {
        Self::Answer { what: what.to_owned(), source: source.into() }
    }

    /// The error for a status other than success or "not found".
    fn status(what: &str, status: StatusCode, reason: String) -> Self {
        let what = what.to_owned();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Login { what, reason },
            _ => Self::Refused { what, reason },
        }
    }

    /// How long the store asks to wait.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Unwell { wait, .. } => *wait,
            _ => None,
        }
    }

    /// Whether the same request might succeed a moment later.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Unwell { .. } | Self::CutOff { .. })
            && self.wait().is_none_or(|wait| wait <= LONGEST_WAIT)
    }
}

impl Upstream {
    /// The error for a status other than success or "not found".
    pub(super) fn refusal(&self, what: &str, status: StatusCode, body: &[u8]) -> UpstreamError {
        let reason = reason(status, body);
        match self.login_facts() {
            Some(facts) if status == StatusCode::UNAUTHORIZED => {
                let expired = facts.expired(OffsetDateTime::now_utc()).map(str::to_owned);
                UpstreamError::Void { expired, reason }
            }
            _ => UpstreamError::status(what, status, reason),
        }
    }
}

/// Reads an answer. If it is something else, such as the page of a network that wants a login, the error says so.
pub(super) fn json<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, UpstreamError> {
    serde_json::from_slice(body).map_err(|error| {
        let other = looks::like(body).filter(|other| looks::like(b"{") != Some(*other));
        UpstreamError::answer(what, other.map_or(AnswerError::Json(error), AnswerError::Looks))
    })
}

fn void(expired: Option<&str>, reason: &str) -> String {
    match expired {
        Some(expired) => format!("the login expired on {expired}"),
        None => format!(
            "the store does not accept this login ({reason}): it was revoked, or another store made it"
        ),
    }
}

fn unwell(status: StatusCode, wait: Option<Duration>) -> String {
    let what = match status {
        StatusCode::TOO_MANY_REQUESTS => "gets too many requests from here",
        _ => "has a server error",
    };
    let when = wait.map_or("later".to_owned(), |wait| format!("in {} seconds", wait.as_secs()));
    format!("{what} (HTTP {status}): run the same command again {when}")
}

/// `HTTP 403: Publisher`, with the first message of either error format.
pub(super) fn reason(status: StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Errors {
        #[serde(alias = "error_list")]
        error_list: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        message: String,
    }
    let errors: Option<Errors> = serde_json::from_slice(body).ok();
    let message = errors.and_then(|errors| errors.error_list.into_iter().next()).map(|entry| entry.message);
    match message {
        Some(message) => {
            format!("HTTP {}: {}", status.as_u16(), message.chars().take(200).collect::<String>())
        }
        None => format!("HTTP {}", status.as_u16()),
    }
}

/// Scheme, host and port: the rest of a URL does not help and may be secret.
fn place(url: &Url) -> String {
    url.origin().ascii_serialization()
}
