//! What stands before every page: nothing while they are off, no form of another site, and headers that keep a page to itself.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schema::api::admin::Failure;

use super::Pages;
use super::frame;
use super::texts::ENGLISH;

/// Nothing from elsewhere, nothing inline, and no page within another.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");

/// Runs before every page.
pub(super) async fn keep(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    if !pages.site.settings().listen.pages {
        let message = "the pages are off: `proxy config proxy.admin.pages=True` turns them on";
        return (StatusCode::NOT_FOUND, Json(Failure::new("no-such-route", message))).into_response();
    }
    let harmless = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut answer = match harmless || is_own_form(request.headers()) {
        true => next.run(request).await,
        false => frame::trouble(StatusCode::FORBIDDEN, ENGLISH.foreign_form, Vec::new()),
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (OPENER_POLICY, "same-origin"),
        (RESOURCE_POLICY, "same-origin"),
        (PERMISSIONS, "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Files that never change say so themselves.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// Whether a form is one of these pages. A browser says how the page that sends it relates to this one; older ones name its origin
/// alone, and newer ones hide it as `null` where pages have no referrer, as these. What says neither is no browser with a form of ours.
fn is_own_form(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let (site, origin) = (text(FETCH_SITE), text(ORIGIN));
    let own = text(HOST).map(|host| format!("https://{host}"));
    match site {
        Some(site) => {
            site == "same-origin" && (matches!(origin, None | Some("null")) || origin == own.as_deref())
        }
        None => origin.is_some() && origin == own.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forms_of_these_pages_are_taken() {
        let own = "https://store.example:8444";
        for (site, origin, taken) in [
            (Some("same-origin"), Some(own), true),
            (Some("same-origin"), None, true),
            (Some("same-origin"), Some("null"), true),
            (Some("cross-site"), Some("null"), false),
            (None, Some(own), true),
            (None, None, false),
            (Some("cross-site"), Some(own), false),
            (Some("same-site"), Some(own), false),
            (Some("none"), None, false),
            (Some("same-origin"), Some("https://evil.example"), false),
            (None, Some("null"), false),
            (None, Some("http://store.example:8444"), false),
            (None, Some("https://store.example"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("store.example:8444"));
            site.map(|site| headers.insert(FETCH_SITE, HeaderValue::from_static(site)));
            origin.map(|origin| headers.insert(ORIGIN, HeaderValue::from_static(origin)));
            assert_eq!(is_own_form(&headers), taken, "{site:?} {origin:?}");
        }
    }
}
