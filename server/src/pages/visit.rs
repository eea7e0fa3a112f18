//! A visit: the browser's cookie, whose it is, and what it may ask.

use std::collections::BTreeMap;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use schema::api::admin::Failure;
use schema::api::admin::calls::Call;
use schema::service_login::Acl;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::Pages;
use super::ask::{self, Refusal};
use super::frame::{self, Frame};
use super::texts::ENGLISH;
use crate::clock;
use crate::visits::{Notice, Visitor};

/// The cookie: the prefix makes browsers refuse one that another host or plain HTTP set.
pub(super) const COOKIE_NAME: &str = "__Host-airlock";
/// Marks what a page asks by itself.
const BY_ITSELF: HeaderName = HeaderName::from_static("by-itself");
/// Makes htmx go to another page.
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
/// The field of a form that says what it is based on.
pub(super) const BASIS: &str = "standing";
/// Largest form.
const FORM: usize = 256 << 10;

/// A browser that was let in.
pub(super) struct Visit {
    pub(super) pages: Pages,
    pub(super) visitor: Visitor,
    /// What its cookie holds.
    pub(super) secret: String,
    /// What it asked for.
    pub(super) uri: Uri,
    /// Whether a person asked, and not the page by itself.
    by_person: bool,
}

impl FromRequestParts<Pages> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, Response> {
        let by_person = !parts.headers.contains_key(BY_ITSELF) && parts.uri.path() != "/pages/live";
        let secret = cookie(&parts.headers);
        let visitor =
            secret.and_then(|secret| pages.site.visits().visitor(secret, by_person, clock::seconds()));
        match secret.zip(visitor) {
            Some((secret, visitor)) => {
                let (pages, secret, uri) = (pages.clone(), secret.to_owned(), parts.uri.clone());
                Ok(Self { pages, visitor, secret, uri, by_person })
            }
            None => Err(to_login(secret.is_some())),
        }
    }
}

/// What the browser's cookie holds.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='))
}

/// Sends the browser to the login; `ended` where it was let in before.
fn to_login(ended: bool) -> Response {
    let there = if ended { "/pages/login?ended" } else { "/pages/login" };
    ([(HX_REDIRECT, HeaderValue::from_static(there))], Redirect::to(there)).into_response()
}

impl Visit {
    /// Makes a call that only names something.
    pub(super) async fn ask<C>(&self, query: &str) -> Result<C::Answer, Response>
    where
        C: Call,
        C::Answer: DeserializeOwned,
    {
        let target = if query.is_empty() { C::PATH.to_owned() } else { format!("{}?{query}", C::PATH) };
        ask::ask::<C>(&self.pages.api, &self.visitor, target).await.map_err(refused)
    }

    /// Makes a call that changes something, and goes to a page that tells what came of it.
    pub(super) async fn act<C>(&self, with: &C::Request, then: &str, well: &str) -> Response
    where
        C: Call,
        C::Request: Serialize,
        C::Answer: DeserializeOwned,
    {
        let done = ask::tell::<C>(&self.pages.api, &self.visitor, "", with).await;
        self.tell(done.map(drop), then, well)
    }

    /// Goes to a page that tells what came of something.
    pub(super) fn tell(&self, done: Result<(), Refusal>, then: &str, well: &str) -> Response {
        let failure = match done {
            Ok(()) => return self.say(true, then, well),
            Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED => return to_login(true),
            Err(Refusal { failure, .. }) => failure,
        };
        if failure.code == Failure::MOVED {
            return self.say(false, then, ENGLISH.moved_meanwhile);
        }
        let mut text = failure.message;
        failure.details.iter().for_each(|detail| text.extend(["\n", detail]));
        self.say(false, then, &text)
    }

    /// Goes to a page that says this.
    pub(super) fn say(&self, well: bool, then: &str, text: &str) -> Response {
        self.pages.site.visits().tell(&self.secret, Notice { well, text: text.to_owned() });
        Redirect::to(then).into_response()
    }

    /// What surrounds a page.
    pub(super) fn frame(&self, here: &'static str, title: &str) -> Frame {
        // A notice is for a person: a page that renews itself meanwhile does not take it away.
        let notice = self.by_person.then(|| self.pages.site.visits().told(&self.secret)).flatten();
        let target = self.uri.path_and_query().map_or("/pages/now", |target| target.as_str());
        Frame::new(here, title, Some(&self.visitor), notice, target)
    }

    /// Whether the visitor may import.
    pub(super) fn may_import(&self) -> bool {
        self.visitor.may(&[Acl::AdminImports])
    }

    /// A value of the query.
    pub(super) fn value(&self, name: &str) -> String {
        let query = self.uri.query().unwrap_or_default().as_bytes();
        let mut values = form_urlencoded::parse(query).filter(|(key, _)| key == name);
        values.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    }
}

/// A page about a call that was refused, or the login.
pub(super) fn refused(Refusal { status, failure }: Refusal) -> Response {
    match status {
        StatusCode::UNAUTHORIZED => to_login(true),
        _ => frame::trouble(status, &failure.message, failure.details),
    }
}

/// The fields of a form.
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// How what the form is about stood when the form was made. Every form has it that goes on from there, and one without it is refused.
    pub(super) fn basis(&self) -> Option<String> {
        Some(self.get(BASIS).to_owned())
    }

    /// A field; empty if it was not sent.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map(|value| value.trim()).unwrap_or_default()
    }
}

impl<S: Sync> FromRequest<S> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Response> {
        let read = to_bytes(request.into_body(), FORM).await;
        let read = read
            .map_err(|_| frame::trouble(StatusCode::PAYLOAD_TOO_LARGE, ENGLISH.form_too_large, Vec::new()))?;
        Ok(Self(form_urlencoded::parse(&read).into_owned().collect()))
    }
}

/// The page of an address that leads nowhere.
pub(super) async fn nothing_here(_: Visit) -> Response {
    frame::trouble(StatusCode::NOT_FOUND, ENGLISH.nothing_here, Vec::new())
}
