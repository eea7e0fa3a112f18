//! Relays device registration to the device services that the operator allows.
//!
//! A device without a serial whose gadget names a device service sends its two requests to the store, which relays
//! them. It contacts only services in `proxy.device-auth.allowed-device-service-urls`, follows no redirect, and
//! ignores proxies in the environment.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use schema::config::{DeviceService, Settings};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::bytes::{Bytes, BytesMut};
use tracing::error;

use crate::tls::{provider, trusted};

/// Timeout of an exchange: snapd waits for 30 s.
const PATIENCE: Duration = Duration::from_secs(25);
/// Timeout for connecting.
const CONNECT: Duration = Duration::from_secs(10);
/// Largest answer in bytes: a serial with its accounts and keys has a few KiB.
const LARGEST: usize = 1 << 20;
/// Concurrent requests per service.
const AT_ONCE: usize = 64;

/// The device service's answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) body: Bytes,
}

/// Why a request or its answer was not relayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    /// The service is not on the list.
    #[error("the device service is not among those that this store relays to")]
    NotAllowed,
    /// Too many requests are waiting for this service.
    #[error("{AT_ONCE} requests are waiting for an answer")]
    Busy,
    /// The HTTP client could not be built.
    #[error("there is no client for outgoing requests")]
    NoClient,
    /// The connection failed.
    #[error("the exchange failed")]
    Broken(#[from] reqwest::Error),
    /// The service is too slow.
    #[error("there was no whole answer within {} s", PATIENCE.as_secs())]
    Slow,
    /// The answer is too large.
    #[error("the answer is larger than {LARGEST} bytes")]
    TooLarge,
    /// The service redirects.
    #[error(
        "it answered {0} and sends on to {1}, and redirects are not followed: name the address that answers itself"
    )]
    Redirects(StatusCode, String),
}

/// An allowed service.
struct Allowed {
    service: DeviceService,
    room: Semaphore,
}

/// The allowed services and the HTTP client.
#[derive(Default)]
struct Way {
    allowed: Vec<Allowed>,
    client: Option<reqwest::Client>,
}

/// The relay to the configured device services.
#[derive(Default)]
pub(crate) struct Relay(ArcSwap<Way>);

impl Relay {
    /// Applies the configured list.
    pub(crate) fn configure(&self, settings: &Settings, data_dir: &Path) {
        let allow = |service| Allowed { service, room: Semaphore::new(AT_ONCE) };
        let allowed: Vec<Allowed> = settings.device_auth.services.iter().cloned().map(allow).collect();
        let client = (!allowed.is_empty()).then(|| client(settings, data_dir)).transpose();
        let client = client.unwrap_or_else(|failure| {
            error!(error = %format_args!("{failure:#}"), "Cannot prepare for the relay to device services");
            None
        });
        self.0.store(Arc::new(Way { allowed, client }));
    }

    /// Whether any service is allowed.
    pub(crate) fn is_open(&self) -> bool {
        !self.0.load().allowed.is_empty()
    }

    /// Whether requests for this service are passed on to it.
    pub(crate) fn covers(&self, service: &DeviceService) -> bool {
        self.0.load().allowed.iter().any(|allowed| allowed.service.covers(service))
    }

    /// Posts to an endpoint of a service, and waits for the answer.
    pub(crate) async fn post(
        &self,
        service: &DeviceService,
        endpoint: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, RelayError> {
        let way = self.0.load_full();
        let allowed = way.allowed.iter().find(|allowed| allowed.service.covers(service));
        let allowed = allowed.ok_or(RelayError::NotAllowed)?;
        let _one_of_few = allowed.room.try_acquire().map_err(|_| RelayError::Busy)?;
        let client = way.client.as_ref().ok_or(RelayError::NoClient)?;
        let request = client.post(service.endpoint(endpoint)).headers(headers).body(body);
        timeout(PATIENCE, exchange(request)).await.map_err(|_| RelayError::Slow)?
    }
}

async fn exchange(request: reqwest::RequestBuilder) -> Result<Answer, RelayError> {
    let mut answer = request.send().await?;
    let (status, content_type) = (answer.status(), answer.headers().get(CONTENT_TYPE).cloned());
    if status.is_redirection() {
        let place = answer.headers().get(LOCATION).map_or(b"nowhere".as_slice(), HeaderValue::as_bytes);
        return Err(RelayError::Redirects(status, place.escape_ascii().to_string()));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > LARGEST {
            return Err(RelayError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, content_type, body: body.freeze() })
}

fn client(settings: &Settings, data_dir: &Path) -> anyhow::Result<reqwest::Client> {
    let trust =
        "cannot use proxy.ca-certs: `proxy use-ca-certs FILE` replaces it, `proxy remove-ca-certs` clears it";
    let roots = match settings.ca_certs().context(trust)? {
        Some(named) => provider::roots_of(&named),
        None => trusted(data_dir),
    };
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(provider::trusting(roots)?)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        // A request must not reuse a connection that the service is just closing.
        .pool_max_idle_per_host(0);
    Ok(client.build()?)
}
