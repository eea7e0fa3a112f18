//! The client of the upstream store: Canonical's, or another Airlock.
//!
//! Every request has a `User-Agent`. Only requests to the store and its dashboard carry the login, and a redirect to
//! another origin does not. Transient failures (a broken connection, a 5xx, a 429) are retried with growing pauses, or after
//! the one that the store asks for. A login whose discharge has expired is renewed in memory, once per request.

mod answers;
mod dashboard;
mod documents;
mod download;
mod error;
mod http;
mod login;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;
use hyper::body::Bytes;
use hyper::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use hyper::http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use schema::config::Settings;
use schema::login::{Facts, Login};
use schema::store::StoreId;
use url::Url;

pub(crate) use answers::{ChannelOrRevision, Link, NoOffer, Offer, Resource};
pub(crate) use error::UpstreamError;
pub(crate) use login::{LoginArgs, read as read_login};

use crate::output::note;

/// How often a request is retried, and after which pauses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    /// The maximum number of attempts, including the first.
    pub(crate) attempts: u32,
    /// The first pause; each further one doubles.
    pub(crate) pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, pause: Duration::from_millis(250) }
    }
}

impl Retry {
    /// Waits after `failures` consecutive failures, at least as long as the last one asks for; `false` if there were too many
    /// or it will not pass.
    async fn again(self, failures: u32, last: &UpstreamError) -> bool {
        if failures >= self.attempts || !last.is_passing() {
            return false;
        }
        let pause = self.pause * 2_u32.saturating_pow(failures.saturating_sub(1));
        let asked = last.wait().unwrap_or_default();
        if asked > pause {
            note(format!("the store asks to wait for {} seconds", asked.as_secs()));
        }
        tokio::time::sleep(pause.max(asked)).await;
        true
    }
}

/// An upstream store.
#[derive(Debug)]
pub(crate) struct Upstream {
    http: Client,
    api: Url,
    dashboard: Url,
    sso: Url,
    /// The brand store to query.
    store: Option<StoreId>,
    login: Option<Mutex<Login>>,
    /// Renews the login.
    renewing: Option<Client>,
    retry: Retry,
}

/// A complete answer.
struct Answer {
    status: StatusCode,
    body: Bytes,
}

impl Upstream {
    /// The store that the configuration names, with the files of a client certificate and its key.
    ///
    /// # Errors
    /// The configured certificates or proxy are unusable.
    pub(crate) fn new(
        settings: &Settings,
        client: Option<&[PathBuf; 2]>,
        login: Option<Login>,
        store: Option<StoreId>,
    ) -> anyhow::Result<Self> {
        let url = |key: &str, text: &str| {
            Url::parse(text).with_context(|| format!("cannot use {key}: it is no URL"))
        };
        let renewing = login.as_ref().map(|_| http::client(settings, client, http::same_origin()));
        Ok(Self {
            http: http::client(settings, client, Policy::default())?,
            renewing: renewing.transpose()?,
            api: url("proxy.upstream", &settings.upstream.api)?,
            dashboard: url("proxy.dashboard.location", &settings.upstream.dashboard)?,
            sso: url("proxy.sso.location", &settings.upstream.sso)?,
            store,
            login: login.map(Mutex::new),
            retry: Retry::default(),
        })
    }

    /// The host that snaps come from, for people.
    pub(crate) fn host(&self) -> &str {
        self.api.host_str().unwrap_or("the store")
    }

    /// Whether there is a login.
    pub(crate) fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// What the login says of itself, if there is one.
    fn login_facts(&self) -> Option<Facts> {
        let login = self.login.as_ref()?.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Some(login.facts())
    }

    /// The same store as anybody sees it, without a login and without a brand store.
    pub(crate) fn without_login(&self) -> Self {
        let (http, api) = (self.http.clone(), self.api.clone());
        let (dashboard, sso) = (self.dashboard.clone(), self.sso.clone());
        Self { http, api, dashboard, sso, store: None, login: None, renewing: None, retry: self.retry }
    }

    /// The brand store to query.
    pub(crate) fn store(&self) -> Option<&StoreId> {
        self.store.as_ref()
    }

    /// Sends a request until there is a final answer, and reads at most `most` bytes of it.
    async fn exchange(
        &self,
        most: usize,
        make: impl Fn(&Client) -> RequestBuilder,
    ) -> Result<Answer, UpstreamError> {
        let mut failures = 0;
        loop {
            let failure = match self.send(&make).await {
                Ok(response) => {
                    let status = response.status();
                    let url = response.url().clone();
                    match read(response, most).await {
                        Ok(body) => return Ok(Answer { status, body }),
                        Err(Body::TooLong) => return Err(UpstreamError::TooLong { url, most }),
                        Err(Body::Broken(source)) => UpstreamError::connection(url, source),
                    }
                }
                Err(failure) => failure,
            };
            failures += 1;
            if !self.retry.again(failures, &failure).await {
                return Err(failure);
            }
        }
    }

    /// Sends a request, and again with a renewed login if the store asks for it.
    async fn send(&self, make: impl Fn(&Client) -> RequestBuilder) -> Result<Response, UpstreamError> {
        let mut renewed = false;
        loop {
            let mut request = make(&self.http).build().map_err(UpstreamError::Request)?;
            let authorization = self.authorization(request.url());
            if let Some(value) = &authorization {
                request.headers_mut().insert(AUTHORIZATION, value.clone());
            }
            let url = request.url().clone();
            let response =
                self.http.execute(request).await.map_err(|source| UpstreamError::connection(url, source))?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED
                && authorization.is_some()
                && !renewed
                && asks_for_renewal(response.headers())
            {
                self.renew().await?;
                renewed = true;
                continue;
            }
            return match UpstreamError::unwell(&response) {
                Some(error) => Err(error),
                None => Ok(response),
            };
        }
    }

    /// The login, if it was issued for this URL's origin.
    fn authorization(&self, url: &Url) -> Option<HeaderValue> {
        let login = self.login.as_ref()?;
        let own = [&self.api, &self.dashboard].into_iter().any(|place| place.origin() == url.origin());
        if !own {
            return None;
        }
        let login = login.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut value = HeaderValue::from_str(&login.authorization()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// A URL below `base`, with each part escaped.
fn below<'a>(base: &Url, parts: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(parts);
    }
    url
}

fn asks_for_renewal(headers: &HeaderMap) -> bool {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
    challenges.filter_map(|value| value.to_str().ok()).any(|value| value.contains("needs_refresh=1"))
}

enum Body {
    TooLong,
    Broken(reqwest::Error),
}

async fn read(mut response: Response, most: usize) -> Result<Bytes, Body> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Body::Broken)? {
        if body.len() + chunk.len() > most {
            return Err(Body::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}
