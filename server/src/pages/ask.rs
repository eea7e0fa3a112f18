//! How a page asks: it makes the calls of the admin API, within the process, as whoever's browser was let in. So a page shows and does
//! exactly what that API answers, with its permissions and its audit log.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use schema::api::admin::Failure;
use schema::api::admin::calls::{self, Call};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::listen::App as _;
use crate::visits::Visitor;

/// Largest answer that is taken.
const LARGEST: usize = 64 << 20;

/// Why a call was refused or failed.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Its status.
    pub(super) status: StatusCode,
    /// What the API says about it.
    pub(super) failure: Failure,
}

/// Makes a call that takes a document.
pub(super) async fn tell<C>(
    api: &Router,
    visitor: &Visitor,
    subject: &str,
    with: &C::Request,
) -> Result<C::Answer, Refusal>
where
    C: Call,
    C::Request: Serialize,
    C::Answer: DeserializeOwned,
{
    let body = serde_json::to_vec(with).unwrap_or_default();
    call::<C>(api, visitor, C::path_of(subject), Body::from(body)).await
}

/// Makes a call that takes nothing but a path with its query.
pub(super) async fn ask<C>(api: &Router, visitor: &Visitor, target: String) -> Result<C::Answer, Refusal>
where
    C: Call,
    C::Answer: DeserializeOwned,
{
    call::<C>(api, visitor, target, Body::empty()).await
}

/// Makes a call with any body.
pub(super) async fn call<C>(
    api: &Router,
    visitor: &Visitor,
    target: String,
    body: Body,
) -> Result<C::Answer, Refusal>
where
    C: Call,
    C::Answer: DeserializeOwned,
{
    let method = match C::METHOD {
        calls::Method::Get => Method::GET,
        calls::Method::Post => Method::POST,
        calls::Method::Put => Method::PUT,
        calls::Method::Patch => Method::PATCH,
        calls::Method::Delete => Method::DELETE,
    };
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header(CONTENT_TYPE, "application/json")
        .extension(visitor.clone())
        .body(body);
    let Ok(request) = request else { return Err(unreadable(StatusCode::BAD_REQUEST)) };
    let answer = api.answer(request).await;
    let status = answer.status();
    let read = to_bytes(answer.into_body(), LARGEST).await.unwrap_or_default();
    if status.is_success() {
        return serde_json::from_slice(&read).map_err(|_| unreadable(StatusCode::SERVICE_UNAVAILABLE));
    }
    let failure = serde_json::from_slice(&read).map_err(|_| unreadable(status))?;
    Err(Refusal { status, failure })
}

fn unreadable(status: StatusCode) -> Refusal {
    Refusal {
        status,
        failure: Failure::new("unreadable", "the server's own answer cannot be read: see its log"),
    }
}
