//! Logging in: nonce, signed request, session.

use std::collections::BTreeMap;

use schema::assertion::{Assertion, AssertionType, Builder};
use serde::Serialize;
use serde_json::Value;

use super::{Device, Trouble};
use crate::http::{Request, Response};
use crate::world::Identity;

/// The three documents, in the order snapd writes them.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Triple {
    device_session_request: String,
    model_assertion: String,
    serial_assertion: String,
}

/// A signed request for a session.
#[must_use]
pub fn session_request(identity: &Identity, nonce: &str) -> Assertion {
    session_request_of(identity, nonce).sign(&identity.key)
}

/// Starts a request for a session.
#[must_use]
pub fn session_request_of(identity: &Identity, nonce: &str) -> Builder {
    let part = |name| identity.serial.text(name).expect("a serial names brand, model and serial");
    Builder::new(AssertionType::DeviceSessionRequest)
        .header("brand-id", part("brand-id"))
        .header("model", part("model"))
        .header("serial", part("serial"))
        .header("nonce", nonce)
        .header("timestamp", "2026-11-20T17:45:51Z")
}

impl Device {
    /// Gets a session when there is a serial and none yet.
    ///
    /// # Errors
    /// The store gives none, and the operation ends here.
    pub fn ensure_session(&mut self) -> Result<(), Trouble> {
        if self.session.is_some() || self.identity.is_none() { Ok(()) } else { self.renew() }
    }

    /// Gets a new session; the old one goes along as a hint.
    ///
    /// # Errors
    /// The store gives none.
    pub fn renew(&mut self) -> Result<(), Trouble> {
        let nonce = self.nonce()?;
        let identity = self.identity.clone().expect("only a device with a serial asks for a session");
        let request = session_request(&identity, &nonce);
        let response = self.send(&self.session_post(&self.triple(&request, &identity)))?;
        self.session = Some(read_session(&response)?);
        Ok(())
    }

    /// Asks for a nonce.
    ///
    /// # Errors
    /// The store gives none.
    pub fn nonce(&self) -> Result<String, Trouble> {
        let response = self.send(&self.nonce_post())?;
        let nonce = member(&response, "nonce").filter(|_| response.status == 200);
        let nonce = nonce.ok_or_else(|| Trouble::Session(response.clone()))?;
        // The nonce becomes a header of an assertion on one line.
        if nonce.is_empty() || nonce.chars().any(char::is_control) {
            return Err(Trouble::Session(response));
        }
        Ok(nonce)
    }

    /// The request for a nonce.
    #[must_use]
    pub fn nonce_post(&self) -> Request {
        let headers = BTreeMap::from([("Accept", "application/json".to_owned())]);
        self.request("POST", "/api/v1/snaps/auth/nonces", &headers, Some(b""))
    }

    /// The body of a request for a session.
    #[must_use]
    pub fn triple(&self, request: &Assertion, identity: &Identity) -> Vec<u8> {
        let text = |document: &Assertion| String::from_utf8_lossy(document.bytes()).into_owned();
        let triple = Triple {
            device_session_request: text(request),
            model_assertion: text(&identity.model),
            serial_assertion: text(&identity.serial),
        };
        serde_json::to_vec(&triple).expect("JSON of three texts")
    }

    /// The request for a session.
    #[must_use]
    pub fn session_post(&self, triple: &[u8]) -> Request {
        let mut headers = BTreeMap::from([
            ("Accept", "application/json".to_owned()),
            ("Content-Type", "application/json".to_owned()),
        ]);
        if let Some(session) = &self.session {
            headers.insert("X-Device-Authorization", format!("Macaroon root=\"{session}\""));
        }
        self.request("POST", "/api/v1/snaps/auth/sessions", &headers, Some(triple))
    }
}

/// The session in an answer.
///
/// # Errors
/// A status other than 200 and 202, or no session that could go into a header.
pub fn read_session(response: &Response) -> Result<String, Trouble> {
    let session = member(response, "macaroon").filter(|_| matches!(response.status, 200 | 202));
    session
        .filter(|text| !text.is_empty() && text.len() < 4096)
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'))
        .ok_or_else(|| Trouble::Session(response.clone()))
}

fn member(response: &Response, name: &str) -> Option<String> {
    let body: Value = serde_json::from_slice(&response.body).ok()?;
    body.get(name)?.as_str().map(str::to_owned)
}
