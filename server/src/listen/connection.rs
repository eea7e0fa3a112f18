//! One connection from handshake to close.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::{CONNECTION, EXPECT, TRANSFER_ENCODING};
use axum::http::{Extensions, HeaderValue, Request, Response, StatusCode};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::body::{Body as _, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio_util::bytes::Bytes;
use tracing::debug;

use super::admission::Admitted;
use super::clock::{Clock, Expiry, Order};
use super::counts::Counts;
use super::ending;
use super::guarded::{Current, Guarded};
use super::host;
use super::outlet::Outlet;
use super::seldom::Seldom;
use super::upload::{self, Unread, Upload};
use super::{App, Failed, Handshake, Tcp, Wire};

/// hyper's buffer in either direction; a chunk of an answer counts once it is handed over.
const BUFFER_BYTES: usize = 64 * 1024;

/// What all connections of one port share.
pub(super) struct Served<H, A> {
    pub(super) handshake: H,
    pub(super) app: A,
    /// Limits log messages about refused handshakes.
    pub(super) shaking: Arc<Mutex<Seldom>>,
}

/// Serves one connection until it ends or must end.
pub(super) async fn run(
    tcp: TcpStream,
    peer: SocketAddr,
    served: Served<impl Handshake, impl App>,
    admitted: Admitted,
) {
    let (clock, counts) = (Arc::clone(&admitted.clock), Arc::clone(&admitted.counts));
    let mut expired = pin!(clock.expired());

    let wire = Wire::new(tcp, Arc::clone(&clock));
    let shaken = tokio::select! {
        biased;
        shaken = served.handshake.shake(wire) => shaken,
        _ = clock.ordered() => return,
        expiry = &mut expired => {
            counts.expired(expiry);
            debug!(%peer, %expiry, "Closed a connection");
            return;
        }
    };
    let (mut io, extensions) = match shaken {
        Ok(shaken) => shaken,
        Err(Failed::Gone(error)) => {
            counts.handshake_failed();
            debug!(%peer, %error, "A connection ended before its first request");
            return;
        }
        Err(Failed::Refused(error, wire)) => {
            counts.handshake_failed();
            super::tell_refused(peer, &error, &served.shaking);
            return end(wire, &clock, &counts, false).await;
        }
    };
    clock.handshake_done();

    let outlet = (io.is_write_vectored() && io.bare().is_some()).then(Current::default);
    let guarded =
        Guarded::new(io, Arc::clone(&clock), Arc::clone(&counts), outlet.clone().unwrap_or_default());
    let exchange = Exchange { app: served.app, peer, extensions, clock: Arc::clone(&clock), outlet };
    let service = hyper::service::service_fn(|request| exchange.clone().run(request));
    // hyper's header timeout stays off: it would also close idle connections, and the clock covers heads.
    let mut http = http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES)
        .max_header_size(clock.limits().head_bytes)
        .serve_connection(TokioIo::new(guarded), service);
    let (mut dismissed, mut lingers) = (false, true);
    let given_up = loop {
        tokio::select! {
            biased;
            outcome = &mut http => match outcome {
                // A truncated answer must not look complete.
                Err(error) if error.is_user() => {
                    debug!(%peer, error = &error as &dyn std::error::Error, "An answer broke off");
                    return;
                }
                Err(error) => {
                    debug!(%peer, error = &error as &dyn std::error::Error, "A connection broke");
                    break None;
                }
                Ok(()) => break None,
            },
            order = clock.ordered() => {
                let waits = clock.waiting_since().is_some();
                if waits && order == Order::Leave {
                    dismissed = true;
                    break None;
                }
                lingers &= !waits;
                Pin::new(&mut http).graceful_shutdown();
            }
            expiry = &mut expired => {
                counts.expired(expiry);
                debug!(%peer, %expiry, "Closed a connection");
                match expiry {
                    Expiry::Idle => {
                        clock.ends();
                        Pin::new(&mut http).graceful_shutdown();
                        expired.set(clock.expired());
                    }
                    // hyper reads a head only after all answers are written. A peer that sends one byte by byte would
                    // continue.
                    Expiry::Head => {
                        lingers = false;
                        break None;
                    }
                    _ => break Some(expiry),
                }
            }
        }
    };
    let mut io = http.into_parts().io.into_inner().into_inner();
    match given_up {
        Some(Expiry::WriteStall) => ending::abort(&io),
        Some(_) => {}
        None if dismissed => ending::end_now(&mut io).await,
        None => end(io, &clock, &counts, lingers).await,
    }
}

/// Closes a connection whose data is all written, within the limits.
async fn end(mut io: impl AsyncWrite + Tcp + Unpin, clock: &Clock, counts: &Counts, lingers: bool) {
    let expiry = tokio::select! {
        biased;
        () = ending::end(&mut io, clock, lingers) => return,
        () = clock.dismissed() => return,
        expiry = clock.expired() => expiry,
    };
    counts.expired(expiry);
    if expiry == Expiry::WriteStall {
        ending::abort(&io);
    }
}

/// A request on its way to the application, and its answer on the way back.
#[derive(Clone)]
struct Exchange<A> {
    app: A,
    peer: SocketAddr,
    extensions: Extensions,
    clock: Arc<Clock>,
    /// Where the outlet of an answer is left; `None` when the connection cannot send from files.
    outlet: Option<Current>,
}

impl<A: App> Exchange<A> {
    async fn run(self, request: Request<Incoming>) -> Result<Response<Answer>, hyper::Error> {
        self.clock.request_begins();
        let chunked = request.headers().contains_key(TRANSFER_ENCODING);
        let expects = request.headers().contains_key(EXPECT);
        let body_idle = self.clock.limits().body_idle;
        let is_named = host::is_named(request.version(), request.headers());
        let (mut parts, body) = request.into_parts();
        let unread = Unread::default();
        let body = if body.is_end_stream() {
            Body::empty()
        } else {
            Body::new(Upload::new(body, body_idle, Arc::clone(&unread)))
        };
        parts.extensions.extend(self.extensions);
        parts.extensions.insert(ConnectInfo(self.peer));

        let mut response = match is_named {
            true => self.app.answer(Request::from_parts(parts, body)).await,
            false => (StatusCode::BAD_REQUEST, "A request has one Host header.\n").into_response(),
        };

        if chunked || !is_named {
            // The framing after a chunked body is not checked.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        if !expects {
            upload::discard(&unread, body_idle).await;
        }
        if let Some(current) = &self.outlet {
            let outlet = response.extensions_mut().remove::<Outlet>();
            outlet.iter().for_each(Outlet::connect);
            *current.lock().unwrap_or_else(PoisonError::into_inner) = outlet;
        }
        let clock = self.clock;
        Ok(response.map(|body| Answer { body, clock }))
    }
}

/// An answer's body that tells the clock when hyper has finished with it.
struct Answer {
    body: Body,
    clock: Arc<Clock>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.clock.response_ends();
    }
}
