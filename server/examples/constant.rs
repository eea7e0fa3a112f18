//! A peer for the benchmarks: the accept loop of `proxyd` with nothing behind.
//!
//! `GET` or `POST /constant/BYTES` answers a text of so many bytes.
//!
//! ```text
//! constant 127.0.0.1:8080
//! ```

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::Extensions;
use axum::http::header::CONTENT_TYPE;
use axum::routing::any;
use tokio_util::sync::CancellationToken;

#[expect(dead_code, reason = "a part of what the server uses")]
#[path = "../src/listen/mod.rs"]
mod listen;

/// The longest answer.
const LONGEST: usize = 1 << 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address] = arguments.as_slice() else {
        anyhow::bail!("usage: constant ADDRESS");
    };
    let address: SocketAddr = address.parse().context("cannot read the address")?;
    let text = Bytes::from(vec![b'x'; LONGEST]);
    let app = Router::new().route(
        "/constant/{bytes}",
        // Reads the body, as every handler of a POST has to.
        any(move |Path(bytes): Path<usize>, _: Bytes| async move {
            ([(CONTENT_TYPE, "application/json")], text.slice(..bytes.min(LONGEST)))
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
    type Io = listen::Wire;

    async fn shake(&self, wire: listen::Wire) -> Result<(listen::Wire, Extensions), listen::Failed> {
        Ok((wire, Extensions::new()))
    }
}
