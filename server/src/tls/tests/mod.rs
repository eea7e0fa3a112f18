//! Real sockets, real handshakes.

mod certs;
mod clients;
mod openssl;
mod ports;
mod redirect;
mod status;
mod swap;
mod visitors;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{any, get};
use axum::{Extension, Router};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use self::certs::{Authority, Issued};
use super::*;
use crate::listen::{Connections, Limits};

/// Far longer than anything here should take.
const LONG: Duration = Duration::from_secs(30);
/// How much `/large` sends.
const LARGE: usize = 24 << 20;

/// Ports with a test application behind them.
struct Site {
    tls: Arc<Tls>,
    settings: Settings,
    authority: Authority,
    /// Requests that reached the application.
    reached: Arc<AtomicUsize>,
    folder: TempDir,
    stop: CancellationToken,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    /// A site without TLS, on ports that are free.
    fn plain() -> Self {
        Self::with(Limits::default(), &[])
    }

    /// A site with a certificate.
    fn secure() -> Self {
        let mut site = Self::plain();
        site.turn_on();
        site
    }

    fn with(limits: Limits, pairs: &[(&str, &str)]) -> Self {
        provider::install();
        let mut settings = Settings::default();
        let usual = [
            ("proxy.domain", "localhost"),
            ("proxy.ipaddress", "127.0.0.1"),
            ("proxy.port.http", "0"),
            ("proxy.port.https", "0"),
        ];
        settings.set_all(usual).expect("sound settings");
        settings.set_all(pairs.iter().copied()).expect("sound settings");
        let (openings, mut opened) = tokio::sync::mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let tls = Tls::open(&settings, Handed::default(), openings, stop.clone()).expect("ports");
        let reached = Arc::new(AtomicUsize::new(0));
        let app = app(&reached).layer(from_fn_with_state(
            Arc::clone(&tls),
            async |State(tls): State<Arc<Tls>>, request: Request, next: Next| {
                guard(&tls, request, |request| next.run(request)).await
            },
        ));
        let connections = Arc::new(Connections::new(limits));
        tokio::spawn({
            let tls = Arc::clone(&tls);
            async move {
                while let Some(opening) = opened.recv().await {
                    let (connections, app, door) =
                        (Arc::clone(&connections), app.clone(), tls.door(&opening));
                    tokio::spawn(async move {
                        connections.accept(opening.listener, door, app, opening.closed).await;
                    });
                }
            }
        });
        let folder = TempDir::new().expect("a folder");
        Self { tls, settings, authority: Authority::new("Site CA"), reached, folder, stop }
    }

    /// Puts settings in force.
    fn set(&mut self, pairs: &[(&str, &str)]) -> Result<(), String> {
        let mut settings = self.settings.clone();
        settings.set_all(pairs.iter().copied()).map_err(|error| error.to_string())?;
        self.tls.install(self.tls.prepare(&settings).map_err(|error| error.to_string())?);
        self.settings = settings;
        Ok(())
    }

    fn serve(&mut self, pair: &Issued) {
        let pairs = [("proxy.tls.cert", &*pair.cert_pem), ("proxy.tls.key", &*pair.key_pem)];
        self.set(&pairs).expect("a sound pair");
    }

    fn turn_on(&mut self) {
        let pair = self.authority.server("localhost", 400);
        self.serve(&pair);
    }

    fn turn_off(&mut self) {
        self.set(&[("proxy.tls.cert", ""), ("proxy.tls.key", "")]).expect("off is always possible");
    }

    fn http(&self) -> SocketAddr {
        self.tls.http_address()
    }

    fn https(&self) -> SocketAddr {
        let https = |entry: String| entry.strip_prefix("https://")?.parse().ok();
        self.tls.listening().into_iter().find_map(https).expect("an HTTPS port")
    }

    fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }

    /// A client that trusts the site.
    fn client(&self) -> Arc<ClientConfig> {
        Arc::new(self.trusting().with_no_client_auth())
    }

    /// A client with a certificate.
    fn client_with(&self, issued: &Issued) -> Arc<ClientConfig> {
        self.client_showing(issued, Vec::new())
    }

    /// A client with a certificate that also shows those above it.
    fn client_showing(&self, issued: &Issued, above: Vec<CertificateDer<'static>>) -> Arc<ClientConfig> {
        let chain = [issued.chain.clone(), above].concat();
        Arc::new(self.trusting().with_client_auth_cert(chain, issued.key()).expect("a sound client"))
    }

    fn trusting(&self) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        ClientConfig::builder().with_root_certificates(provider::roots_of(&[self.authority.der()]))
    }

    async fn connect(&self, client: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.https()).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::clone(client)).connect(name, tcp).await
    }

    /// One request over a connection of its own.
    async fn get(&self, client: &Arc<ClientConfig>, path: &str) -> std::io::Result<Reply> {
        let mut stream = self.connect(client).await?;
        ask(&mut stream, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await
    }

    /// One request in the clear.
    async fn plainly(&self, address: SocketAddr, request: &str) -> Reply {
        let mut tcp = TcpStream::connect(address).await.expect("connect");
        ask(&mut tcp, request).await.expect("an answer")
    }
}

/// The application: the caller, the request body, and a large answer.
fn app(reached: &Arc<AtomicUsize>) -> Router {
    let reached = Arc::clone(reached);
    let large = || async {
        let piece = Bytes::from(vec![7; 256 << 10]);
        let pieces = futures_util::stream::iter(
            std::iter::repeat_n(piece, LARGE >> 18).map(Ok::<_, std::convert::Infallible>),
        );
        Body::from_stream(pieces)
    };
    Router::new()
        .route("/hello", any(|| async { "hello" }))
        .route("/_status/check", get(|| async { "well" }))
        .route("/large", get(large))
        .route(
            "/client",
            get(|name: Option<Extension<ClientName>>| async move {
                name.map_or("nobody".to_owned(), |Extension(name)| name.0.to_string())
            }),
        )
        .layer(axum::middleware::map_request(move |request: Request| {
            reached.fetch_add(1, Ordering::SeqCst);
            async { request }
        }))
}

#[derive(Debug)]
struct Reply {
    status: u16,
    /// In small letters.
    head: String,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends a request and reads one answer with a length.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> std::io::Result<Reply> {
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        let head = head(stream).await?;
        let status = head.get(9..12).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(head.clone()))?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await?;
        Ok(Reply { status, head, body: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::time::timeout(LONG, exchange).await.expect("in time")
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).to_ascii_lowercase())
}

/// Whether the peer has closed, or does so in time.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await.expect("in time");
    read.is_err() || rest.is_empty()
}
