//! The publisher's side of a store: brand stores, their snaps, and the account of a login.

use hyper::http::StatusCode;
use schema::store::StoreId;
use serde_json::Value;
use url::Url;

use super::error::{UpstreamError, json, reason};
use super::{Upstream, below};

/// Largest answer of the dashboard in bytes: the list of a store with thousands of snaps.
const LARGEST: usize = 64 << 20;

impl Upstream {
    /// A brand store; `None` if it does not exist or the login may not see it.
    ///
    /// # Errors
    /// The dashboard cannot be reached, refuses, or sends an unexpected answer.
    pub(crate) async fn brand_store(&self, id: &StoreId) -> Result<Option<Value>, UpstreamError> {
        let url = below(&self.dashboard, ["api", "v2", "stores", id.as_str()]);
        self.ask(url, &format!("store {id}")).await
    }

    /// The snaps of a brand store.
    ///
    /// # Errors
    /// As [`brand_store`](Self::brand_store).
    pub(crate) async fn brand_snaps(&self, id: &StoreId) -> Result<Option<Value>, UpstreamError> {
        let url = below(&self.dashboard, ["api", "v2", "stores", id.as_str(), "snaps"]);
        self.ask(url, &format!("the snaps of store {id}")).await
    }

    /// Account, permissions and expiry of the login.
    ///
    /// # Errors
    /// As [`brand_store`](Self::brand_store).
    pub(crate) async fn whoami(&self) -> Result<Option<Value>, UpstreamError> {
        let url = below(&self.dashboard, ["api", "v2", "tokens", "whoami"]);
        self.ask(url, "the login").await
    }

    /// Refuses a login that the store does not accept: to some stores it is then as if there were none.
    ///
    /// # Errors
    /// The store says so. What else keeps it from answering is told by the requests that need the answer.
    pub(crate) async fn check_login(&self) -> Result<(), UpstreamError> {
        if !self.has_login() {
            return Ok(());
        }
        match self.whoami().await {
            Err(void @ (UpstreamError::Void { .. } | UpstreamError::Expired(_))) => Err(void),
            _ => Ok(()),
        }
    }

    /// Registers a key with its account-key-request.
    ///
    /// # Errors
    /// The dashboard cannot be reached or refuses.
    pub(crate) async fn register_key(&self, request: &str) -> Result<(), UpstreamError> {
        let url = below(&self.dashboard, ["dev", "api", "account", "account-key"]);
        let wanted = serde_json::json!({ "account_key_request": request });
        let answer = self.exchange(LARGEST, |http| http.post(url.clone()).json(&wanted)).await?;
        match answer.status {
            StatusCode::OK | StatusCode::CREATED => Ok(()),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(self.refusal("a key's registration", status, &answer.body))
            }
            status => Err(UpstreamError::NotRegistered(reason(status, &answer.body))),
        }
    }

    async fn ask(&self, url: Url, what: &str) -> Result<Option<Value>, UpstreamError> {
        let answer = self.exchange(LARGEST, |http| http.get(url.clone())).await?;
        match answer.status {
            StatusCode::OK => json(what, &answer.body).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(self.refusal(what, status, &answer.body)),
        }
    }
}
