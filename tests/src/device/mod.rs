//! A device: sends what snapd sends, byte for byte, and checks what it gets as snapd does.
//!
//! Based on requests recorded from snapd 2.57.6 and 2.77. The header order is that of Go's client: `Host`,
//! `User-Agent`, `Content-Length`, then the others by name, then `Accept-Encoding` unless the request is a `HEAD` or
//! has a `Range`.

pub mod actions;
pub mod answers;
pub mod assertions;
pub mod browse;
mod download;
pub mod session;
mod version;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use schema::assertion::Ref;

pub use self::actions::{Action, Installed, Wanted};
pub use self::answers::Outcome;
pub use self::browse::{Found, Info};
pub use self::version::Snapd;
use crate::http::{self, Request, Response};
use crate::server::Server;
use crate::world::{Identity, World};

/// How often snapd renews its session within one request.
const RENEWALS: usize = 4;

/// What went wrong, as snapd would tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// No session, hence no operation.
    Session(Response),
    /// An answer with a status that snapd does not expect.
    Status(Response),
    /// snapd says "not found" and goes on.
    NotFound,
    /// The store told of an error with a snap.
    Snap {
        /// The code of the error.
        code: String,
        /// The name it was tied to; empty when snapd could not tie it.
        name: String,
        /// The releases that exist, `ARCHITECTURE CHANNEL` each.
        releases: Vec<String>,
    },
    /// snapd refuses the whole answer.
    Rejected(String),
    /// snapd 2.65 and later would crash.
    Crash(String),
    /// Bytes or assertions differ from what was promised.
    Mismatch(String),
    /// The connection broke.
    Connection(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Trouble {}

impl Trouble {
    /// The status of the answer behind it, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Session(response) | Self::Status(response) => Some(response.status),
            _ => None,
        }
    }
}

/// The two families of header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `Snap-Device-*`.
    V2,
    /// `X-Device-Authorization`, `X-Ubuntu-*`.
    V1,
}

impl Dialect {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V2, Self::V1];

    /// The header that carries the session.
    #[must_use]
    pub fn authorization(self) -> &'static str {
        match self {
            Self::V2 => "Snap-Device-Authorization",
            Self::V1 => "X-Device-Authorization",
        }
    }
}

/// A device.
#[derive(Clone)]
pub struct Device {
    /// Which snapd it runs.
    pub snapd: Snapd,
    address: SocketAddr,
    host: String,
    url: String,
    /// Model, serial and key; none before registration.
    pub identity: Option<Identity>,
    /// The session it holds.
    pub session: Option<String>,
    /// The store it claims; the model's store unless a test says otherwise.
    pub store: Option<String>,
    /// Its architecture.
    pub architecture: String,
    /// What is installed.
    pub installed: Vec<Installed>,
    /// Whether the operation was requested through snapd's own API by the `snap` command.
    pub by_command: bool,
    /// The formats of deltas that it names, in the order of its preference.
    pub delta_formats: String,
    /// Documents that are built in: the root account and key.
    trusted: Vec<Ref>,
    root: Option<World>,
}

impl Device {
    /// A device that was never registered.
    #[must_use]
    pub fn anonymous(server: &Server, snapd: Snapd) -> Self {
        Self::at(server.address, &server.url, snapd)
    }

    /// A device without identity that reaches a store with this base of links at this address.
    #[must_use]
    pub fn at(address: SocketAddr, url: &str, snapd: Snapd) -> Self {
        Self {
            snapd,
            address,
            host: url.split_once("://").map_or(url, |(_, host)| host).to_owned(),
            url: url.to_owned(),
            identity: None,
            session: None,
            store: None,
            architecture: "amd64".to_owned(),
            installed: Vec::new(),
            by_command: true,
            delta_formats: "xdelta3".to_owned(),
            trusted: Vec::new(),
            root: None,
        }
    }

    /// A registered device.
    #[must_use]
    pub fn new(server: &Server, snapd: Snapd, identity: &Identity) -> Self {
        let store = identity.store().map(str::to_owned);
        Self { identity: Some(identity.clone()), store, ..Self::anonymous(server, snapd) }
    }

    /// Trusts the root of a world, so that it can check what it fetches.
    #[must_use]
    pub fn trusting(mut self, world: &World) -> Self {
        self.trusted = vec![world.root_account().reference(), world.root_key().reference()];
        self.root = Some(world.clone());
        self
    }

    /// Follows a server that moved to another port.
    pub fn move_to(&mut self, server: &Server) {
        self.follow(server.address, &server.url);
    }

    /// Follows a store to another address and another base of links.
    pub fn follow(&mut self, address: SocketAddr, url: &str) {
        self.address = address;
        url.split_once("://").map_or(url, |(_, host)| host).clone_into(&mut self.host);
        url.clone_into(&mut self.url);
    }

    /// Headers that go with every request of a dialect, by name.
    #[must_use]
    pub fn headers(&self, dialect: Dialect, accept: &str) -> BTreeMap<&'static str, String> {
        let mut headers = BTreeMap::from([("Accept", accept.to_owned())]);
        headers.insert("Snap-Device-Capabilities", "default-tracks".to_owned());
        if let Some(session) = &self.session {
            headers.insert(dialect.authorization(), format!("Macaroon root=\"{session}\""));
        }
        let named: [(&'static str, Option<&str>); 5] = match dialect {
            Dialect::V2 => [
                ("Snap-Classic", Some("true")),
                ("Snap-Device-Architecture", Some(&self.architecture)),
                ("Snap-Device-Series", Some("16")),
                ("Snap-Device-Store", self.store.as_deref()),
                ("Snap-Client-User-Agent", self.by_command.then(|| self.snapd.command_agent())),
            ],
            Dialect::V1 => [
                ("X-Ubuntu-Classic", Some("true")),
                ("X-Ubuntu-Architecture", Some(&self.architecture)),
                ("X-Ubuntu-Series", Some("16")),
                ("X-Ubuntu-Store", self.store.as_deref()),
                ("X-Ubuntu-Wire-Protocol", Some("1")),
            ],
        };
        for (name, value) in named {
            if let Some(value) = value {
                headers.insert(name, value.to_owned());
            }
        }
        headers
    }

    /// A request with these headers, in Go's order.
    #[must_use]
    pub fn request(
        &self,
        method: &str,
        target: &str,
        headers: &BTreeMap<&'static str, String>,
        body: Option<&[u8]>,
    ) -> Request {
        let mut request = Request::new(method, target, &self.host).header("User-Agent", self.snapd.agent());
        if let Some(body) = body {
            request = request.body(body);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if method != "HEAD" && !headers.contains_key("Range") {
            request = request.header("Accept-Encoding", "gzip");
        }
        request
    }

    /// Sends a request as it is, without a session of its own.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn send(&self, request: &Request) -> Result<Response, Trouble> {
        http::exchange(self.address, request).map_err(|error| Trouble::Connection(error.to_string()))
    }

    /// Makes a request as snapd makes each: with a session when there is a serial, renewed when the store asks for it.
    ///
    /// # Errors
    /// No session, or a broken connection.
    pub fn call(&mut self, make: impl Fn(&Self) -> Request) -> Result<Response, Trouble> {
        self.ensure_session()?;
        for _ in 0..RENEWALS {
            let response = self.send(&make(self))?;
            if !asks_for_renewal(&response) || self.identity.is_none() {
                return Ok(response);
            }
            self.renew()?;
        }
        self.send(&make(self))
    }

    /// The path and query of a link of the store.
    ///
    /// # Errors
    /// A link that is relative or leads elsewhere.
    pub fn target_of<'a>(&self, link: &'a str) -> Result<&'a str, Trouble> {
        link.strip_prefix(&self.url)
            .filter(|path| path.starts_with('/'))
            .ok_or_else(|| Trouble::Mismatch(format!("the link {link} does not lead to {}", self.url)))
    }
}

/// Whether a 401 makes snapd fetch a new session.
#[must_use]
pub fn asks_for_renewal(response: &Response) -> bool {
    response.status == 401
        && response.header("WWW-Authenticate").is_some_and(|value| value.contains("refresh_device_session=1"))
}

/// Percent-encodes a query value as Go does.
fn query_escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}
