//! HTTPS to the authority's host only: URLs of the directory that point elsewhere are not followed.
//!
//! One connection per request, each with a timeout and a size limit. Redirects are not followed.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::pki_types::ServerName;
use schema::config::Settings;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::bytes::Bytes;

use super::error::AcmeError;
use crate::tls::{provider, trusted};

/// Timeout of one request.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer, in bytes.
const LARGEST: usize = 1 << 20;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
enum WireError {
    #[error("the authority points to {0}, which is not on the host of its directory: nothing is asked there")]
    Elsewhere(Uri),
    #[error("cannot connect to {0}")]
    Connect(String, #[source] io::Error),
    #[error("no secure connection to {0}: is its authority among those of `proxy acme enable --ca FILE`?")]
    Secure(String, #[source] io::Error),
    #[error("the exchange with {0} broke off")]
    Broken(String, #[source] hyper::Error),
    #[error("the answer of {0} cannot be read")]
    Body(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0} did not answer within {n} s", n = PATIENCE.as_secs())]
    Slow(String),
    #[error("{0} answered {1}: is proxy.acme.directory the URL of an ACME directory?")]
    Status(Uri, StatusCode),
}

/// The connection to one host.
pub(super) struct Wire {
    host: Arc<str>,
    tls: TlsConnector,
}

impl Wire {
    /// A client for the configured directory.
    ///
    /// # Errors
    /// The directory has no host, or there is nothing to trust it with.
    pub(super) fn new(settings: &Settings, data_dir: &Path) -> Result<Self, AcmeError> {
        let directory: Option<Uri> = settings.acme.directory.as_ref().and_then(|url| url.parse().ok());
        let host = directory.as_ref().and_then(Uri::host).ok_or(AcmeError::NoHost)?;
        let named = match settings.acme_ca() {
            Ok(None) => settings.ca_certs(),
            own => own,
        };
        let roots = match named.map_err(AcmeError::Trust)? {
            Some(named) => provider::roots_of(&named),
            None => trusted(data_dir),
        };
        let config = provider::trusting(roots).map_err(AcmeError::Tls)?;
        Ok(Self { host: host.into(), tls: TlsConnector::from(Arc::new(config)) })
    }
}

impl HttpClient for Wire {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let (host, tls) = (Arc::clone(&self.host), self.tls.clone());
        Box::pin(async move {
            let place = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            let answered = timeout(PATIENCE, exchange(&host, &tls, request)).await;
            let answered = answered.unwrap_or(Err(WireError::Slow(place)));
            answered.map_err(|error| instant_acme::Error::Other(Box::new(error)))
        })
    }
}

async fn exchange(
    host: &str,
    tls: &TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, WireError> {
    let url = request.uri().clone();
    let elsewhere = || WireError::Elsewhere(url.clone());
    let there = url.authority().filter(|there| there.host().eq_ignore_ascii_case(host));
    let there = there.filter(|_| url.scheme_str() == Some("https")).ok_or_else(elsewhere)?;
    let place = there.to_string();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| elsewhere())?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(&place).map_err(|_| elsewhere())?);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| elsewhere())?;
    let wants_directory = request.method() == Method::GET;

    let tcp = TcpStream::connect((bare, there.port_u16().unwrap_or(443))).await;
    let tcp = tcp.map_err(|source| WireError::Connect(place.clone(), source))?;
    let stream = tls.connect(name, tcp).await.map_err(|source| WireError::Secure(place.clone(), source))?;
    let broken = |source| WireError::Broken(place.clone(), source);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with this function in any case.
    let mut carrier = JoinSet::new();
    carrier.spawn(async { drop(connection.await) });
    let (parts, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, LARGEST).collect().await;
    let body = body.map_err(|source| WireError::Body(place.clone(), source))?.to_bytes();
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !parts.status.is_success() && (wants_directory || !kind.contains("json")) {
        return Err(WireError::Status(url, parts.status));
    }
    Ok(BytesResponse { parts, body: Box::new(body) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_asked_of_another_host() {
        provider::install();
        let mut settings = Settings::default();
        settings.set("proxy.acme.directory", "https://127.0.0.1:1/dir").expect("a URL");
        let wire = Wire::new(&settings, Path::new("/nonexistent")).expect("a way");
        let ask = async |url: &str| {
            let request = Request::get(url).body(BodyWrapper::default()).expect("a request");
            let failed = wire.request(request).await.err().expect("nobody answers");
            failed.to_string()
        };
        for url in ["https://127.0.0.2:1/nonce", "http://127.0.0.1:1/nonce", "/nonce"] {
            let why = ask(url).await;
            assert!(why.contains("not on the host of its directory"), "{url}: {why}");
        }
        let own = ask("https://127.0.0.1:1/nonce").await;
        assert_eq!(own, "cannot connect to 127.0.0.1:1");
    }
}
