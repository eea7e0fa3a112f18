//! Answers to the open challenges of an ACME authority: http-01 (RFC 8555 §8.3) on the HTTP port, tls-alpn-01 (RFC
//! 8737) on the TLS port.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;

use super::provider;

/// The path of HTTP challenges.
const FOLDER: &str = "/.well-known/acme-challenge/";

/// The open challenges.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    /// Key authorizations by token.
    http: RwLock<HashMap<String, String>>,
    /// The certificate shown over TLS.
    tls: RwLock<Option<Arc<ServerConfig>>>,
}

/// A challenge answer that is served as long as this value lives.
#[derive(Debug)]
#[must_use]
pub(crate) struct Answering<'a> {
    challenges: &'a Challenges,
    /// The token; `None` for TLS.
    token: Option<String>,
}

impl Challenges {
    /// Answers requests for `token` with `authorization`.
    pub(crate) fn over_http(&self, token: String, authorization: String) -> Answering<'_> {
        self.http.write().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), authorization);
        Answering { challenges: self, token: Some(token) }
    }

    /// Presents a certificate for `domain` with the digest of the authorization, 32 bytes. One at a time.
    ///
    /// # Errors
    /// A certificate cannot contain `domain`.
    pub(crate) fn over_tls(&self, domain: &str, digest: &[u8; 32]) -> Result<Answering<'_>, rustls::Error> {
        let config = provider::challenge(domain, digest)?;
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(config));
        Ok(Answering { challenges: self, token: None })
    }

    /// The answer to a request for `path`, if it is an open challenge.
    pub(super) fn answer(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(FOLDER)?;
        self.http.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// The configuration for an authority that connects over TLS, while a challenge is open.
    pub(super) fn shown(&self) -> Option<Arc<ServerConfig>> {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        match &self.token {
            Some(token) => {
                self.challenges.http.write().unwrap_or_else(PoisonError::into_inner).remove(token);
            }
            None => *self.challenges.tls.write().unwrap_or_else(PoisonError::into_inner) = None,
        }
    }
}
