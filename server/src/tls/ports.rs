//! The ports for devices: one for HTTP, and with TLS one for HTTPS, or the same one for both. In addition, if
//! configured, the ports of the admin API and the metrics.

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
use super::handed::Handed;

/// Connections waiting to be accepted.
const BACKLOG: i32 = 1024;

/// A port that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: set {keys} with `proxy config`")]
pub(crate) struct PortError {
    address: SocketAddr,
    keys: &'static str,
    source: io::Error,
}

/// An opened port to be served.
pub(crate) struct Opening {
    pub(crate) listener: TcpListener,
    pub(crate) port: Port,
    /// Cancelled when no new connection may come in.
    pub(crate) closed: CancellationToken,
}

/// The ports.
pub(super) struct Ports {
    address: IpAddr,
    /// As requested; 0 for any.
    http_wanted: u16,
    pub(super) http: SocketAddr,
    more: Mutex<More>,
    /// An HTTPS port from a service manager. It is always served, so that nobody waits there while TLS is off.
    handed_https: Option<SocketAddr>,
    openings: UnboundedSender<Opening>,
    stop: CancellationToken,
}

/// Ports that depend on the settings.
#[derive(Default)]
struct More {
    /// A separate HTTPS port.
    https: Option<Open>,
    /// The admin API's port.
    admin: Option<Open>,
    /// The metrics' port.
    metrics: Option<Open>,
}

/// A port that is open.
struct Open {
    wanted: SocketAddr,
    bound: SocketAddr,
    /// `None` for a port from a service manager, which never closes.
    closed: Option<CancellationToken>,
}

/// The planned ports, with their sockets.
pub(super) struct Plan {
    /// Whether HTTP and HTTPS share one port.
    pub(super) shared: bool,
    https: Next,
    admin: Next,
    metrics: Next,
}

/// The plan for one port.
enum Next {
    Closed,
    /// Unchanged.
    Kept(SocketAddr),
    /// A port from a service manager, already served.
    Handed(SocketAddr),
    New {
        listener: TcpListener,
        wanted: SocketAddr,
        bound: SocketAddr,
    },
}

impl Ports {
    /// Opens the configured HTTP port unless it was passed in. `openings` receives every port to be served, until
    /// `stop`.
    pub(super) fn open(
        settings: &Settings,
        handed: Handed,
        openings: UnboundedSender<Opening>,
        stop: CancellationToken,
    ) -> Result<Self, PortError> {
        let address = settings.listen.address;
        let http_wanted = settings.listen.http;
        let serve = |listener, port| {
            // If the receiver is gone, the server is stopping, and it does not matter.
            let _ = openings.send(Opening { listener, port, closed: stop.child_token() });
        };
        let (listener, http) = match handed.http {
            Some(listener) => adopt(listener, "proxy.ipaddress and proxy.port.http")?,
            None => bind(SocketAddr::new(address, http_wanted), "proxy.ipaddress and proxy.port.http")?,
        };
        serve(listener, Port::Http);
        let mut handed_https = None;
        if let Some(listener) = handed.https {
            let (listener, bound) = adopt(listener, "proxy.ipaddress and proxy.port.https")?;
            serve(listener, Port::Https);
            handed_https = Some(bound);
        }
        Ok(Self { address, http_wanted, http, more: Mutex::default(), handed_https, openings, stop })
    }

    /// Opens what is needed with or without TLS, without changing anything yet.
    pub(super) fn plan(&self, settings: &Settings, tls: bool) -> Result<Plan, PortError> {
        let more = self.more();
        let https = settings.listen.https;
        let shared = tls && self.handed_https.is_none() && https != 0 && https == self.http_wanted;
        let https = (tls && !shared).then(|| SocketAddr::new(self.address, https));
        let https = match self.handed_https {
            Some(bound) if tls => Next::Handed(bound),
            _ => plan(more.https.as_ref(), https, "proxy.ipaddress and proxy.port.https")?,
        };
        Ok(Plan {
            shared,
            https,
            admin: plan(more.admin.as_ref(), settings.listen.admin, "proxy.admin.address")?,
            metrics: plan(more.metrics.as_ref(), settings.listen.metrics, "proxy.metrics.address")?,
        })
    }

    /// Applies the plan. Connections through a closing port stay until they are done.
    pub(super) fn apply(&self, plan: Plan) {
        let mut more = self.more();
        self.take(&mut more.https, plan.https, Port::Https);
        self.take(&mut more.admin, plan.admin, Port::Admin);
        self.take(&mut more.metrics, plan.metrics, Port::Metrics);
    }

    fn take(&self, held: &mut Option<Open>, next: Next, port: Port) {
        if let Next::Kept(_) = next {
            return;
        }
        if let Some(Open { bound, closed: Some(closed), .. }) = held.take() {
            info!(address = %bound, "No longer listening on {bound} ({port})");
            closed.cancel();
        }
        *held = match next {
            Next::New { listener, wanted, bound } => {
                let closed = self.stop.child_token();
                let _ = self.openings.send(Opening { listener, port, closed: closed.clone() });
                Some(Open { wanted, bound, closed: Some(closed) })
            }
            Next::Handed(bound) => Some(Open { wanted: bound, bound, closed: None }),
            Next::Kept(_) | Next::Closed => None,
        };
    }

    /// The separate HTTPS port, while TLS is on.
    pub(super) fn https_bound(&self) -> Option<SocketAddr> {
        self.more().https.as_ref().map(|open| open.bound)
    }

    /// The admin API's port, while it is open.
    pub(super) fn admin_bound(&self) -> Option<SocketAddr> {
        self.more().admin.as_ref().map(|open| open.bound)
    }

    /// The metrics' port, while it is open.
    pub(super) fn metrics_bound(&self) -> Option<SocketAddr> {
        self.more().metrics.as_ref().map(|open| open.bound)
    }

    fn more(&self) -> MutexGuard<'_, More> {
        self.more.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// The HTTPS port once this plan is applied.
    pub(super) fn https_port(&self, ports: &Ports) -> Option<u16> {
        match &self.https {
            Next::Closed => self.shared.then(|| ports.http.port()),
            Next::Kept(bound) | Next::Handed(bound) | Next::New { bound, .. } => Some(bound.port()),
        }
    }
}

/// Serves an already open socket.
fn adopt(socket: std::net::TcpListener, keys: &'static str) -> Result<(TcpListener, SocketAddr), PortError> {
    let mut address = SocketAddr::from(([0, 0, 0, 0], 0));
    let open = || {
        address = socket.local_addr()?;
        TcpListener::from_std(socket)
    };
    open().map(|listener| (listener, address)).map_err(|source| PortError { address, keys, source })
}

fn plan(held: Option<&Open>, wanted: Option<SocketAddr>, keys: &'static str) -> Result<Next, PortError> {
    let Some(wanted) = wanted else { return Ok(Next::Closed) };
    if let Some(open) = held.filter(|open| open.wanted == wanted) {
        return Ok(Next::Kept(open.bound));
    }
    let (listener, bound) = bind(wanted, keys)?;
    Ok(Next::New { listener, wanted, bound })
}

fn bind(wanted: SocketAddr, keys: &'static str) -> Result<(TcpListener, SocketAddr), PortError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(wanted), Type::STREAM, Some(Protocol::TCP))?;
        if wanted.ip() == IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED) {
            // `[::]` accepts IPv4 as well, whatever the system's default is.
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
    open().map_err(|source| PortError { address: wanted, keys, source })
}
