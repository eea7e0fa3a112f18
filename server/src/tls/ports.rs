//! The ports that are open: one for HTTP, while TLS is on one for HTTPS or the same for both, and one for the metrics
//! while it has an address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use schema::config::Settings;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::door::Port;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A port that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: set {key} with `proxy config`")]
pub(crate) struct PortError {
    address: SocketAddr,
    key: &'static str,
    source: io::Error,
}

/// A port that was opened and is to be served.
pub(crate) struct Opening {
    pub(crate) listener: TcpListener,
    pub(crate) port: Port,
    /// Told when nobody else is to come in.
    pub(crate) closed: CancellationToken,
}

/// The ports.
pub(super) struct Ports {
    address: IpAddr,
    /// As it was asked for; 0 for any.
    http_wanted: u16,
    pub(super) http: SocketAddr,
    https: Mutex<Option<Https>>,
    metrics: Mutex<Option<Metrics>>,
    openings: UnboundedSender<Opening>,
    stop: CancellationToken,
}

/// An HTTPS port of its own.
struct Https {
    wanted: u16,
    bound: SocketAddr,
    closed: CancellationToken,
}

/// The port of the metrics.
struct Metrics {
    wanted: SocketAddr,
    bound: SocketAddr,
    closed: CancellationToken,
}

/// How the port of the metrics is to be.
pub(super) enum MetricsPlan {
    /// As it is.
    Kept,
    /// Closed.
    Off,
    /// Another one.
    New { listener: TcpListener, wanted: SocketAddr, bound: SocketAddr },
}

/// How the ports are to be, with what that takes at hand.
pub(super) enum Plan {
    /// HTTP alone.
    One,
    /// HTTP and HTTPS on one port.
    Shared,
    /// The HTTPS port that is open already stays.
    Kept(SocketAddr),
    /// A new HTTPS port.
    New { listener: TcpListener, wanted: u16, bound: SocketAddr },
}

impl Ports {
    /// Opens the HTTP port of the settings. `openings` gets every port that is to be served from now on, until `stop`.
    pub(super) fn open(
        settings: &Settings,
        openings: UnboundedSender<Opening>,
        stop: CancellationToken,
    ) -> Result<Self, PortError> {
        let address = settings.bind_address();
        let http_wanted = settings.port("proxy.port.http");
        let (listener, http) =
            bind(SocketAddr::new(address, http_wanted), "proxy.ipaddress and proxy.port.http")?;
        // The receiver is gone when the server stops, and then it does not matter.
        let _ = openings.send(Opening { listener, port: Port::Http, closed: stop.child_token() });
        Ok(Self {
            address,
            http_wanted,
            http,
            https: Mutex::default(),
            metrics: Mutex::default(),
            openings,
            stop,
        })
    }

    /// Opens what is needed with or without TLS, and changes nothing yet.
    pub(super) fn plan(&self, settings: &Settings, tls: bool) -> Result<Plan, PortError> {
        if !tls {
            return Ok(Plan::One);
        }
        let wanted = settings.port("proxy.port.https");
        if wanted != 0 && wanted == self.http_wanted {
            return Ok(Plan::Shared);
        }
        if let Some(open) = self.https().as_ref().filter(|open| open.wanted == wanted) {
            return Ok(Plan::Kept(open.bound));
        }
        let (listener, bound) =
            bind(SocketAddr::new(self.address, wanted), "proxy.ipaddress and proxy.port.https")?;
        Ok(Plan::New { listener, wanted, bound })
    }

    /// Lets devices in as planned. Those who came through a port that closes stay until they are done.
    pub(super) fn apply(&self, plan: Plan) {
        let mut https = self.https();
        if let Plan::Kept(_) = plan {
            return;
        }
        if let Some(open) = https.take() {
            info!(address = %open.bound, "No longer listening on {} (https)", open.bound);
            open.closed.cancel();
        }
        if let Plan::New { listener, wanted, bound } = plan {
            let closed = self.stop.child_token();
            let _ = self.openings.send(Opening { listener, port: Port::Https, closed: closed.clone() });
            *https = Some(Https { wanted, bound, closed });
        }
    }

    /// Opens the port of the metrics if the settings want another one than there is, and changes nothing yet.
    pub(super) fn plan_metrics(&self, settings: &Settings) -> Result<MetricsPlan, PortError> {
        let Ok(wanted) = settings.value("proxy.metrics.address").parse() else { return Ok(MetricsPlan::Off) };
        if lock(&self.metrics).as_ref().is_some_and(|open| open.wanted == wanted) {
            return Ok(MetricsPlan::Kept);
        }
        let (listener, bound) = bind(wanted, "proxy.metrics.address")?;
        Ok(MetricsPlan::New { listener, wanted, bound })
    }

    /// Shows the metrics as planned.
    pub(super) fn apply_metrics(&self, plan: MetricsPlan) {
        let mut metrics = lock(&self.metrics);
        if let MetricsPlan::Kept = plan {
            return;
        }
        if let Some(open) = metrics.take() {
            info!(address = %open.bound, "No longer listening on {} (metrics)", open.bound);
            open.closed.cancel();
        }
        if let MetricsPlan::New { listener, wanted, bound } = plan {
            let closed = self.stop.child_token();
            let _ = self.openings.send(Opening { listener, port: Port::Metrics, closed: closed.clone() });
            *metrics = Some(Metrics { wanted, bound, closed });
        }
    }

    /// Where the metrics are shown, while they are.
    pub(super) fn metrics_bound(&self) -> Option<SocketAddr> {
        lock(&self.metrics).as_ref().map(|open| open.bound)
    }

    /// The HTTPS port of its own, while there is one.
    pub(super) fn https_bound(&self) -> Option<SocketAddr> {
        self.https().as_ref().map(|open| open.bound)
    }

    fn https(&self) -> MutexGuard<'_, Option<Https>> {
        lock(&self.https)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plan {
    /// The port of HTTPS, once this is applied.
    pub(super) fn https_port(&self, ports: &Ports) -> Option<u16> {
        match self {
            Self::One => None,
            Self::Shared => Some(ports.http.port()),
            Self::Kept(bound) | Self::New { bound, .. } => Some(bound.port()),
        }
    }
}

fn bind(wanted: SocketAddr, key: &'static str) -> Result<(TcpListener, SocketAddr), PortError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(wanted), Type::STREAM, Some(Protocol::TCP))?;
        if wanted.ip() == IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED) {
            // `[::]` means everybody, whatever the system's default is.
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&wanted.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    open().map_err(|source| PortError { address: wanted, key, source })
}
