//! HTTP/1.1 to the byte: requests go out exactly as spelled, answers come back with every header in the order sent.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The longest a test waits for bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, `HEAD`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers in the order and spelling to send, `Host` and `Content-Length` included.
    pub headers: Vec<(String, String)>,
    /// The body; its length is not announced unless a header does.
    pub body: Vec<u8>,
}

impl Request {
    /// A request with a `Host` and nothing else.
    #[must_use]
    pub fn new(method: &str, target: &str, host: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("Host".to_owned(), host.to_owned())],
            body: Vec::new(),
        }
    }

    /// Adds a header at the end.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body and announces its length.
    #[must_use]
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.header("Content-Length", &body.len().to_string())
    }

    /// Replaces the value of a header, or removes it.
    pub fn replace(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => {
                for (_, old) in self.headers.iter_mut().filter(|(held, _)| held == name) {
                    value.clone_into(old);
                }
            }
            None => self.headers.retain(|(held, _)| held != name),
        }
    }

    /// What goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend(&self.body);
        bytes
    }
}

/// One answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers as sent.
    pub headers: Vec<(String, String)>,
    /// The body, decoded when it came as gzip.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is something else.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        let shown: String = text.chars().take(600).collect();
        write!(f, "{} {:?} {shown}", self.status, self.headers)
    }
}

/// A connection that can carry one request after another.
pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
}

/// A stream socket of either family.
trait Stream: io::Read + io::Write + Send {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}
impl Stream for rustls::StreamOwned<rustls::ClientConnection, TcpStream> {}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, Box::new(stream)) })
    }

    /// Connects through TLS, and trusts nobody but the authority of `ca`, PEM text.
    ///
    /// # Errors
    /// Nobody listens there, or it is not who it should be.
    pub fn open_tls(address: SocketAddr, ca: &str) -> io::Result<Self> {
        let source = schema::tls::Source { name: "the authority", bytes: ca.as_bytes() };
        let mut roots = rustls::RootCertStore::empty();
        for certificate in
            schema::tls::trusted_certificates(&[source]).map_err(io::Error::other)?.certificates
        {
            roots.add(certificate).map_err(io::Error::other)?;
        }
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let connection = rustls::ClientConnection::new(config.into(), address.ip().into());
        let stream = rustls::StreamOwned::new(connection.map_err(io::Error::other)?, tcp);
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, Box::new(stream)) })
    }

    /// Connects to a Unix socket.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open_unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(Box::new(stream)) })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The connection breaks, stalls, or carries something that is not HTTP.
    pub fn exchange(&mut self, request: &Request) -> io::Result<Response> {
        self.send(&request.bytes())?;
        self.receive(request.method == "HEAD", usize::MAX)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads an answer, but no more than `limit` bytes of its body.
    ///
    /// # Errors
    /// The connection breaks, stalls, or carries something that is not HTTP.
    pub fn receive(&mut self, head_only: bool, limit: usize) -> io::Result<Response> {
        let status_line = self.line()?;
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| bad(&format!("not a status line: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut response = Response { status, headers, body: Vec::new() };
        if head_only || matches!(status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        response.body = self.body(&response, limit)?;
        if response.header("Content-Encoding") == Some("gzip") {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&response.body[..]).read_to_end(&mut plain)?;
            response.body = plain;
        }
        Ok(response)
    }

    fn body(&mut self, response: &Response, limit: usize) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if response.header("Transfer-Encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&self.line()?, 16).map_err(|_| bad("an odd chunk size"))?;
                let start = body.len();
                body.resize(start + size, 0);
                self.stream.read_exact(&mut body[start..])?;
                self.line()?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        match response.header("Content-Length") {
            Some(length) => {
                let length: usize = length.parse().map_err(|_| bad("an odd content length"))?;
                body.resize(length.min(limit), 0);
                self.stream.read_exact(&mut body)?;
            }
            None => {
                self.stream.read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// Sends one request on a connection of its own.
///
/// # Errors
/// Nobody listens, or the connection breaks.
pub fn exchange(address: SocketAddr, request: &Request) -> io::Result<Response> {
    Connection::open(address)?.exchange(request)
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
