//! The ports devices come through: one for HTTP, and while TLS is on one for HTTPS, or the same for both.

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

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A port that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: set proxy.ipaddress and {key} with `proxy config`")]
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
    /// An HTTPS port that a service manager opened. It is served all the time: while TLS is off nobody should wait there.
    handed_https: Option<SocketAddr>,
    openings: UnboundedSender<Opening>,
    stop: CancellationToken,
}

/// An HTTPS port of its own.
struct Https {
    wanted: u16,
    bound: SocketAddr,
    /// `None` for a port that a service manager opened, which never closes.
    closed: Option<CancellationToken>,
}

/// How the ports are to be, with what that takes at hand.
pub(super) enum Plan {
    /// HTTP alone.
    One,
    /// HTTP and HTTPS on one port.
    Shared,
    /// The HTTPS port that is open already stays.
    Kept(SocketAddr),
    /// The HTTPS port that a service manager opened.
    Handed(SocketAddr),
    /// A new HTTPS port.
    New { listener: TcpListener, wanted: u16, bound: SocketAddr },
}

impl Ports {
    /// Opens the HTTP port of the settings, unless it was handed over. `openings` gets every port that is to be served from now on, until `stop`.
    pub(super) fn open(
        settings: &Settings,
        handed: Handed,
        openings: UnboundedSender<Opening>,
        stop: CancellationToken,
    ) -> Result<Self, PortError> {
        let address = settings.bind_address();
        let http_wanted = settings.port("proxy.port.http");
        let serve = |listener, port| {
            // The receiver is gone when the server stops, and then it does not matter.
            let _ = openings.send(Opening { listener, port, closed: stop.child_token() });
        };
        let (listener, http) = match handed.http {
            Some(listener) => adopt(listener, "proxy.port.http")?,
            None => bind(SocketAddr::new(address, http_wanted), "proxy.port.http")?,
        };
        serve(listener, Port::Http);
        let mut handed_https = None;
        if let Some(listener) = handed.https {
            let (listener, bound) = adopt(listener, "proxy.port.https")?;
            serve(listener, Port::Https);
            handed_https = Some(bound);
        }
        Ok(Self { address, http_wanted, http, https: Mutex::default(), handed_https, openings, stop })
    }

    /// Opens what is needed with or without TLS, and changes nothing yet.
    pub(super) fn plan(&self, settings: &Settings, tls: bool) -> Result<Plan, PortError> {
        if !tls {
            return Ok(Plan::One);
        }
        if let Some(bound) = self.handed_https {
            return Ok(Plan::Handed(bound));
        }
        let wanted = settings.port("proxy.port.https");
        if wanted != 0 && wanted == self.http_wanted {
            return Ok(Plan::Shared);
        }
        if let Some(open) = self.https().as_ref().filter(|open| open.wanted == wanted) {
            return Ok(Plan::Kept(open.bound));
        }
        let (listener, bound) = bind(SocketAddr::new(self.address, wanted), "proxy.port.https")?;
        Ok(Plan::New { listener, wanted, bound })
    }

    /// Lets devices in as planned. Those who came through a port that closes stay until they are done.
    pub(super) fn apply(&self, plan: Plan) {
        let mut https = self.https();
        if let Plan::Kept(_) = plan {
            return;
        }
        if let Some(Https { bound, closed: Some(closed), .. }) = https.take() {
            info!(address = %bound, "No longer listening on {bound} (https)");
            closed.cancel();
        }
        *https = match plan {
            Plan::New { listener, wanted, bound } => {
                let closed = self.stop.child_token();
                let _ = self.openings.send(Opening { listener, port: Port::Https, closed: closed.clone() });
                Some(Https { wanted, bound, closed: Some(closed) })
            }
            Plan::Handed(bound) => Some(Https { wanted: bound.port(), bound, closed: None }),
            _ => None,
        };
    }

    /// The HTTPS port of its own, while there is one with TLS.
    pub(super) fn https_bound(&self) -> Option<SocketAddr> {
        self.https().as_ref().map(|open| open.bound)
    }

    fn https(&self) -> MutexGuard<'_, Option<Https>> {
        self.https.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// The port of HTTPS, once this is applied.
    pub(super) fn https_port(&self, ports: &Ports) -> Option<u16> {
        match self {
            Self::One => None,
            Self::Shared => Some(ports.http.port()),
            Self::Kept(bound) | Self::Handed(bound) | Self::New { bound, .. } => Some(bound.port()),
        }
    }
}

/// Serves what is open already.
fn adopt(socket: std::net::TcpListener, key: &'static str) -> Result<(TcpListener, SocketAddr), PortError> {
    let mut address = SocketAddr::from(([0, 0, 0, 0], 0));
    let open = || {
        address = socket.local_addr()?;
        TcpListener::from_std(socket)
    };
    open().map(|listener| (listener, address)).map_err(|source| PortError { address, key, source })
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
