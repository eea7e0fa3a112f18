//! A factory floor: devices without a serial, which ask for one as snapd does, and the connected side, which has a site's
//! key registered.

use std::fs;
use std::io;
use std::sync::Arc;

use schema::assertion::{Assertion, AssertionType, Builder, Details, SigningKey};

use crate::http::{Connection, Request, Response};
use crate::server::Server;
use crate::world::{Identity, SINCE, World, stream};

/// A device that was never registered.
#[derive(Clone)]
pub struct Newborn {
    /// Its model.
    pub model: Assertion,
    /// Its key.
    pub key: Arc<SigningKey>,
    /// The serial that its gadget proposes.
    pub proposed: Option<String>,
    /// What its gadget puts into the body of the request.
    pub about: String,
    /// What its gadget adds to both requests.
    pub headers: Vec<(String, String)>,
    /// The paths of both requests: those of the store, or of a device service.
    pub paths: [&'static str; 2],
}

impl Newborn {
    /// A device of a model with this key.
    #[must_use]
    pub fn new(model: &Assertion, key: Arc<SigningKey>) -> Self {
        let paths = ["/api/v1/snaps/auth/request-id", "/api/v1/snaps/auth/devices"];
        let (proposed, about, headers) = (None, String::new(), Vec::new());
        Self { model: model.clone(), key, proposed, about, headers, paths }
    }

    /// The same, proposing a serial.
    #[must_use]
    pub fn proposing(mut self, serial: &str) -> Self {
        self.proposed = Some(serial.to_owned());
        self
    }

    /// The same with a header of its gadget.
    #[must_use]
    pub fn showing(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What the store answers to the first request.
    #[must_use]
    pub fn ask_id(&self, store: &Server) -> Response {
        store.send(&self.with_headers(Request::new("POST", self.paths[0], store.host())).body(b""))
    }

    /// A request id.
    ///
    /// # Panics
    /// When the store gives none.
    #[must_use]
    pub fn id(&self, store: &Server) -> String {
        let answer = self.ask_id(store);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["request-id"].as_str().expect("a request id").to_owned()
    }

    /// Starts the request for a serial.
    #[must_use]
    pub fn request_of(&self, id: &str) -> Builder {
        let text = |name| self.model.text(name).expect("a model is complete");
        let mut request = Builder::new(AssertionType::SerialRequest)
            .header("brand-id", text("brand-id"))
            .header("model", text("model"))
            .header("request-id", id)
            .header("device-key", self.key.public().encode())
            .body(self.about.clone());
        if let Some(serial) = &self.proposed {
            request = request.header("serial", serial.as_str());
        }
        request
    }

    /// Request and model, as they are sent.
    #[must_use]
    pub fn documents(&self, id: &str) -> Vec<u8> {
        stream(&[self.request_of(id).sign(&self.key), self.model.clone()])
    }

    /// The second request.
    #[must_use]
    pub fn request(&self, store: &Server, documents: &[u8]) -> Request {
        let request = Request::new("POST", self.paths[1], store.host())
            .header("Content-Type", "application/x.ubuntu.assertion")
            .header("Snap-Device-Capabilities", "serial-stream");
        self.with_headers(request).body(documents)
    }

    /// Sends the second request.
    #[must_use]
    pub fn post(&self, store: &Server, documents: &[u8]) -> Response {
        store.send(&self.request(store, documents))
    }

    /// Registers from the start over one connection, as snapd does.
    ///
    /// # Errors
    /// The connection breaks.
    ///
    /// # Panics
    /// When the store gives no request id.
    pub fn register_over(&self, store: &Server, connection: &mut Connection) -> io::Result<Response> {
        let first = Request::new("POST", self.paths[0], store.host()).body(b"");
        let answer = connection.exchange(&self.with_headers(first))?;
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = answer.json()["request-id"].as_str().expect("a request id").to_owned();
        connection.exchange(&self.request(store, &self.documents(&id)))
    }

    /// Registers from the start.
    #[must_use]
    pub fn register(&self, store: &Server) -> Response {
        let id = self.id(store);
        self.post(store, &self.documents(&id))
    }

    /// The registered device.
    ///
    /// # Panics
    /// When the answer holds no serial for this device.
    #[must_use]
    pub fn identity(&self, answer: &Response) -> Identity {
        Identity { model: self.model.clone(), serial: self.serial(answer), key: Arc::clone(&self.key) }
    }

    /// The serial in an answer, checked like snapd does before it looks at signatures.
    ///
    /// # Panics
    /// When there is another number of them, or it is for another device.
    #[must_use]
    pub fn serial(&self, answer: &Response) -> Assertion {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let documents = Assertion::decode_stream(&answer.body).expect("a stream");
        let mut serials = documents.into_iter().filter(|found| found.kind() == AssertionType::Serial);
        let serial = serials.next().expect("a serial");
        assert!(serials.next().is_none(), "more than one serial");
        for name in ["brand-id", "model"] {
            assert_eq!(serial.text(name), self.model.text(name));
        }
        assert_eq!(serial.text("device-key-sha3-384"), Some(self.key.public().id()));
        serial
    }

    fn with_headers(&self, request: Request) -> Request {
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }
}

/// What the connected side answers to the request for a key: its account-key.
///
/// # Panics
/// When it is another document.
#[must_use]
pub fn account_key(world: &World, request: &Assertion) -> Assertion {
    let Details::AccountKeyRequest(about) = request.details() else { panic!("{request:?}") };
    request.verify_with(&about.public_key).expect("signed by the key that it is about");
    world.sign(
        &Builder::new(AssertionType::AccountKey)
            .header("authority-id", &world.root_id)
            .header("public-key-sha3-384", about.public_key.id())
            .header("account-id", about.account_id.as_str())
            .header("name", about.name.as_str())
            .header("since", SINCE)
            .body(request.body().to_vec()),
    )
}

/// The process that holds the sealed keys of a server, if it runs.
#[must_use]
pub fn signer_of(store: &Server) -> Option<i32> {
    signer(store, false)
}

/// The process that uses the tokens of a server, if it runs.
#[must_use]
pub fn token_signer_of(store: &Server) -> Option<i32> {
    signer(store, true)
}

fn signer(store: &Server, of_a_module: bool) -> Option<i32> {
    let entries = fs::read_dir("/proc").expect("processes").flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let says = |wanted: &[u8]| line.split(|byte| *byte == 0).any(|word| word == wanted);
        parent == Some(store.pid()) && says(b"signer") && says(b"--module") == of_a_module
    })
}

impl Server {
    /// Makes a key that signs serials for an account, and has it registered.
    pub fn make_key(&self, world: &World, name: &str, account: &str) {
        self.make_key_for(world, name, "serial", account, &[]);
    }

    /// Makes a key for a purpose, and has it registered.
    pub fn make_key_for(&self, world: &World, name: &str, purpose: &str, account: &str, more: &[&str]) {
        let create = ["keys", "create", name, "--for", purpose, "--account", account];
        let _ = self.proxy(&[&create[..], more].concat()).ok();
        let request = self.proxy(&["keys", "request", name]).ok();
        let request = Assertion::decode(request.as_bytes()).expect("a request");
        let documents = stream(&[world.store_key(), world.account(account), account_key(world, &request)]);
        let _ =
            self.with_file("keys.assert", &documents, |path| self.proxy(&["push-account-keys", path]).ok());
    }
}
