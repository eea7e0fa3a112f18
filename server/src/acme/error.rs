//! Why no certificate came.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use schema::causes::one_line;
use schema::tls::ImportError;

/// Why no certificate came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AcmeError {
    /// There is no directory.
    #[error("ACME is off: run `proxy acme enable --directory URL`")]
    Off,
    /// The settings were changed on the way.
    #[error("the settings of ACME were changed meanwhile: run `proxy acme status`")]
    Interrupted,
    /// It took too long.
    #[error("the authority did not finish the order within {} minutes", .0.as_secs() / 60)]
    Slow(Duration),
    /// The authority refused or could not be asked.
    #[error("cannot {step} at {directory}")]
    Authority {
        /// What was being done.
        step: &'static str,
        /// Where.
        directory: String,
        /// Why not.
        source: instant_acme::Error,
    },
    /// Another kind of challenge is wanted.
    #[error(
        "the authority offers no {wanted} challenge for {domain}, but {}: choose one with `proxy acme enable --challenge`",
        offered.join(", ")
    )]
    NotOffered {
        /// The kind of the settings.
        wanted: &'static str,
        /// The name.
        domain: String,
        /// What the authority offers.
        offered: Vec<String>,
    },
    /// A challenge failed.
    #[error("the authority cannot verify over {challenge} that {domain} is this store ({why}): {remedy}")]
    NotVerified {
        /// The kind.
        challenge: &'static str,
        /// The name.
        domain: String,
        /// The authority's words.
        why: String,
        /// What to look at.
        remedy: &'static str,
    },
    /// The challenge's own certificate.
    #[error("cannot make the certificate of the challenge")]
    Challenge(#[source] rustls::Error),
    /// TLS to the authority.
    #[error("cannot set up TLS to the authority")]
    Tls(#[source] rustls::Error),
    /// Whom to trust.
    #[error("cannot read whom to trust: {0}")]
    Trust(ImportError),
    /// The directory's URL.
    #[error("proxy.acme.directory names no host")]
    NoHost,
    /// What came is no pair.
    #[error("the certificate that came cannot be used: {0}")]
    Unfit(#[from] ImportError),
    /// What came is for another name or another time.
    #[error("the certificate that came cannot be used: {0}")]
    Unwanted(String),
    /// It came and is not taken.
    #[error("cannot put the new certificate in force")]
    NotTaken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The old one is not revoked.
    #[error("the new certificate is in use, but the one of before was not revoked")]
    NotRevoked(#[source] instant_acme::Error),
    /// The account's file.
    #[error("cannot {verb} the ACME account in {}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The account's file holds something else.
    #[error("{} holds no ACME account: remove it, and a new one is made", path.display())]
    NotAnAccount {
        /// The file.
        path: PathBuf,
        /// What is wrong.
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
