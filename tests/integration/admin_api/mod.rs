//! The admin API over HTTPS: who gets in, what is written about it, and the companion that uses it from afar.

mod access;
mod document;
mod readers;
mod remote;
mod rights;
mod rotation;

use std::net::SocketAddr;

use tests::http::{Connection, Request, Response};
use tests::server::{Server, Setup};

/// A store with a certificate of its own authority, and the admin API open to the network.
struct Site {
    store: Server,
    /// The authority, as PEM.
    ca: String,
    /// Where the admin API is.
    address: SocketAddr,
}

impl Site {
    fn new() -> Self {
        let store = Setup::default().config("proxy.port.https", "0").start();
        let _ = store.proxy(&["ca", "init"]).ok();
        let _ = store.proxy(&["ca", "issue-server"]).ok();
        let ca = store.proxy(&["ca", "show"]).ok();
        let _ = store.proxy(&["config", "proxy.admin.address=127.0.0.1:0"]).ok();
        let address = address(&store).expect("the admin API is open");
        Self { store, ca, address }
    }

    fn open(&self) -> Connection {
        Connection::open_tls(self.address, &self.ca).expect("the admin API listens")
    }

    /// One request with this login.
    fn ask(&self, method: &str, target: &str, token: &str) -> Response {
        let request =
            Request::new(method, target, "store").header("Authorization", &format!("Bearer {token}"));
        self.open().exchange(&request).expect("an answer")
    }
}

/// Where the admin API is open over HTTPS.
fn address(store: &Server) -> Option<SocketAddr> {
    store.status().admin_address?.strip_prefix("https://")?.parse().ok()
}
