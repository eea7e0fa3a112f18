//! The start of a connection: TLS or plain, by port and first byte.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, io};

use axum::http::Extensions;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, LazyConfigAcceptor, TlsAcceptor};
use tracing::debug;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::leaf::shown;
use super::provider::ACME_TLS;
use super::{Served, Tls};
use crate::listen::{Failed, Handshake, Tcp, Wire};

/// The first byte of a TLS connection: a record of the handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// How much is encrypted before it is given to the kernel in one go: a chunk of a blob, as it was read.
const SEALED_BYTES: usize = 256 * 1024;

/// The port of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// HTTP, and possibly HTTPS.
    Http,
    /// HTTPS only.
    Https,
    /// The admin API, HTTPS only.
    Admin,
    /// Metrics; no device uses it.
    Metrics,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        })
    }
}

/// How a request arrived; an extension of every request.
#[derive(Debug, Clone)]
pub(super) enum Arrival {
    /// Unencrypted.
    Plain(Port),
    /// Over TLS, with the settings at the time of the handshake.
    Secure(Arc<Served>),
}

/// The subject of a client certificate; an extension of every request on a connection with a valid one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientName(pub(crate) Arc<str>);

/// The entry of one port.
#[derive(Clone)]
pub(crate) struct Door {
    pub(super) tls: Arc<Tls>,
    pub(super) port: Port,
}

impl Handshake for Door {
    type Io = Stream;

    async fn shake(&self, wire: Wire) -> Result<(Stream, Extensions), Failed> {
        let state = self.tls.state();
        let mut extensions = Extensions::new();
        let speaks_tls = self.port != Port::Http || state.one_port;
        if !(speaks_tls && begins_with_handshake(wire.tcp()).await?) {
            if self.port != Port::Http && state.served.is_none() {
                return Err(refused("there is no certificate yet", wire));
            }
            extensions.insert(Arrival::Plain(self.port));
            return Ok((Stream::Plain(wire), extensions));
        }
        let (served, mut stream) = match (&state.served, self.tls.challenges().are_shown()) {
            (Some(served), false) => {
                (served, accepted(TlsAcceptor::from(Arc::clone(&served.config)).accept(wire)).await?)
            }
            (served, true) => {
                let mut acceptor = pin!(LazyConfigAcceptor::new(Acceptor::default(), wire));
                let begun = match acceptor.as_mut().await {
                    Ok(begun) => begun,
                    Err(error) => return Err(failed(error, acceptor.take_io())),
                };
                let hello = begun.client_hello();
                if hello.alpn().is_some_and(|mut names| names.any(|n| n == ACME_TLS)) {
                    let Some(challenge) = self.tls.challenges().shown(hello.server_name()) else {
                        return Err(refused("no challenge is open for that name", begun.io));
                    };
                    let mut stream = accepted(begun.into_stream(challenge)).await?;
                    stream.shutdown().await?;
                    return Err(io::Error::other("a challenge was answered").into());
                }
                let Some(served) = served else {
                    return Err(refused("there is no certificate yet", begun.io));
                };
                (served, accepted(begun.into_stream(Arc::clone(&served.config))).await?)
            }
            (None, false) => return Err(refused("there is no certificate", wire)),
        };
        extensions.insert(Arrival::Secure(Arc::clone(served)));
        if let Some(client) = client_of(&stream) {
            let peer = stream.get_ref().0.tcp().peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
            debug!(peer, client = &*client.0, "A client certificate was accepted");
            extensions.insert(client);
        }
        stream.get_mut().1.set_buffer_limit(Some(SEALED_BYTES));
        Ok((Stream::Tls(Box::new(stream)), extensions))
    }
}

/// The result of a handshake; a failed one keeps the connection, which may still have to deliver an alert.
async fn accepted(accept: Accept<Wire>) -> Result<TlsStream<Wire>, Failed> {
    accept.into_fallible().await.map_err(|(error, wire)| failed(error, Some(wire)))
}

fn failed(error: io::Error, wire: Option<Wire>) -> Failed {
    let was_broken_off = !error.get_ref().is_some_and(|why| why.is::<rustls::Error>());
    match wire {
        Some(wire) if !was_broken_off => Failed::Refused(error, wire),
        _ => Failed::Gone(error),
    }
}

fn refused(why: &str, wire: Wire) -> Failed {
    Failed::Refused(io::Error::other(why), wire)
}

/// Whether the connection begins with a TLS handshake.
async fn begins_with_handshake(tcp: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    if tcp.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(first == [HANDSHAKE_RECORD])
}

/// The subject of the client's certificate, which rustls has verified.
fn client_of(stream: &TlsStream<Wire>) -> Option<ClientName> {
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    Some(ClientName(shown(&certificate.subject().to_string()).into()))
}

/// A connection that carries HTTP.
pub(crate) enum Stream {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

/// Applies the same call to either variant.
macro_rules! either {
    ($this:expr, $stream:ident => $do:expr) => {
        match $this.get_mut() {
            Stream::Plain($stream) => {
                let $stream = Pin::new($stream);
                $do
            }
            Stream::Tls($stream) => {
                let $stream = Pin::new($stream);
                $do
            }
        }
    };
}

impl Tcp for Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(wire) => wire.tcp(),
            Self::Tls(stream) => stream.get_ref().0.tcp(),
        }
    }

    fn bare(&mut self) -> Option<&mut Wire> {
        match self {
            Self::Plain(wire) => Some(wire),
            Self::Tls(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}
