//! A brand's device service on loopback: answers each request as a test says, and keeps the requests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use schema::assertion::{Assertion, AssertionType};

use crate::world::Brand;

/// A running service; it ends with the test.
pub struct DeviceService {
    /// Its base, with a path and without a final slash.
    pub url: String,
    received: Receiver<Received>,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Request line and headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The path that was asked for.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

impl DeviceService {
    /// Starts one. The answer is what goes over the wire, head and body; the connection ends after it.
    ///
    /// # Panics
    /// When there is no port for it.
    #[must_use]
    pub fn start(answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let (sender, received) = channel();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                // Ends with the connection.
                std::thread::spawn(move || serve(stream, &sender, &*answer));
            }
        });
        Self { url, received }
    }

    /// Starts one that gives each device of a brand the serial `registered-N`, in the way of a real one.
    #[must_use]
    pub fn of(brand: Brand, account_keys: Vec<u8>) -> Self {
        let given = Mutex::new(0);
        Self::start(move |request| match request.path() {
            "/v1/request-id" => answer("200 OK", "application/json", br#"{"request-id": "rq-1"}"#),
            "/v1/serial" => {
                let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
                *given += 1;
                let serial = serial_for(&brand, &request.body, &format!("registered-{given}"));
                let stream = [&account_keys[..], b"\n", serial.bytes()].concat();
                answer("200 OK", "application/x.ubuntu.assertion", &stream)
            }
            _ => answer("404 Not Found", "text/plain", b"no such endpoint"),
        })
    }

    /// What came since this was asked before.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.received.try_iter().collect()
    }
}

/// A serial for the device whose request and model are in this stream.
fn serial_for(brand: &Brand, stream: &[u8], serial: &str) -> Assertion {
    let documents = Assertion::decode_stream(stream).expect("a request and a model");
    let request = documents.iter().find(|found| found.kind() == AssertionType::SerialRequest);
    let request = request.expect("a serial request");
    let text = |name| request.text(name).expect("a serial request is complete");
    brand
        .serial_of(text("model"), serial)
        .header("device-key", text("device-key"))
        .header("device-key-sha3-384", request.sign_key_id())
        .sign(&brand.serial_key())
}

/// An answer as it goes over the wire.
#[must_use]
pub fn answer(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn serve(stream: TcpStream, sender: &Sender<Received>, answer: &dyn Fn(&Received) -> Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let from = head.len();
        if reader.read_line(&mut head).is_ok_and(|read| read == 0) {
            return;
        }
        if let Some(value) = head[from..].to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let request = Received { head, body };
    if sender.send(request.clone()).is_ok() {
        let _ = reader.get_mut().write_all(&answer(&request));
    }
}
