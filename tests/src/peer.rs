//! A client that controls its connection to the byte: the encryption, when each side closes, and what arrived until
//! then.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

/// How bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// As they are.
    Plain,
    /// In TLS 1.2.
    Tls12,
    /// In TLS 1.3.
    Tls13,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Tls12, Self::Tls13];
}

/// One connection of that client.
pub struct Peer {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

/// What came until the connection ended.
#[derive(Debug)]
pub struct Came {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// How it ended: by a goodbye, or otherwise.
    pub end: io::Result<()>,
}

impl Peer {
    /// Connects; whose certificate it is, does not matter.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn dial(address: SocketAddr, transport: Transport) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?, transport, &[])
    }

    /// The same over a connection that is there, offering these protocols by ALPN.
    ///
    /// # Errors
    /// The connection is no good.
    pub fn over(tcp: TcpStream, transport: Transport, protocols: &[&str]) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(60)))?;
        tcp.set_write_timeout(Some(Duration::from_secs(60)))?;
        if transport == Transport::Plain {
            return Ok(Self { tcp, tls: None });
        }
        let mut config = trusting_anybody(transport, aws_lc_rs::default_provider())?;
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::from(tcp.peer_addr()?.ip());
        let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        Ok(Self { tcp, tls: Some(Box::new(tls)) })
    }

    /// Sends.
    ///
    /// # Errors
    /// The connection is over.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.tcp).write_all(bytes),
            None => self.tcp.write_all(bytes),
        }
    }

    /// Says goodbye in TLS, and goes on reading.
    ///
    /// # Errors
    /// The connection is over.
    pub fn say_goodbye(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        tls.send_close_notify();
        while tls.wants_write() {
            tls.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }

    /// Sends nothing more, without a goodbye in TLS.
    ///
    /// # Errors
    /// The connection is over.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.tcp.shutdown(Shutdown::Write)
    }

    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.tcp).read(into),
            None => self.tcp.read(into),
        }
    }

    /// Reads to the end, so many bytes at a time.
    #[must_use]
    pub fn drain(&mut self, piece: usize) -> Came {
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; piece]);
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Came { bytes, end: Ok(()) },
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) => return Came { bytes, end: Err(error) },
            }
        }
    }
}

impl Came {
    /// The status and the body of the only answer.
    ///
    /// # Errors
    /// What is missing of it, or that it did not end well.
    pub fn whole(&self) -> Result<(u16, &[u8]), String> {
        let end = self.bytes.windows(4).position(|part| part == b"\r\n\r\n");
        let Some(end) = end else { return Err(format!("no head in {} bytes: {self:?}", self.bytes.len())) };
        let head = String::from_utf8_lossy(&self.bytes[..end]).to_ascii_lowercase();
        let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(|| head.clone())?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let body = &self.bytes[end + 4..];
        if body.len() != length.unwrap_or(0) {
            return Err(format!("{} of {length:?} bytes, then {:?}", body.len(), self.end));
        }
        match &self.end {
            Ok(()) => Ok((status, body)),
            Err(error) => Err(format!("all {} bytes, then {error}", body.len())),
        }
    }
}

/// A client of one version of TLS that takes any certificate.
///
/// # Errors
/// The provider has nothing for this version.
pub fn trusting_anybody(transport: Transport, provider: CryptoProvider) -> io::Result<ClientConfig> {
    let version = if transport == Transport::Tls12 { &TLS12 } else { &TLS13 };
    let provider = Arc::new(provider);
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    Ok(config)
}

/// Takes any certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
