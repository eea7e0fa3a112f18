//! A peer for the benchmarks: the accept loop and the blob body of `proxyd` with nothing behind.
//!
//! `GET` or `POST /constant` answers the content of a file as JSON, `GET /blob` sends a file.
//!
//! ```text
//! constant 127.0.0.1:8080 answer.json blob.snap
//! ```

use std::fs::File;
use std::io;
use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

#[cfg_attr(feature = "failpoints", expect(dead_code, reason = "a part of what the server uses"))]
#[path = "../src/listen/mod.rs"]
mod listen;

#[path = "../src/http"]
#[expect(dead_code, reason = "a part of what the server uses")]
mod parts {
    pub(crate) mod blob_body;
    pub(crate) mod block_checks;
    pub(crate) mod range;
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, answer, blob] = arguments.as_slice() else {
        anyhow::bail!("usage: constant ADDRESS JSON-FILE BLOB-FILE");
    };
    let address: SocketAddr = address.parse().context("cannot read the address")?;
    let answer = Bytes::from(std::fs::read(answer).context("cannot read the answer")?);
    let size = std::fs::metadata(blob).context("cannot find the blob")?.len();
    let blob = blob.clone();
    let app = Router::new()
        .route(
            "/constant",
            // Reads the body, as every handler of a POST has to.
            any(move |_: Bytes| async move { ([(CONTENT_TYPE, "application/json")], answer) }),
        )
        .route(
            "/blob",
            get(move |method: Method, headers: HeaderMap| async move {
                send(blob, size, &method, &headers).await
            }),
        );
    let listener = tokio::net::TcpListener::bind(address).await?;
    let limits = listen::Limits::default();
    listen::Connections::new(limits).accept(listener, Plain, app, CancellationToken::new()).await;
    Ok(())
}

/// HTTP on the bare connection.
#[derive(Clone)]
struct Plain;

impl listen::Handshake for Plain {
    type Io = TcpStream;

    async fn shake(&self, tcp: TcpStream) -> io::Result<(TcpStream, Extensions)> {
        Ok((tcp, Extensions::new()))
    }
}

async fn send(blob: String, size: u64, method: &Method, headers: &HeaderMap) -> Response {
    let open = move || File::open(blob);
    let served = parts::blob_body::serve_blob(open, size, "\"blob\"", None, method, headers);
    served.await.unwrap_or_else(|error| {
        let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
        (status, error.to_string()).into_response()
    })
}
