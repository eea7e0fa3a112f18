//! Answers to the open challenges of an ACME authority: http-01 (RFC 8555 §8.3) on the HTTP port, tls-alpn-01 (RFC
//! 8737) on the TLS port.

use std::collections::HashMap;
use std::net::IpAddr;
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
    /// The certificates shown over TLS, by name or address.
    tls: RwLock<HashMap<String, Arc<ServerConfig>>>,
}

/// A challenge answer that is served as long as this value lives.
#[derive(Debug)]
#[must_use]
pub(crate) struct Answering<'a> {
    challenges: &'a Challenges,
    way: Way,
}

/// How a challenge is answered.
#[derive(Debug)]
enum Way {
    /// The token.
    Http(String),
    /// The name or address.
    Tls(String),
}

impl Challenges {
    /// Answers requests for `token` with `authorization`.
    pub(crate) fn over_http(&self, token: String, authorization: String) -> Answering<'_> {
        self.http.write().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), authorization);
        Answering { challenges: self, way: Way::Http(token) }
    }

    /// Presents a certificate for `domain` with the digest of the authorization, 32 bytes.
    ///
    /// # Errors
    /// A certificate cannot contain `domain`.
    pub(crate) fn over_tls(&self, domain: &str, digest: &[u8; 32]) -> Result<Answering<'_>, rustls::Error> {
        let config = provider::challenge(domain, digest)?;
        let mut shown = self.tls.write().unwrap_or_else(PoisonError::into_inner);
        shown.insert(domain.to_owned(), Arc::new(config));
        Ok(Answering { challenges: self, way: Way::Tls(domain.to_owned()) })
    }

    /// The answer to a request for `path`, if it is an open challenge.
    pub(super) fn answer(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(FOLDER)?;
        self.http.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// Whether a challenge over TLS is open.
    pub(super) fn are_shown(&self) -> bool {
        !self.tls.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The configuration for an authority that connects over TLS and asks for `name`: that of the name, or of the
    /// address in the name's reverse form (RFC 8738 §6).
    pub(super) fn shown(&self, name: Option<&str>) -> Option<Arc<ServerConfig>> {
        let name = name.unwrap_or_default();
        let shown = self.tls.read().unwrap_or_else(PoisonError::into_inner);
        shown
            .iter()
            .find(|(of, _)| asked_as(of).eq_ignore_ascii_case(name))
            .map(|(_, config)| Arc::clone(config))
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        match &self.way {
            Way::Http(token) => {
                self.challenges.http.write().unwrap_or_else(PoisonError::into_inner).remove(token);
            }
            Way::Tls(domain) => {
                self.challenges.tls.write().unwrap_or_else(PoisonError::into_inner).remove(domain);
            }
        }
    }
}

/// The name that an authority asks for over TLS: that of an address is in its reverse form.
fn asked_as(domain: &str) -> String {
    match domain.parse::<IpAddr>() {
        Err(_) => domain.to_owned(),
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(address)) => {
            let digits =
                address.octets().into_iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4));
            digits.collect::<String>() + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_open_challenge_is_found_by_what_its_authority_asks_for() {
        let challenges = Challenges::default();
        let open = |name| challenges.over_tls(name, &[7; 32]).expect("a certificate");
        let held = [open("store.test"), open("10.0.0.7"), open("fd00::7")];
        let reverse = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        let mut seen: Vec<*const ServerConfig> = Vec::new();
        for name in ["Store.test", "7.0.0.10.in-addr.arpa", reverse] {
            seen.push(Arc::as_ptr(&challenges.shown(Some(name)).expect(name)));
        }
        seen.dedup();
        assert_eq!(seen.len(), 3, "each has its own certificate");
        assert!(challenges.shown(Some("other.test")).is_none() && challenges.shown(None).is_none());
        drop(held);
        assert!(!challenges.are_shown());
    }
}
