//! Answers to ACME's http-01 challenges (RFC 8555 §8.3) that are open at the moment.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Where a certificate authority asks.
const FOLDER: &str = "/.well-known/acme-challenge/";

/// The open challenges: key authorizations by token.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    open: RwLock<HashMap<String, String>>,
}

impl Challenges {
    /// Answers `token` with `authorization` from now on.
    #[cfg_attr(not(test), expect(dead_code, reason = "filled by ACME"))]
    pub(crate) fn open(&self, token: String, authorization: String) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(token, authorization);
    }

    /// Answers `token` no longer.
    #[cfg_attr(not(test), expect(dead_code, reason = "filled by ACME"))]
    pub(crate) fn close(&self, token: &str) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    /// The answer to a request for `path`, if that is an open challenge.
    pub(super) fn answer(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(FOLDER)?;
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}
