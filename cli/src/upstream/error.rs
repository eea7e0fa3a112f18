//! Why something could not be fetched.

use ::http::StatusCode;
use schema::store::NameError;
use serde::Deserialize;
use url::Url;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UpstreamError {
    /// The request cannot be written down.
    #[error("cannot make the request")]
    Request(#[source] reqwest::Error),
    /// The connection did not come about, or broke.
    #[error(
        "cannot reach {}: check the network, proxy.upstream, proxy.https.proxy and proxy.ca-certs, and run the same command again",
        place(url)
    )]
    Connection {
        /// What was asked for.
        url: Box<Url>,
        /// Why not.
        source: reqwest::Error,
    },
    /// The store has a fault of its own.
    #[error("{} is not well (HTTP {status}): run the same command again later", place(url))]
    Unwell {
        /// What was asked for.
        url: Url,
        /// What it said.
        status: StatusCode,
    },
    /// A download ended before its size.
    #[error(
        "{} cuts downloads off: run the same command again, which goes on where this one stopped",
        place(url)
    )]
    CutOff {
        /// What was asked for.
        url: Url,
    },
    /// The answer is longer than anything of its kind.
    #[error("the answer of {} has more than {most} bytes", place(url))]
    TooLong {
        /// What was asked for.
        url: Url,
        /// How long it may be.
        most: usize,
    },
    /// The store wants a login, or another one.
    #[error("{what} is not for this login ({reason}): give --auth a file of `snapcraft export-login`")]
    Login {
        /// What was asked for.
        what: String,
        /// What the store said.
        reason: String,
    },
    /// The login is over.
    #[error(
        "the login has expired and cannot be renewed ({0}): export a new one with `snapcraft export-login`"
    )]
    Expired(String),
    /// Another answer than those there are.
    #[error("cannot fetch {what}: {reason}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What the store said.
        reason: String,
    },
    /// The answer cannot be understood.
    #[error("cannot understand the store's answer about {what}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        source: AnswerError,
    },
    /// Not the bytes that were promised, twice.
    #[error(
        "{what} arrived damaged twice: size or SHA3-384 differ from what is signed; something between here and the store changes it"
    )]
    Damaged {
        /// What was downloaded.
        what: String,
    },
    /// The disk does not take it.
    #[error("cannot write {}", path.display())]
    Disk {
        /// Which file.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// What is wrong with an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AnswerError {
    /// Another shape.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No assertion, or another one.
    #[error(transparent)]
    Assertion(#[from] schema::assertion::DecodeError),
    /// It answers another question.
    #[error("it is about {0}")]
    Other(String),
}

impl UpstreamError {
    pub(super) fn connection(url: Url, source: reqwest::Error) -> Self {
        Self::Connection { url: Box::new(url), source: source.without_url() }
    }

    pub(super) fn answer(what: &str, source: impl Into<AnswerError>) -> Self {
        Self::Answer { what: what.to_owned(), source: source.into() }
    }

    /// What a status says that is neither success nor "not found".
    pub(super) fn status(what: &str, status: StatusCode, body: &[u8]) -> Self {
        let (what, reason) = (what.to_owned(), reason(status, body));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Login { what, reason },
            _ => Self::Refused { what, reason },
        }
    }

    /// Could the same request succeed a moment later?
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Unwell { .. } | Self::CutOff { .. })
    }
}

/// `HTTP 403: Publisher`, with the first message of either family of errors.
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

/// Scheme, host and port: the rest of a URL helps nobody, and may be a secret.
fn place(url: &Url) -> String {
    url.origin().ascii_serialization()
}
