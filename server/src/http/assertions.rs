//! `GET /v2/assertions/{type}/{key…}`: one assertion, byte for byte. See `schema/docs/store-api.md#assertions`.

use axum::extract::{OriginalUri, RawQuery};
use axum::http::HeaderValue;
use axum::response::Response;
use percent_encoding::percent_decode_str;
use schema::assertion::{AssertionType, Ref};

use super::caller::Caller;
use super::error::ApiError;
use super::json;

const ASSERTION: HeaderValue = HeaderValue::from_static("application/x.ubuntu.assertion");
const PREFIX: &str = "/v2/assertions/";

/// Answers with the newest revision whose format the device reads. For a sequence, `?sequence=latest` or
/// `?sequence=N` selects the point; N may also be the last part of the path.
pub(super) async fn assertion(
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let path = uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let not_found = || ApiError::NotFound("not-found", "this store holds no such assertion".into());
    let wanted = AssertionQuery::read(path, query.as_deref().unwrap_or_default()).ok_or_else(not_found)?;
    let view = caller.view();
    let found = match &wanted.sequence {
        Some(Sequence::Latest) => {
            let target = caller.target(&[]);
            view.latest_in_sequence(&target, wanted.kind, &wanted.key, 1, wanted.max_format)
        }
        Some(Sequence::Point(number)) => {
            let key = wanted.key.iter().cloned().chain([number.to_string()]).collect();
            Ref::new(wanted.kind, key)
                .ok()
                .and_then(|wanted_ref| view.assertion(&wanted_ref, wanted.max_format))
        }
        None => Ref::new(wanted.kind, wanted.key)
            .ok()
            .and_then(|wanted_ref| view.assertion(&wanted_ref, wanted.max_format)),
    };
    let found = found.ok_or_else(not_found)?;
    Ok(json::respond_as(ASSERTION, found.bytes().to_vec()))
}

enum Sequence {
    Latest,
    Point(u32),
}

/// The requested assertion.
struct AssertionQuery {
    kind: AssertionType,
    key: Vec<String>,
    max_format: u32,
    sequence: Option<Sequence>,
}

impl AssertionQuery {
    /// `None` if path and query do not name an assertion.
    fn read(path: &str, query: &str) -> Option<Self> {
        let mut parts = path.trim_end_matches('/').split('/').map(decoded);
        let kind: AssertionType = parts.next()??.parse().ok()?;
        let key: Vec<String> = parts.collect::<Option<_>>()?;
        let mut max_format = u32::MAX;
        let mut sequence = None;
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "max-format" => max_format = value.parse().ok()?,
                "sequence" if value == "latest" => sequence = Some(Sequence::Latest),
                "sequence" => sequence = Some(Sequence::Point(value.parse().ok()?)),
                _ => {}
            }
        }
        // A sequence without a number means its latest point.
        let short = key.len() + 1 == kind.primary_key().len();
        if kind.is_sequence() && short && sequence.is_none() {
            sequence = Some(Sequence::Latest);
        }
        Some(Self { kind, key, max_format, sequence: sequence.filter(|_| kind.is_sequence() && short) })
    }
}

/// A percent-decoded path segment; `None` if it is not text.
fn decoded(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    (!text.is_empty()).then(|| text.into_owned())
}

/// `GET /v2/auth/store/assertions`: the store assertion and its prerequisites, with which a device is pointed here.
pub(super) async fn registration(caller: Caller) -> Result<Response, ApiError> {
    let stream = caller.registration().ok_or_else(|| {
        ApiError::NotFound(
            "resource-not-found",
            "this store is not registered: run `proxy register --import FILE`".into(),
        )
    })?;
    Ok(json::respond_as(ASSERTION, stream))
}
