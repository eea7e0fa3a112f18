//! The accept loop of the device API: HTTP/1.1 over TCP, with a deadline for each phase.
//!
//! ```text
//! accept ── handshake ──► head ──► request ──► response ──► idle ──► head …
//!             limits        limits    limits     limits       limits
//!             .handshake    .head     .body_idle .write_stall .idle
//! ```
//!
//! A connection that exceeds a deadline is closed. At the connection caps, the connection that has waited longest
//! without a request makes room for the new one, so silent or slow connections never keep a device out. hyper parses
//! the requests; [`framing`] turns ambiguous ones that hyper would accept into a 400.

mod admission;
mod clock;
mod connection;
mod counts;
mod depth;
mod ending;
mod framing;
mod guarded;
mod host;
mod limits;
#[allow(dead_code, reason = "the peer of the benchmarks sends no files")]
pub(crate) mod outlet;
mod seldom;
#[cfg(test)]
mod tests;
pub(crate) mod upload;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Extensions, Request, Response};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::admission::Admission;
#[allow(unused_imports, reason = "the peer of the benchmarks shows no metrics")]
pub(crate) use self::clock::PHASES;
#[allow(unused_imports, reason = "the peer of the benchmarks shows no metrics")]
pub(crate) use self::counts::{CLOSED, Counted};
pub(crate) use self::limits::Limits;
use self::seldom::Seldom;
pub(crate) use self::wire::Wire;

/// How long to leave the listener alone after a failed accept due to a lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many waiting connections are closed when descriptors run out, to recover.
const ROOM_WHEN_EXHAUSTED: usize = 16;

/// Descriptors reserved for everything except device connections: files, database, sockets.
const RESERVED_DESCRIPTORS: usize = 64;

/// What answers requests. Each carries `axum::extract::ConnectInfo<SocketAddr>` with the peer's address.
pub(crate) trait App: Clone + Send + Sync + 'static {
    /// Answers a request; every failure is an answer too.
    fn answer(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

impl App for Router {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        TowerToHyperService::new(self.clone()).call(request).await.unwrap_or_else(|never| match never {})
    }
}

/// Runs between accepting a connection and its first request, such as a TLS handshake.
pub(crate) trait Handshake: Clone + Send + Sync + 'static {
    /// The stream for requests and answers.
    type Io: AsyncRead + AsyncWrite + Tcp + Unpin + Send + 'static;

    /// Turns an accepted connection into one that carries HTTP. The extensions (such as the peer's identity) are
    /// added to every request of the connection. A failure ends it.
    fn shake(&self, wire: Wire) -> impl Future<Output = Result<(Self::Io, Extensions), Failed>> + Send;
}

/// A failed handshake.
#[derive(Debug)]
#[allow(dead_code, reason = "the peer of the benchmarks knows no TLS")]
pub(crate) enum Failed {
    /// One side refused the other: the reason, and the connection, which may still have to deliver our last bytes.
    Refused(io::Error, Wire),
    /// The connection was gone.
    Gone(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

/// A stream over TCP.
pub(crate) trait Tcp {
    /// The underlying connection.
    fn tcp(&self) -> &TcpStream;

    /// The connection below when nothing is in between, so that what is written to either is the same.
    fn bare(&mut self) -> Option<&mut Wire>;
}

/// No handshake: HTTP on the bare connection.
#[derive(Clone, Debug)]
pub(crate) struct Plain;

impl Handshake for Plain {
    type Io = Wire;

    async fn shake(&self, wire: Wire) -> Result<(Wire, Extensions), Failed> {
        Ok((wire, Extensions::new()))
    }
}

/// The connections of one server over all its ports, which share the caps.
pub(crate) struct Connections {
    limits: Arc<Limits>,
    admission: Arc<Admission>,
    tasks: TaskTracker,
    /// Limits log messages about refused handshakes.
    shaking: Arc<Mutex<Seldom>>,
}

impl Connections {
    pub(crate) fn new(limits: Limits) -> Self {
        let limits = Arc::new(affordable(limits));
        let admission = Arc::new(Admission::new(Arc::clone(&limits)));
        Self { limits, admission, tasks: TaskTracker::new(), shaking: Arc::default() }
    }

    /// Serves `app` over HTTP/1.1 to all connections from `listener` until `closed`. Existing connections stay.
    pub(crate) async fn accept(
        &self,
        listener: TcpListener,
        handshake: impl Handshake,
        app: impl App,
        closed: CancellationToken,
    ) {
        let mut refused = Seldom::default();
        let mut failed = Seldom::default();
        while let Some(accepted) = closed.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((tcp, peer)) => {
                    if let Some(admitted) = self.admission.admit(peer.ip()) {
                        prepare(&tcp);
                        let served = connection::Served {
                            handshake: handshake.clone(),
                            app: app.clone(),
                            shaking: Arc::clone(&self.shaking),
                        };
                        self.tasks.spawn(connection::run(tcp, peer, served, admitted));
                    } else if let Some(times) = refused.now() {
                        warn!(%peer, times, "Refused a connection: too many requests in flight");
                    }
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    if let Some(times) = failed.now() {
                        warn!(%error, times, "Cannot accept connections for now");
                    }
                    self.admission.counts().not_accepted();
                    self.admission.make_room(ROOM_WHEN_EXHAUSTED);
                    closed.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
                }
            }
        }
    }

    /// The counters so far.
    #[allow(dead_code, reason = "the peer of the benchmarks shows no metrics")]
    pub(crate) fn counted(&self) -> Counted {
        self.admission.counts().now()
    }

    /// How many connections are in each phase, in the order of [`PHASES`].
    #[allow(dead_code, reason = "the peer of the benchmarks shows no metrics")]
    pub(crate) fn phases(&self) -> [usize; PHASES.len()] {
        self.admission.phases()
    }

    /// The maximum number of connections.
    #[allow(dead_code, reason = "the peer of the benchmarks shows no metrics")]
    pub(crate) fn most(&self) -> usize {
        self.limits.total
    }

    /// Closes waiting connections, and lets requests in flight finish for up to `limits.drain`.
    pub(crate) async fn drain(&self) {
        let in_flight = self.admission.drain();
        if in_flight > 0 {
            info!(connections = in_flight, "Waiting for requests in flight");
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Serves `app` over plain HTTP/1.1 until `shutdown` is cancelled, then drains.
#[allow(dead_code, reason = "for tests and the peer of the benchmarks")]
pub(crate) async fn serve(listener: TcpListener, app: impl App, limits: Limits, shutdown: CancellationToken) {
    let connections = Connections::new(limits);
    connections.accept(listener, Plain, app, shutdown).await;
    connections.drain().await;
}

/// Lowers the connection cap to what the descriptor limit allows: each connection may need a second descriptor for
/// the file it is sent.
fn affordable(mut limits: Limits) -> Limits {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let affordable = descriptors
        .and_then(|n| usize::try_from(n).ok())
        .map_or(usize::MAX, |n| n.saturating_sub(RESERVED_DESCRIPTORS) / 2)
        .max(1);
    if affordable < limits.total {
        warn!(connections = affordable, "The limit on open files allows {affordable} connections only");
        limits.total = affordable;
    }
    limits
}

/// Socket options of a device connection. A connection that rejects them is served anyway; usually the peer is
/// already gone.
///
/// Not `TCP_USER_TIMEOUT`: while the peer's window is closed, Linux counts from the first probe, and continues when
/// the window opens by less than the kernel has ready, so it would cut off a slow reader that never stops.
fn prepare(tcp: &TcpStream) {
    let _ = tcp.set_nodelay(true);
}

/// The target of lines that the log has for each connection or request, if it is asked for them.
pub(crate) const ACCESS: &str = "proxyd::access";

/// Logs a refused handshake, at a rate that a person can read unless each is wanted.
fn tell_refused(peer: SocketAddr, error: &io::Error, shaking: &Mutex<Seldom>) {
    match shaking.lock().unwrap_or_else(PoisonError::into_inner).now() {
        Some(times) => info!(%peer, %error, times, "A TLS handshake was refused"),
        None => info!(target: ACCESS, %peer, %error, "A TLS handshake was refused"),
    }
}

/// Whether a failed accept says nothing about the next one.
fn concerns_one_connection(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::PROTO
                | Errno::PERM
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NOPROTOOPT
                | Errno::OPNOTSUPP
                | Errno::NONET
        )
    )
}
