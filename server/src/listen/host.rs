//! Requires that a request names its host once, in a form that all readers understand (RFC 9112 §3.2).

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version};

/// Whether a request names its host correctly.
pub(super) fn is_named(version: Version, headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(HOST).iter();
    match (named.next(), named.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => host.is_empty() || Authority::try_from(host.as_bytes()).is_ok(),
        _ => false,
    }
}
