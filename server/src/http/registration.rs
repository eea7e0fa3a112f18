//! Device registration: this store signs no serials, but relays requests to the device service that the gadget names.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, FORWARDED, HOST, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName};
use schema::config::DeviceService;
use tracing::warn;

use super::App;
use super::error::{ApiError, RegistrationError};
use crate::relay::RelayError;

/// Names the gadget's device service.
static SERVICE: HeaderName = HeaderName::from_static("x-snap-device-service-url");
/// Largest relayed request: a serial request, a model and a serial.
const LARGEST: usize = 1 << 20;

/// Headers that are not relayed: framing of this connection, headers of proxies on the way here, and those for this
/// store alone.
static OURS: [HeaderName; 16] = [
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    FORWARDED,
    HOST,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    VIA,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("snap-device-authorization"),
    HeaderName::from_static("x-device-authorization"),
];

/// `POST /api/v1/snaps/auth/request-id`
pub(super) async fn request_id(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, RegistrationError> {
    pass_on(&app, "request-id", headers, body).await.map_err(RegistrationError)
}

/// `POST /api/v1/snaps/auth/devices`
pub(super) async fn devices(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, RegistrationError> {
    pass_on(&app, "serial", headers, body).await.map_err(RegistrationError)
}

async fn pass_on(app: &App, endpoint: &str, headers: HeaderMap, body: Bytes) -> Result<Response, ApiError> {
    let mut named = headers.get_all(&SERVICE).iter();
    let Some(text) = named.next() else {
        return Err(ApiError::NotFound(
            "resource-not-found",
            "this store signs no serials, and the gadget of this device names no device service".into(),
        ));
    };
    let service = text.to_str().ok().filter(|_| named.next().is_none());
    let service: DeviceService = service.and_then(|text| text.parse().ok()).ok_or_else(|| {
        ApiError::Invalid("invalid-request", "cannot read the address of the device service".into())
    })?;
    if body.len() > LARGEST {
        return Err(ApiError::Invalid(
            "request-too-large",
            "the request is larger than a registration is".into(),
        ));
    }
    let answer = app.relay().post(&service, endpoint, passed_on(headers), body).await.map_err(|failure| {
        if matches!(failure, RelayError::NotAllowed) {
            return ApiError::Refused(
                "device-service-not-allowed",
                "this store does not relay to the device service that the gadget names: its operator adds it to \
                 proxy.device-auth.allowed-device-service-urls"
                    .into(),
            );
        }
        let asked = service.endpoint(endpoint);
        warn!(error = &failure as &dyn std::error::Error, "The device service at {asked} gave no answer");
        ApiError::Unavailable("the device service could not be asked: try again later".into())
    })?;
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    if let Some(kind) = answer.content_type {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    Ok(response)
}

/// The headers to relay.
fn passed_on(mut headers: HeaderMap) -> HeaderMap {
    let of_the_connection: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let forwarded: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned().collect();
    for name in OURS.iter().chain([&SERVICE]).chain(&of_the_connection).chain(&forwarded) {
        headers.remove(name);
    }
    headers
}
