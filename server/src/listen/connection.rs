//! One connection from its handshake to its end.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, TRANSFER_ENCODING};
use http::{Extensions, HeaderValue, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::ServiceExt;
use tracing::debug;

use super::admission::Admitted;
use super::clock::{Clock, Order};
use super::guarded::Guarded;
use super::upload::{self, Unread, Upload};
use super::{App, Handshake};

/// What hyper buffers in either direction; a chunk of an answer counts once it is handed over.
const BUFFER_BYTES: usize = 64 * 1024;

/// Serves one connection until it ends or has to.
pub(super) async fn run(
    tcp: TcpStream,
    peer: SocketAddr,
    handshake: impl Handshake,
    app: impl App,
    admitted: Admitted,
) {
    let (clock, counts) = (Arc::clone(&admitted.clock), Arc::clone(&admitted.counts));
    let mut expired = pin!(clock.expired());

    let shaken = tokio::select! {
        biased;
        shaken = handshake.shake(tcp) => shaken,
        _ = clock.ordered() => return,
        expiry = &mut expired => {
            counts.expired(expiry);
            debug!(%peer, %expiry, "Closed a connection");
            return;
        }
    };
    let (io, extensions) = match shaken {
        Ok(shaken) => shaken,
        Err(error) => {
            counts.handshake_failed();
            debug!(%peer, %error, "A handshake failed");
            return;
        }
    };
    clock.handshake_done();

    let exchange = Exchange { app, peer, extensions, clock: Arc::clone(&clock) };
    let service = hyper::service::service_fn(|request| exchange.clone().run(request));
    // hyper's own header timeout stays off: it would end idle connections too, and the clock does
    // its work.
    let mut http = pin!(
        http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(BUFFER_BYTES)
            .max_header_size(clock.limits().head_bytes)
            .serve_connection(
                TokioIo::new(Guarded::new(io, Arc::clone(&clock), Arc::clone(&counts))),
                service
            )
    );
    loop {
        tokio::select! {
            biased;
            outcome = &mut http => {
                if let Err(error) = outcome {
                    debug!(%peer, error = &error as &dyn std::error::Error, "A connection broke");
                }
                return;
            }
            order = clock.ordered() => match order {
                Order::Leave => return,
                Order::Finish => http.as_mut().graceful_shutdown(),
            },
            expiry = &mut expired => {
                counts.expired(expiry);
                debug!(%peer, %expiry, "Closed a connection");
                return;
            }
        }
    }
}

/// A request on its way to the application and the answer on its way back.
#[derive(Clone)]
struct Exchange<A> {
    app: A,
    peer: SocketAddr,
    extensions: Extensions,
    clock: Arc<Clock>,
}

impl<A: App> Exchange<A> {
    async fn run(self, request: Request<Incoming>) -> Result<Response<Answer>, hyper::Error> {
        self.clock.request_begins();
        let chunked = request.headers().contains_key(TRANSFER_ENCODING);
        let expects = request.headers().contains_key(EXPECT);
        let body_idle = self.clock.limits().body_idle;
        let (mut parts, body) = request.into_parts();
        let unread = Unread::default();
        let body = if body.is_end_stream() {
            Body::empty()
        } else {
            Body::new(Upload::new(body, body_idle, Arc::clone(&unread)))
        };
        parts.extensions.extend(self.extensions);
        parts.extensions.insert(ConnectInfo(self.peer));

        let Ok(mut response) = self.app.oneshot(Request::from_parts(parts, body)).await;

        if chunked {
            // The framing of what follows a chunked body is not checked.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        if !expects {
            upload::discard(&unread, body_idle).await;
        }
        let clock = self.clock;
        Ok(response.map(|body| Answer { body, clock }))
    }
}

/// An answer's body that tells the clock when hyper is done with it.
struct Answer {
    body: Body,
    clock: Arc<Clock>,
}

impl http_body::Body for Answer {
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
