//! Sockets opened and passed by a service manager, so that ports below 1024 need no privileges.
//!
//! systemd names each of them (`FileDescriptorName=`): `http` or `https`. They replace the configured ports and stay
//! open as long as the server runs.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{SockRef, Type};

/// The ports that are already open.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    pub(super) http: Option<TcpListener>,
    pub(super) https: Option<TcpListener>,
}

/// Why a socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum HandedError {
    /// The variables that describe the sockets are malformed.
    #[error(
        "cannot tell which sockets the service manager handed over: LISTEN_PID or LISTEN_FDS is not a number"
    )]
    Variables,
    /// The socket's name is unknown.
    #[error(
        "cannot serve the socket {0:?} of the service manager: name it with FileDescriptorName=http or =https"
    )]
    Name(String),
    /// Two sockets have the same name.
    #[error("cannot serve two sockets named {0}: leave one ListenStream= in its socket unit")]
    Twice(String),
    /// The socket is not a listening TCP socket.
    #[error("cannot serve the socket {0} of the service manager: it is not a listening TCP socket")]
    Kind(String, #[source] io::Error),
}

impl Handed {
    /// Takes the sockets described by this process's environment. Call it once: the caller owns them.
    pub(crate) fn take() -> Result<Self, HandedError> {
        let mut handed = Self::default();
        for (name, socket) in sd_listen_fds::get().map_err(|_| HandedError::Variables)? {
            handed.add(&name.unwrap_or_default(), socket.into())?;
        }
        Ok(handed)
    }

    fn add(&mut self, name: &str, socket: TcpListener) -> Result<(), HandedError> {
        let place = match name {
            "http" => &mut self.http,
            "https" => &mut self.https,
            _ => return Err(HandedError::Name(name.chars().take(80).collect())),
        };
        check(&socket).map_err(|why| HandedError::Kind(name.to_owned(), why))?;
        match place.replace(socket) {
            None => Ok(()),
            Some(_) => Err(HandedError::Twice(name.to_owned())),
        }
    }
}

/// Checks a socket and prepares it for serving.
fn check(socket: &TcpListener) -> io::Result<SocketAddr> {
    let known = SockRef::from(socket);
    if known.r#type()? != Type::STREAM || !known.is_listener()? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    socket.set_nonblocking(true)?;
    socket.local_addr()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpStream, UdpSocket};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn one_listening_socket_for_each_known_name() {
        let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
        let mut handed = Handed::default();
        handed.add("http", listener()).unwrap();
        handed.add("https", listener()).unwrap();
        assert!(matches!(handed.add("http", listener()), Err(HandedError::Twice(_))));
        for name in ["", "unknown", "airlock-http.socket"] {
            assert!(matches!(handed.add(name, listener()), Err(HandedError::Name(_))), "{name}");
        }
    }

    #[test]
    fn what_is_no_listening_tcp_socket_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let others: [OwnedFd; 3] = [
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            TcpStream::connect(listener.local_addr().unwrap()).unwrap().into(),
            UnixListener::bind(folder.path().join("s")).unwrap().into(),
        ];
        for socket in others {
            let refused = Handed::default().add("http", socket.into());
            assert!(matches!(refused, Err(HandedError::Kind(..))), "{refused:?}");
        }
    }
}
