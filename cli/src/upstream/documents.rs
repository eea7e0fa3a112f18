//! A store's assertions and icons.

use hyper::body::Bytes;
use hyper::http::StatusCode;
use reqwest::header::ACCEPT;
use schema::assertion::{Assertion, AssertionType, Ref};
use serde::Deserialize;
use url::Url;

use super::error::{AnswerError, UpstreamError};
use super::{Upstream, below};

/// Largest assertion in bytes; validation sets of many snaps are the longest.
const LARGEST: usize = 4 << 20;
/// Largest icon that devices accept, in bytes.
pub(crate) const LARGEST_ICON: usize = 300_000;

impl Upstream {
    /// The newest revision of an assertion with at most this format; `None` if the store has none.
    ///
    /// # Errors
    /// The store cannot be reached, refuses, or sends an unexpected answer.
    pub(crate) async fn assertion(
        &self,
        reference: &Ref,
        max_format: u32,
    ) -> Result<Option<Assertion>, UpstreamError> {
        let what = reference.to_string();
        let key = reference.reduced().iter().map(String::as_str);
        let mut url = below(&self.api, ["v2", "assertions", reference.kind.name()].into_iter().chain(key));
        url.query_pairs_mut().append_pair("max-format", &max_format.to_string());
        match self.document(url, &what).await? {
            Some(found) if found.reference() != *reference => {
                Err(UpstreamError::answer(&what, AnswerError::Other(found.reference().to_string())))
            }
            found => Ok(found),
        }
    }

    /// A sequence point, or the latest one.
    ///
    /// # Errors
    /// As [`assertion`](Self::assertion).
    pub(crate) async fn point(
        &self,
        kind: AssertionType,
        sequence: &[&str],
        number: Option<u32>,
    ) -> Result<Option<Assertion>, UpstreamError> {
        let what = format!("{kind}/{}", sequence.join("/"));
        let mut url =
            below(&self.api, ["v2", "assertions", kind.name()].into_iter().chain(sequence.iter().copied()));
        let number = number.map_or_else(|| "latest".to_owned(), |number| number.to_string());
        url.query_pairs_mut()
            .append_pair("max-format", &kind.max_format().to_string())
            .append_pair("sequence", &number);
        match self.document(url, &what).await? {
            Some(found)
                if found.kind() != kind
                    || !found.reference().key.iter().zip(sequence).all(|(own, asked)| own == asked)
                    || (number != "latest" && found.reference().key.last() != Some(&number)) =>
            {
                Err(UpstreamError::answer(&what, AnswerError::Other(found.reference().to_string())))
            }
            found => Ok(found),
        }
    }

    async fn document(&self, url: Url, what: &str) -> Result<Option<Assertion>, UpstreamError> {
        let answer = self
            .exchange(LARGEST, |http| {
                let request = http.get(url.clone()).header(ACCEPT, "application/x.ubuntu.assertion");
                match &self.store {
                    Some(store) => request.header("X-Ubuntu-Store", store.as_str()),
                    None => request,
                }
            })
            .await?;
        match answer.status {
            StatusCode::OK => {
                Assertion::decode(&answer.body).map(Some).map_err(|error| UpstreamError::answer(what, error))
            }
            StatusCode::NOT_FOUND if is_not_found(&answer.body) => Ok(None),
            status => Err(self.refusal(what, status, &answer.body)),
        }
    }

    /// An icon, which is not signed; `None` if there is none within the size that devices accept.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub(crate) async fn picture(&self, url: &Url) -> Result<Option<Bytes>, UpstreamError> {
        match self.exchange(LARGEST_ICON, |http| http.get(url.clone())).await {
            Ok(answer) if answer.status == StatusCode::OK && !answer.body.is_empty() => Ok(Some(answer.body)),
            Ok(_) | Err(UpstreamError::TooLong { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether the store itself says that it has none. A wrong URL is answered with 404 as well.
fn is_not_found(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Errors {
        #[serde(default)]
        error_list: Vec<Entry>,
        #[serde(default)]
        status: Option<u16>,
    }
    #[derive(Deserialize)]
    struct Entry {
        code: String,
    }
    serde_json::from_slice::<Errors>(body).is_ok_and(|errors| {
        errors.status == Some(404) || errors.error_list.first().is_some_and(|entry| entry.code == "not-found")
    })
}
