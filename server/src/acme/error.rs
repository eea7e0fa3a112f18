//! Why no certificate was issued.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use schema::causes::one_line;
use schema::tls::ImportError;

/// Why no certificate came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AcmeError {
    /// ACME is off.
    #[error("ACME is off: run `proxy acme enable --directory URL`")]
    Off,
    /// The settings changed during the attempt.
    #[error("the settings of ACME were changed meanwhile: run `proxy acme status`")]
    Interrupted,
    /// The attempt took too long.
    #[error("the authority did not finish the order within {} minutes", .0.as_secs() / 60)]
    Slow(Duration),
    /// The authority refused or could not be reached.
    #[error("cannot {step} at {directory}")]
    Authority {
        /// The step.
        step: &'static str,
        /// The directory.
        directory: String,
        /// The cause.
        source: instant_acme::Error,
    },
    /// The authority does not offer the configured challenge.
    #[error(
        "the authority offers no {wanted} challenge for {domain}, but {}: choose one with `proxy acme enable --challenge`",
        offered.join(", ")
    )]
    NotOffered {
        /// The configured challenge.
        wanted: &'static str,
        /// The name.
        domain: String,
        /// The offered challenges.
        offered: Vec<String>,
    },
    /// A challenge failed.
    #[error("the authority cannot verify over {challenge} that {domain} is this store ({why}): {remedy}")]
    NotVerified {
        /// The challenge.
        challenge: &'static str,
        /// The name.
        domain: String,
        /// The authority's message.
        why: String,
        /// The remedy.
        remedy: &'static str,
    },
    /// The challenge certificate cannot be made.
    #[error("cannot make the certificate of the challenge")]
    Challenge(#[source] rustls::Error),
    /// TLS to the authority failed.
    #[error("cannot set up TLS to the authority")]
    Tls(#[source] rustls::Error),
    /// The trusted certificates are unreadable.
    #[error("cannot read the certificates to trust: {0}")]
    Trust(ImportError),
    /// The directory's URL is wrong.
    #[error("proxy.acme.directory names no host")]
    NoHost,
    /// The issued certificate and key are not a pair.
    #[error("the certificate that came cannot be used: {0}")]
    Unfit(#[from] ImportError),
    /// The issued certificate is for another name or time.
    #[error("the certificate that came cannot be used: {0}")]
    Unwanted(String),
    /// The issued certificate could not be applied.
    #[error("cannot put the new certificate in force")]
    NotTaken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The old one is not revoked.
    #[error("the new certificate is in use, but the one it replaces was not revoked")]
    NotRevoked(#[source] instant_acme::Error),
    /// The account's file cannot be used.
    #[error("cannot {verb} the ACME account in {}", path.display())]
    File {
        /// The action.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The account's file has other contents.
    #[error("{} holds no ACME account: remove it, and a new one is made", path.display())]
    NotAnAccount {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
}

impl AcmeError {
    /// The authority did not like the nonce: it has told a new one (RFC 8555 §6.5).
    pub(crate) fn is_bad_nonce(&self) -> bool {
        self.is_problem("urn:ietf:params:acme:error:badNonce")
    }

    /// The authority has lost the account.
    pub(crate) fn is_unknown_account(&self) -> bool {
        self.is_problem("urn:ietf:params:acme:error:accountDoesNotExist")
    }

    fn is_problem(&self, name: &str) -> bool {
        matches!(self, Self::Authority { source: instant_acme::Error::Api(problem), .. }
            if problem.r#type.as_deref() == Some(name))
    }

    /// With all causes, of one line and bounded: part of it are the words of an authority.
    pub(crate) fn one_line(&self) -> String {
        let text = one_line(self);
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect()
    }
}
