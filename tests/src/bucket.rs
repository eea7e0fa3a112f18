//! An S3 object store of the test's own: the `moto` server, on loopback.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::{Request, Response, exchange};
use crate::server::{Setup, build_folder};

/// The longest it may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bucket that servers use.
pub const BUCKET: &str = "snaps";

/// Who asks for the tests.
const OPERATOR: &str = "AWS4-HMAC-SHA256 Credential=TESTS/20260101/us-east-1/s3/aws4_request, \
                        SignedHeaders=host, Signature=0";

/// A running object store with one empty bucket.
pub struct ObjectStore {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl ObjectStore {
    /// Starts one.
    ///
    /// # Panics
    /// When it is not installed or does not come up.
    #[must_use]
    pub fn start() -> Self {
        let program = build_folder().join("../tools/s3/bin/moto_server");
        let begun = Instant::now();
        loop {
            // Another program may take the port meanwhile; then another is tried.
            let port = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
            let address = port.expect("a free port");
            let mut child = Command::new(&program)
                .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("moto_server is missing: run `tests/run`, which installs it");
            while child.try_wait().expect("an own process").is_none() {
                assert!(begun.elapsed() < PATIENCE, "moto_server does not come up");
                if TcpStream::connect(address).is_ok() {
                    let store = Self { child, address };
                    assert_eq!(store.ask("PUT", "").status, 200);
                    return store;
                }
                std::thread::yield_now();
            }
        }
    }

    /// Its own answer about an object of the bucket, or with a query about the bucket.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn ask(&self, method: &str, key: &str) -> Response {
        self.send(Request::new(method, &target(key), &self.address.to_string()))
    }

    /// Gives an object another content.
    ///
    /// # Panics
    /// When it does not take it.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        let request = Request::new("PUT", &target(key), &self.address.to_string()).body(bytes);
        assert_eq!(self.send(request).status, 200);
    }

    /// The names of all objects that begin so.
    #[must_use]
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let listing = self.ask("GET", "?list-type=2").text();
        let keys = listing.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.filter(|key| key.starts_with(prefix)).map(str::to_owned).collect()
    }

    /// How many uploads in parts are under way.
    #[must_use]
    pub fn uploads(&self) -> usize {
        self.ask("GET", "?uploads").text().matches("<UploadId>").count()
    }

    fn send(&self, request: Request) -> Response {
        // It looks at who asks, and believes it.
        let request = request.header("Authorization", OPERATOR);
        exchange(self.address, &request).expect("the object store answers")
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server whose blobs are in the bucket, behind this address.
#[must_use]
pub fn setup(url: &str) -> Setup {
    Setup::default()
        .config("proxy.storage.backend", "s3")
        .config("proxy.storage.s3.server-url", url)
        .config("proxy.storage.s3.scanned-container-name", BUCKET)
        .config("proxy.storage.s3.access-key-id", "AKIAAIRLOCK")
        .config("proxy.storage.s3.secret-access-key", "a-secret-that-no-log-may-ever-show")
}

fn target(key: &str) -> String {
    match key {
        "" => format!("/{BUCKET}"),
        query if query.starts_with('?') => format!("/{BUCKET}{query}"),
        key => format!("/{BUCKET}/{key}"),
    }
}
