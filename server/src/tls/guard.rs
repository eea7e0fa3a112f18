//! Decides which requests get through: all over TLS, and only harmless ones without it.
//!
//! The answers here are given before anything but a request's method, path and peer was read, so nobody reads a
//! credential that was sent unencrypted.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schema::config::ClientAuth;

use super::door::{Arrival, ClientName, Port};
use super::{Condition, Served, Tls};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
/// The health checks of a load balancer on the same host.
const HEALTH: [&str; 2] = ["/_status/check", "/_status/ready"];

/// Runs before every route of the device API.
pub(crate) async fn guard<F: Future<Output = Response>>(
    tls: &Tls,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    match of_a_device(tls, &request) {
        Gate::Open(lasts) => lasts.after(next(request).await),
        Gate::Answered(answer) => answer,
    }
}

/// Runs before every route of the admin API on its port, and rejects requests without TLS.
pub(crate) async fn guard_admin(State(tls): State<Arc<Tls>>, request: Request, next: Next) -> Response {
    let gate = match request.extensions().get::<Arrival>() {
        Some(Arrival::Secure(then)) => secure(&tls.state(), then, &request),
        _ => Gate::Answered(close(text(StatusCode::BAD_REQUEST, "This port speaks HTTPS only.\n"))),
    };
    match gate {
        Gate::Open(lasts) => lasts.after(next.run(request).await),
        Gate::Answered(answer) => answer,
    }
}

/// What becomes of a request.
enum Gate {
    /// The routes answer it.
    Open(Lasts),
    /// It is answered here.
    Answered(Response),
}

/// Whether the connection lasts after an answer.
enum Lasts {
    Yes,
    /// It was made under older settings: the client reconnects under the current ones.
    No,
}

impl Lasts {
    fn after(self, response: Response) -> Response {
        match self {
            Lasts::Yes => response,
            Lasts::No => close(response),
        }
    }
}

/// Decides before anything waits, so that the task of a request has room for one answer under way.
fn of_a_device(tls: &Tls, request: &Request) -> Gate {
    let state = tls.state();
    let port = match request.extensions().get::<Arrival>() {
        Some(Arrival::Secure(then)) => return secure(&state, then, request),
        Some(Arrival::Plain(port)) => *port,
        None => Port::Http,
    };
    if let Some(answer) = tls.challenges().answer(request.uri().path()) {
        return Gate::Answered(text(StatusCode::OK, answer));
    }
    if !state.redirects || is_own_health_check(request) || came_through_tls(&state, request) {
        return Gate::Open(Lasts::Yes);
    }
    if port != Port::Http {
        let hint = format!("This port speaks HTTPS only: use {}\n", state.base_url);
        return Gate::Answered(close(text(StatusCode::BAD_REQUEST, hint)));
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    // An asterisk or a bare authority is not a path.
    let target = if target.starts_with('/') { target } else { "/" };
    let there = HeaderValue::from_str(&format!("{}{target}", state.base_url))
        .or_else(|_| HeaderValue::from_str(&state.base_url));
    Gate::Answered(match there {
        Ok(there) => (StatusCode::PERMANENT_REDIRECT, [(LOCATION, there)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    })
}

/// Decides on a request over TLS.
fn secure(state: &Condition, then: &Arc<Served>, request: &Request) -> Gate {
    let named = request.extensions().get::<ClientName>().is_some();
    let current = state.served.as_ref().is_some_and(|now| Arc::ptr_eq(now, then));
    if state.served.as_ref().is_some_and(|now| now.auth == ClientAuth::Required) && !named {
        return Gate::Answered(close(text(
            StatusCode::MISDIRECTED_REQUEST,
            "A client certificate is needed.\n",
        )));
    }
    Gate::Open(if current { Lasts::Yes } else { Lasts::No })
}

fn text(status: StatusCode, text: impl Into<String>) -> Response {
    (status, [(CONTENT_TYPE, TEXT)], text.into()).into_response()
}

fn close(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, CLOSE);
    response
}

fn peer(request: &Request) -> Option<std::net::IpAddr> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.ip().to_canonical())
}

fn is_own_health_check(request: &Request) -> bool {
    HEALTH.contains(&request.uri().path()) && peer(request).is_some_and(|peer| peer.is_loopback())
}

/// Whether a trusted proxy says that the request reached it over HTTPS.
fn came_through_tls(state: &Condition, request: &Request) -> bool {
    let trusted = |peer| state.trusted_proxies.iter().any(|network| network.contains(peer));
    peer(request).is_some_and(trusted) && says_https(request.headers())
}

/// Every listed hop must have been HTTPS, because a client can add entries before the proxy's.
fn says_https(headers: &HeaderMap) -> bool {
    let mut hops =
        headers.get_all(FORWARDED_PROTO).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let is_https = |hop: &[u8]| hop.trim_ascii().eq_ignore_ascii_case(b"https");
    hops.next().is_some_and(is_https) && hops.all(is_https)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hop_must_have_been_https() {
        for (values, believed) in [
            (&["https"][..], true),
            (&["HTTPS"], true),
            (&["https, https"], true),
            (&[], false),
            (&[""], false),
            (&["http"], false),
            (&["https, http"], false),
            (&["https", "http"], false),
            (&["httpsx"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(FORWARDED_PROTO, HeaderValue::from_static(value));
            }
            assert_eq!(says_https(&headers), believed, "{values:?}");
        }
    }
}
