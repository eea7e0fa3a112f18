//! The client of the admin API: HTTP/1.1 over the Unix socket in the data directory, or over HTTPS with a login.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Bytes;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use indicatif::ProgressBar;
use schema::api::admin::calls::{self, Call, CollectGarbage, Upkeep};
use schema::api::admin::{Failure, SOCKET_NAME};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use url::form_urlencoded;

use crate::bars;
use crate::output::changed;
use crate::remote::{Remote, RemoteError};
use crate::socket::Socket;
use crate::stdin::shown;

/// Where the package has the socket for reading.
const READ_SOCKET: &str = "/run/airlock-read/admin.sock";
/// How much is read from a file at once.
const CHUNK: usize = 256 << 10;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Why a request to the server failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// Nothing listens on the socket.
    #[error("the server is not running: start it with `{}`", start_command(.0))]
    NotRunning(PathBuf),
    /// This user may not use the socket.
    #[error(
        "this user may not use the server's socket {}: use sudo, or for reading `--socket` with the path of \
         proxy.admin.read-socket, as a member of its group",
        .0.display()
    )]
    NotAllowed(PathBuf),
    /// The socket exists but cannot be opened.
    #[error("cannot reach the server at {}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A server reached over HTTPS failed.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The server refused; nothing has changed.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// The connection broke before the answer was complete.
    #[error(
        "cannot finish the exchange with the server, so nobody knows whether it was done: run the same command again, which is harmless"
    )]
    Broken(#[source] hyper::Error),
    /// The request cannot be encoded.
    #[error("cannot make the request")]
    Request(#[from] hyper::http::Error),
    /// The answer does not belong to this API.
    #[error("cannot understand the server's answer (HTTP {0}): is it of another version?")]
    Answer(StatusCode),
}

impl AdminError {
    /// The error, with the name of the file if this word says that its content was refused.
    pub(crate) fn of_file(self, code: &str, file: &Path) -> anyhow::Error {
        let is_its = matches!(&self, Self::Refused(failure) if failure.code == code);
        let error = anyhow::Error::new(self);
        if is_its { error.context(format!("cannot use {}", shown(file))) } else { error }
    }
}

fn unreachable(socket: PathBuf, source: io::Error) -> AdminError {
    match source.kind() {
        io::ErrorKind::PermissionDenied => AdminError::NotAllowed(socket),
        _ => AdminError::Unreachable { socket, source },
    }
}

/// The command that starts the server of a data directory.
pub(crate) fn start_command(data_dir: &Path) -> String {
    format!("proxyd --data-dir {}", data_dir.display())
}

/// A document or file on its way to the server.
pub(crate) struct Upload {
    /// What the operator calls it.
    pub(crate) name: String,
    /// The exact number of bytes that `reader` yields.
    pub(crate) length: u64,
    /// The bytes.
    pub(crate) reader: Box<dyn Read + Send>,
}

impl Upload {
    /// A document in memory.
    pub(crate) fn document(name: String, bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u64;
        Self { name, length, reader: Box::new(io::Cursor::new(bytes)) }
    }
}

/// One connection to the server.
#[derive(Debug)]
pub(crate) struct Admin {
    sender: SendRequest<Body>,
    host: String,
    /// The login, for a server on the network.
    authorization: Option<HeaderValue>,
    /// Drives the connection; dropped with this value, even in the middle of a refused upload.
    _connection: JoinSet<()>,
}

impl Admin {
    /// Opens a connection to the server of a data directory, or to the package's socket for reading where this user may
    /// only look.
    pub(crate) async fn connect(data_dir: &Path) -> Result<Self, AdminError> {
        let socket = data_dir.join(SOCKET_NAME);
        let stream = match UnixStream::connect(&socket).await {
            Err(refused) if refused.kind() == io::ErrorKind::PermissionDenied => {
                UnixStream::connect(READ_SOCKET).await.map_err(|_| refused)
            }
            done => done,
        };
        let stream = stream.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AdminError::NotRunning(data_dir.to_owned())
            }
            _ => unreachable(socket, source),
        })?;
        Self::over(Socket(stream), "localhost".into(), None).await
    }

    /// Opens a connection to a socket that is named.
    pub(crate) async fn connect_at(socket: &Path) -> Result<Self, AdminError> {
        let stream =
            UnixStream::connect(socket).await.map_err(|source| unreachable(socket.to_owned(), source))?;
        Self::over(Socket(stream), "localhost".into(), None).await
    }

    /// Opens a connection to a server over HTTPS.
    pub(crate) async fn connect_to(remote: &Remote) -> Result<Self, AdminError> {
        let (host, authorization) = (remote.host().to_owned(), remote.authorization());
        Self::over(remote.connect().await?, host, Some(authorization)).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        host: String,
        authorization: Option<HeaderValue>,
    ) -> Result<Self, AdminError> {
        let io = TokioIo::new(stream);
        let (sender, connection) = http1::handshake(io).await.map_err(AdminError::Broken)?;
        let mut task = JoinSet::new();
        // The result shows up in the running exchange.
        task.spawn(async { drop(connection.await) });
        Ok(Self { sender, host, authorization, _connection: task })
    }

    /// Makes a call that takes no document.
    pub(crate) async fn ask<C>(&mut self) -> Result<C::Answer, AdminError>
    where
        C: Call<Request = (), Answer: DeserializeOwned>,
    {
        self.exchange(request::<C>(C::PATH), empty()).await
    }

    /// Makes a call whose subject is in the path.
    pub(crate) async fn ask_of<C>(&mut self, name: &str) -> Result<C::Answer, AdminError>
    where
        C: Call<Request = (), Answer: DeserializeOwned>,
    {
        // A name of one part, whatever is in it. Nothing has no name, and `-` is nobody's.
        let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let name = if name.is_empty() { "-".to_owned() } else { name.replace('+', "%20") };
        self.exchange(request::<C>(&C::path_of(&name)), empty()).await
    }

    /// Makes a call whose subject is in the query.
    pub(crate) async fn ask_for<C>(
        &mut self,
        query: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
    ) -> Result<C::Answer, AdminError>
    where
        C: Call<Request = (), Answer: DeserializeOwned>,
    {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        self.exchange(request::<C>(&format!("{}?{query}", C::PATH)), empty()).await
    }

    /// Makes a call with a small JSON document.
    pub(crate) async fn send<C>(&mut self, value: &C::Request) -> Result<C::Answer, AdminError>
    where
        C: Call<Request: Serialize, Answer: DeserializeOwned>,
    {
        self.exchange(in_json(request::<C>(C::PATH)), document(value)).await
    }

    /// Makes a call with a small JSON document and returns the answer with its body unread.
    pub(crate) async fn download<C>(&mut self, value: &C::Request) -> Result<Response<Incoming>, AdminError>
    where
        C: Call<Request: Serialize, Answer = calls::Bytes>,
    {
        let answer = self.request(in_json(request::<C>(C::PATH)), document(value)).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
    }

    /// Streams a file, with a progress bar if stderr is a terminal.
    ///
    /// `query` is added to the URL next to the file's name.
    pub(crate) async fn upload<C>(
        &mut self,
        query: &[(&str, &str)],
        upload: Upload,
    ) -> Result<C::Answer, AdminError>
    where
        C: Call<Request = calls::Bytes, Answer: DeserializeOwned>,
    {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("file", &upload.name)
            .extend_pairs(query)
            .finish();
        let request = request::<C>(&format!("{}?{query}", C::PATH))
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, upload.length);
        let bar = progress_bar(&upload.name, upload.length);
        let answer = self.exchange(request, streamed(upload.reader, bar.clone())).await;
        bar.finish_and_clear();
        answer
    }

    /// Makes a call with a small JSON document and passes on the answer line by line.
    pub(crate) async fn lines<C, T: DeserializeOwned>(
        &mut self,
        value: &C::Request,
        mut heard: impl FnMut(T),
    ) -> Result<(), AdminError>
    where
        C: Call<Request: Serialize, Answer = calls::Bytes>,
    {
        let answer = self.download::<C>(value).await?;
        let status = answer.status();
        let (mut body, mut line) = (answer.into_body(), Vec::new());
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame.map_err(AdminError::Broken)?.into_data() else { continue };
            line.extend_from_slice(&bytes);
            while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                let rest = line.split_off(end + 1);
                heard(serde_json::from_slice(&line).map_err(|_| AdminError::Answer(status))?);
                line = rest;
            }
        }
        Ok(())
    }

    async fn exchange<T: DeserializeOwned>(
        &mut self,
        request: hyper::http::request::Builder,
        body: Body,
    ) -> Result<T, AdminError> {
        // Plans are requested with POST too.
        let asks = request.method_ref() == Some(&Method::GET)
            || request.uri_ref().is_some_and(|uri| {
                uri.path() == Upkeep::PATH
                    || uri.path() == CollectGarbage::PATH
                    || uri.query().is_some_and(|query| query.contains("dry-run=true"))
            });
        let answer = self.request(request, body).await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(refusal(answer).await);
        }
        if !asks {
            changed();
        }
        let bytes = answer.into_body().collect().await.map_err(AdminError::Broken)?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|_| AdminError::Answer(status))
    }

    async fn request(
        &mut self,
        request: hyper::http::request::Builder,
        body: Body,
    ) -> Result<Response<Incoming>, AdminError> {
        let mut request = request.header(header::HOST, &self.host).body(body)?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        self.sender.ready().await.map_err(AdminError::Broken)?;
        self.sender.send_request(request).await.map_err(AdminError::Broken)
    }
}

/// Begins the HTTP request of a call; `path` may carry a query.
fn request<C: Call>(path: &str) -> hyper::http::request::Builder {
    Request::builder().method(C::METHOD.as_str()).uri(path)
}

fn in_json(request: hyper::http::request::Builder) -> hyper::http::request::Builder {
    request.header(header::CONTENT_TYPE, "application/json")
}

/// Reads the server's reason for a refusal.
async fn refusal(answer: Response<Incoming>) -> AdminError {
    let status = answer.status();
    match answer.into_body().collect().await {
        Ok(body) => {
            serde_json::from_slice(&body.to_bytes()).map_or(AdminError::Answer(status), AdminError::Refused)
        }
        Err(error) => AdminError::Broken(error),
    }
}

fn document(value: &impl Serialize) -> Body {
    // This API's types are maps with text keys, which JSON can always represent.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    Full::from(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn empty() -> Body {
    Full::default().map_err(|never| match never {}).boxed_unsync()
}

/// A body filled from `reader` by a thread that stays a few chunks ahead of the socket.
fn streamed(mut reader: Box<dyn Read + Send>, bar: ProgressBar) -> Body {
    let (sender, receiver) = mpsc::channel::<io::Result<Frame<Bytes>>>(4);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => {
                    chunk.truncate(length);
                    bar.inc(length as u64);
                    Ok(Frame::data(Bytes::from(chunk)))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            // If nobody takes the chunk, the exchange is over.
            if sender.blocking_send(read).is_err() || failed {
                break;
            }
        }
    });
    let chunks = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    StreamBody::new(chunks).boxed_unsync()
}

/// A progress bar for this many bytes; drawn only on a terminal.
pub(crate) fn progress_bar(name: &str, length: u64) -> ProgressBar {
    // Indicatif draws to stderr, and nothing at all unless that is a terminal.
    let bar = ProgressBar::new(length);
    bar.set_style(bars::style("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"));
    bar.set_message(crate::output::plain(name));
    bar
}
