//! Device registration: serials of the models that have a policy here, and the relay to the device service that the
//! gadget names.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, FORWARDED, HOST, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use schema::causes::one_line;
use schema::config::DeviceService;
use serde_json::json;
use tracing::{info, warn};

use super::App;
use super::error::{ApiError, RegistrationError};
use crate::observe;
use crate::relay::RelayError;
use crate::signing::{self, Check, IssueError};

/// Names the gadget's device service.
static SERVICE: HeaderName = HeaderName::from_static("x-snap-device-service-url");
/// How a stream of assertions is announced.
const ASSERTIONS: HeaderValue = HeaderValue::from_static("application/x.ubuntu.assertion");
/// Largest request: a serial request, a model and a serial.
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
    let answered = match desk(&app, &headers) {
        Ok(Desk::Here) => own_request_id(&app).await,
        Ok(Desk::Relayed(service)) => pass_on(&app, &service, "request-id", headers, body).await,
        Err(refused) => Err(refused),
    };
    answered.map_err(RegistrationError)
}

/// `POST /api/v1/snaps/auth/devices`
pub(super) async fn devices(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, RegistrationError> {
    let answered = match desk(&app, &headers) {
        Ok(Desk::Here) => own_serial(&app, headers, body).await,
        Ok(Desk::Relayed(service)) => pass_on(&app, &service, "serial", headers, body).await,
        Err(refused) => Err(refused),
    };
    answered.map_err(RegistrationError)
}

/// `POST /request-id`: as the device service of a gadget.
pub(super) async fn service_request_id(State(app): State<App>) -> Result<Response, RegistrationError> {
    let answered = async {
        signs_here(&app).then_some(()).ok_or_else(nobody)?;
        own_request_id(&app).await
    };
    answered.await.map_err(RegistrationError)
}

/// `POST /serial`: as the device service of a gadget.
pub(super) async fn service_serial(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, RegistrationError> {
    let answered = async {
        signs_here(&app).then_some(()).ok_or_else(nobody)?;
        own_serial(&app, headers, body).await
    };
    answered.await.map_err(RegistrationError)
}

/// Who registers a device.
enum Desk {
    /// This store.
    Here,
    /// The device service that its gadget names.
    Relayed(DeviceService),
}

/// Who registers the device that sends these headers: a service that the operator lets requests through to, or else this
/// store, if it signs serials. Both requests of a device lead to the same.
fn desk(app: &App, headers: &HeaderMap) -> Result<Desk, ApiError> {
    let mut named = headers.get_all(&SERVICE).iter();
    let Some(text) = named.next() else {
        return if signs_here(app) { Ok(Desk::Here) } else { Err(nobody()) };
    };
    let service = text.to_str().ok().filter(|_| named.next().is_none());
    let service: DeviceService = service.and_then(|text| text.parse().ok()).ok_or_else(|| {
        ApiError::Invalid("invalid-request", "cannot read the address of the device service".into())
    })?;
    if signs_here(app) && !app.relay().covers(&service) { Ok(Desk::Here) } else { Ok(Desk::Relayed(service)) }
}

/// Whether serials of any model are signed here.
pub(super) fn signs_here(app: &App) -> bool {
    signing::signs_any(&app.catalog())
}

fn nobody() -> ApiError {
    ApiError::NotFound(
        "resource-not-found",
        "this store signs no serials, and the gadget of this device names no device service".into(),
    )
}

async fn own_request_id(app: &App) -> Result<Response, ApiError> {
    let id = app.sessions().nonce().await?;
    Ok(super::json::respond(json!({ "request-id": id }).to_string()))
}

async fn own_serial(app: &App, headers: HeaderMap, body: Bytes) -> Result<Response, ApiError> {
    within_limit(&body)?;
    if app.is_copied_away() {
        return Err(ApiError::Unavailable(
            "the store is on its way to another database: try again later".into(),
        ));
    }
    let is_of_another = headers.contains_key(&SERVICE);
    let header = move |name: &str| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).map(|value| value.as_bytes().to_vec())
    };
    let issued = app.signing().issue(app.sessions(), app.database(), app.catalog(), header, body).await;
    app.observed().registrations.count(match &issued {
        Ok(_) => observe::GIVEN,
        Err(IssueError::Waiting(_)) => observe::WAITING,
        Err(IssueError::Refused(refusal)) => refusal.check().name(),
        Err(_) => observe::UNAVAILABLE,
    });
    if let Err(IssueError::Waiting(id)) = &issued {
        info!(approval = id, "A device waits until its serial is approved");
        return Ok(super::json::accepted("the store's operators have to approve this: ask again later"));
    }
    let stream = issued.map_err(|failure| match failure {
        IssueError::Refused(refusal) if refusal.is_ours() => {
            warn!(check = refusal.check().name(), "{refusal}");
            ApiError::Unavailable(refusal.to_string())
        }
        IssueError::Refused(refusal) => {
            info!(check = refusal.check().name(), "{refusal}");
            let (code, why) = (refusal.check().name(), refusal.to_string());
            match refusal.check() {
                // The device service that the gadget names would know the model; this store does not.
                Check::Policy if is_of_another => ApiError::NotFound(code, why),
                _ if refusal.is_malformed() => ApiError::Invalid(code, why),
                _ => ApiError::Refused(code, why),
            }
        }
        IssueError::Storage(failure) => ApiError::storage(&failure),
        IssueError::Session(failure) => failure.into(),
        failure => {
            warn!(error = one_line(&failure), "A device has to wait for its serial");
            ApiError::Unavailable("the store cannot sign a serial at the moment: try again later".into())
        }
    })?;
    let mut response = Response::new(Body::from(stream));
    response.headers_mut().insert(CONTENT_TYPE, ASSERTIONS);
    Ok(response)
}

fn within_limit(body: &Bytes) -> Result<(), ApiError> {
    if body.len() <= LARGEST {
        return Ok(());
    }
    Err(ApiError::Invalid("request-too-large", "the request is larger than a registration is".into()))
}

async fn pass_on(
    app: &App,
    service: &DeviceService,
    endpoint: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    within_limit(&body)?;
    let answer = app.relay().post(service, endpoint, passed_on(headers), body).await.map_err(|failure| {
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
