//! Assertions: single ones, the walk from a file to a trust anchor, and bulk updates.

use schema::assertion::{Assertion, AssertionType, Ref};
use serde_json::{Value, json};

use super::answers::{self, Group, StoreSnap};
use super::{Device, Dialect, Trouble};
use crate::http::{Request, Response};

/// The media type of assertions.
const MEDIA_TYPE: &str = "application/x.ubuntu.assertion";

impl Device {
    /// The request for an assertion by path and query.
    #[must_use]
    pub fn assertion_get(&self, target: &str) -> Request {
        self.request("GET", target, &self.headers(Dialect::V1, MEDIA_TYPE), None)
    }

    /// The path and query of an assertion.
    #[must_use]
    pub fn assertion_target(&self, reference: &Ref) -> String {
        let key = reference.reduced().join("/");
        format!(
            "/v2/assertions/{}/{key}?max-format={}",
            reference.kind,
            self.snapd.max_format(reference.kind)
        )
    }

    /// One assertion.
    ///
    /// # Errors
    /// [`Trouble::NotFound`] only when snapd would understand it so.
    pub fn assertion(&mut self, reference: &Ref) -> Result<Assertion, Trouble> {
        let target = self.assertion_target(reference);
        let response = self.call(|device| device.assertion_get(&target))?;
        let assertion = read_assertion(&response)?;
        if assertion.reference() != *reference {
            return Err(Trouble::Mismatch(format!(
                "asked for {reference} and got {}",
                assertion.reference()
            )));
        }
        Ok(assertion)
    }

    /// A point of a sequence; the latest when none is given.
    ///
    /// # Errors
    /// As [`assertion`](Self::assertion).
    pub fn sequence(
        &mut self,
        kind: AssertionType,
        key: &[&str],
        point: Option<u32>,
    ) -> Result<Assertion, Trouble> {
        let point = point.map_or("latest".to_owned(), |number| number.to_string());
        let target = format!("/v2/assertions/{kind}/{}?max-format=0&sequence={point}", key.join("/"));
        let response = self.call(|device| device.assertion_get(&target))?;
        read_assertion(&response)
    }

    /// Fetches a document and everything it depends on, prerequisites first.
    ///
    /// # Errors
    /// One missing document ends the walk.
    pub fn fetch_closure(&mut self, start: &Ref) -> Result<Vec<Assertion>, Trouble> {
        let mut fetched = Vec::new();
        self.walk(start, &mut Vec::new(), &mut fetched)?;
        Ok(fetched)
    }

    fn walk(&mut self, at: &Ref, seen: &mut Vec<Ref>, fetched: &mut Vec<Assertion>) -> Result<(), Trouble> {
        if self.trusted.contains(at) || seen.contains(at) {
            return Ok(());
        }
        seen.push(at.clone());
        let assertion = self.assertion(at)?;
        for prerequisite in assertion.prerequisites() {
            self.walk(&prerequisite, seen, fetched)?;
        }
        let key = Ref::new(AssertionType::AccountKey, vec![assertion.sign_key_id().to_owned()]);
        self.walk(&key.expect("an account key has one key"), seen, fetched)?;
        fetched.push(assertion);
        Ok(())
    }

    /// Fetches what vouches for a downloaded snap and compares the two, as a device does before it installs.
    ///
    /// # Errors
    /// A missing document, a bad signature, or a contradiction.
    pub fn check_blob(&mut self, snap: &StoreSnap, blob: &[u8]) -> Result<Vec<Assertion>, Trouble> {
        let digest = schema::digest::Sha3_384::of(blob).to_base64url();
        let start = Ref::new(AssertionType::SnapRevision, vec![digest]).expect("a digest is a key");
        let documents = self.fetch_closure(&start)?;
        self.check_signatures(&documents)?;
        let header = |kind: AssertionType, name: &str| {
            let document = documents.iter().find(|document| document.kind() == kind);
            document.and_then(|document| document.text(name)).unwrap_or_default().to_owned()
        };
        let facts = [
            (header(AssertionType::SnapRevision, "snap-id"), snap.snap_id.clone()),
            (header(AssertionType::SnapRevision, "snap-revision"), snap.revision.to_string()),
            (header(AssertionType::SnapRevision, "snap-size"), blob.len().to_string()),
            (header(AssertionType::SnapDeclaration, "snap-id"), snap.snap_id.clone()),
            (header(AssertionType::SnapDeclaration, "snap-name"), snap.name.clone()),
        ];
        match facts.iter().find(|(signed, told)| signed != told) {
            Some((signed, told)) => Err(Trouble::Mismatch(format!("signed {signed:?}, told {told:?}"))),
            None => Ok(documents),
        }
    }

    /// Checks every signature with the key that the documents themselves or the trusted root bring.
    fn check_signatures(&self, documents: &[Assertion]) -> Result<(), Trouble> {
        use schema::assertion::Details;
        let root = self.root.as_ref().map(|world| world.root_key());
        for document in documents {
            let signer = documents.iter().chain(&root).find_map(|held| match held.details() {
                Details::AccountKey(key) if key.public_key.id() == document.sign_key_id() => {
                    Some(&key.public_key)
                }
                _ => None,
            });
            let signer = signer
                .ok_or_else(|| Trouble::Mismatch(format!("nobody vouches for {}", document.reference())))?;
            document
                .verify_with(signer)
                .map_err(|error| Trouble::Mismatch(format!("{}: {error}", document.reference())))?;
        }
        Ok(())
    }

    /// The body of a bulk update: groups of entries by key.
    #[must_use]
    pub fn fetch_assertions_body(&self, groups: &[(&str, Vec<Value>)]) -> Vec<u8> {
        let actions: Vec<Value> = groups
            .iter()
            .map(|(key, entries)| json!({"action": "fetch-assertions", "key": key, "assertions": entries}))
            .collect();
        let body = json!({"context": [], "actions": actions, "fields": self.snapd.fields(),
            "assertion-max-formats": self.snapd.max_formats()});
        serde_json::to_vec(&body).expect("JSON of plain values")
    }

    /// Asks for newer documents, and fetches the streams that hold them.
    ///
    /// # Errors
    /// snapd gives the whole update up.
    pub fn fetch_assertions(
        &mut self,
        groups: &[(&str, Vec<Value>)],
    ) -> Result<Vec<(Group, Vec<Assertion>)>, Trouble> {
        let body = self.fetch_assertions_body(groups);
        let response = self.call(|device| device.refresh_post(&body))?;
        if response.status != 200 {
            return Err(Trouble::Status(response));
        }
        let keys: Vec<&str> = groups.iter().map(|(key, _)| *key).collect();
        let mut answered = Vec::new();
        for group in answers::take_groups(&response.body, &keys)? {
            let mut documents = Vec::new();
            for url in group.urls.iter().filter(|_| group.errors.is_empty()) {
                documents.extend(self.stream(url)?);
            }
            answered.push((group, documents));
        }
        Ok(answered)
    }

    /// Fetches a stream of assertions.
    ///
    /// # Errors
    /// Another status than 200, or text that is no stream.
    pub fn stream(&mut self, url: &str) -> Result<Vec<Assertion>, Trouble> {
        let target = self.target_of(url)?.to_owned();
        let response = self.call(|device| device.assertion_get(&target))?;
        if response.status != 200 {
            return Err(Trouble::Status(response));
        }
        Assertion::decode_stream(&response.body).map_err(|error| Trouble::Mismatch(error.to_string()))
    }
}

/// Takes the answer to a request for one assertion.
///
/// # Errors
/// [`Trouble::NotFound`] only for the exact shape that snapd knows as such.
pub fn read_assertion(response: &Response) -> Result<Assertion, Trouble> {
    if response.status == 200 {
        let mut held =
            Assertion::decode_stream(&response.body).map_err(|error| Trouble::Mismatch(error.to_string()))?;
        return if held.is_empty() { Err(Trouble::Status(response.clone())) } else { Ok(held.remove(0)) };
    }
    if !matches!(response.header("Content-Type"), Some("application/json" | "application/problem+json")) {
        return Err(Trouble::Status(response.clone()));
    }
    let body: Value =
        serde_json::from_slice(&response.body).map_err(|error| Trouble::Rejected(error.to_string()))?;
    if body["error-list"][0]["code"] == "not-found" || body["status"] == 404 {
        return Err(Trouble::NotFound);
    }
    Err(Trouble::Status(response.clone()))
}
