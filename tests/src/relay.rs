//! A faulty connection: stands between a client and a server, and does to each answer what a test wants.
//!
//! Links to the server are rewritten to the relay, so that everything passes through it.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::http::{self, Request, Response};
use crate::server::Server;

/// What happens to one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing: the server's answer.
    Pass,
    /// The connection closes without an answer.
    Drop,
    /// An answer of the relay's own.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The connection closes after so many bytes of the body.
    Cut(usize),
    /// The answer ends well, and too early: so many bytes of the body.
    Short(usize),
    /// One byte in the middle of the body is another one.
    Flip,
    /// One text of the body gives way to another.
    Replace(String, String),
    /// The body comes in pieces of so many bytes.
    Dribble(usize),
    /// To the same path at this base.
    Redirect(String),
}

/// Decides by the request, and how often its path was asked for before.
type Plan = dyn Fn(&Request, usize) -> Fault + Send + Sync;

/// A running relay.
pub struct Relay {
    /// Where clients reach it, without a final slash.
    pub url: String,
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a connection's thread works with.
struct Behind {
    server: SocketAddr,
    server_url: String,
    own_url: String,
    /// Whether it passes `Authorization` on.
    credentials: bool,
    plan: Box<Plan>,
    seen: Arc<Mutex<Vec<Request>>>,
    counts: Mutex<HashMap<String, usize>>,
}

impl Relay {
    /// Starts a relay in front of a server.
    ///
    /// # Panics
    /// When there is no port for it.
    #[must_use]
    pub fn start(server: &Server, plan: impl Fn(&Request, usize) -> Fault + Send + Sync + 'static) -> Self {
        Self::between(server.address, server.url.clone(), false, plan)
    }

    /// Starts a relay in front of whatever listens there; clients' credentials are passed on.
    ///
    /// # Panics
    /// When there is no port for it.
    #[must_use]
    pub fn before(
        address: SocketAddr,
        plan: impl Fn(&Request, usize) -> Fault + Send + Sync + 'static,
    ) -> Self {
        Self::between(address, format!("http://{address}"), true, plan)
    }

    fn between(
        server: SocketAddr,
        server_url: String,
        credentials: bool,
        plan: impl Fn(&Request, usize) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let url = format!("http://{address}");
        let (seen, ended) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let behind = Arc::new(Behind {
            server,
            server_url,
            credentials,
            own_url: url.clone(),
            plan: Box::new(plan),
            seen: Arc::clone(&seen),
            counts: Mutex::default(),
        });
        let stop = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), behind) = (stream, Arc::clone(&behind)) else { continue };
                // A client that is gone shows in the test, not here.
                std::thread::spawn(move || drop(behind.serve(stream)));
            }
        });
        Self { url, address, seen, ended, thread: Some(thread) }
    }

    /// What came in so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Behind {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let Some(request) = read(&mut reader)? else { return Ok(()) };
        let fault = {
            let path = request.target.split('?').next().unwrap_or_default().to_owned();
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(path).or_default();
            *count += 1;
            (self.plan)(&request, *count - 1)
        };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let is_head = request.method == "HEAD";
        let answer = match &fault {
            Fault::Drop => return Ok(()),
            Fault::Redirect(base) => own(302, &[("Location", format!("{base}{}", request.target))], ""),
            Fault::Answer(status, headers, body) => own(*status, headers, body),
            _ => self.forward(request)?,
        };
        let (mut body, mut announced) = (answer.body.clone(), answer.body.len());
        match &fault {
            Fault::Cut(length) => body.truncate(*length),
            Fault::Short(length) => {
                body.truncate(*length);
                announced = body.len();
            }
            Fault::Replace(from, to) => {
                body = String::from_utf8_lossy(&body).replace(from, to).into_bytes();
                announced = body.len();
            }
            Fault::Flip => {
                let middle = body.len() / 2;
                if let Some(byte) = body.get_mut(middle) {
                    *byte ^= 1;
                }
            }
            _ => {}
        }
        if is_head {
            // Of a body that does not come.
            let length = answer.header("Content-Length").and_then(|length| length.parse().ok());
            announced = length.unwrap_or(announced);
        }
        let mut stream = stream;
        let mut head =
            format!("HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {announced}\r\n", answer.status);
        for (name, value) in &answer.headers {
            let ours = ["connection", "content-length", "transfer-encoding", "content-encoding"];
            if !ours.contains(&name.to_ascii_lowercase().as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        stream.write_all(head.as_bytes())?;
        stream.write_all(b"\r\n")?;
        let piece = if let Fault::Dribble(piece) = fault { piece } else { body.len().max(1) };
        body.chunks(piece).try_for_each(|chunk| stream.write_all(chunk).and_then(|()| stream.flush()))
    }

    fn forward(&self, mut request: Request) -> io::Result<Response> {
        let kept = |name: &str| match name {
            "authorization" => self.credentials,
            _ => !["host", "connection", "accept-encoding"].contains(&name),
        };
        request.headers.retain(|(name, _)| kept(&name.to_ascii_lowercase()));
        let host = self.server_url.trim_start_matches("http://").to_owned();
        request.headers.insert(0, ("Host".to_owned(), host));
        let mut answer = http::exchange(self.server, &request)?;
        if answer.header("Content-Type").is_some_and(|kind| kind.starts_with("application/json")) {
            answer.body = answer.text().replace(&self.server_url, &self.own_url).into_bytes();
        }
        Ok(answer)
    }
}

fn own(status: u16, headers: &[(&'static str, String)], body: &str) -> Response {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Response { status, headers, body: body.as_bytes().to_vec() }
}

/// One request; `None` when the connection closes before one.
fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim().to_owned();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
        request.headers.push((name.to_owned(), value));
    }
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}
