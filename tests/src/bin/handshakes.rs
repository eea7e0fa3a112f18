//! TLS 1.3 handshakes of the benchmarks: connections with one small request each, to a server on this machine.
//!
//! ```text
//! handshakes 127.0.0.1:8443 4711 500 full
//! 412.7      CPU µs of the server and its children per connection
//! ```
//!
//! Every connection agrees on its keys with X25519, which old and new servers speak. `resumed` ones use tickets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use tests::cpu;
use tests::peer::{Transport, trusting_anybody};

const REQUEST: &[u8] = b"GET /handshake HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, pid, count, kind] = arguments.as_slice() else {
        bail!("usage: handshakes ADDRESS PID COUNT full|resumed");
    };
    let (address, pid, count): (SocketAddr, u32, u32) = (address.parse()?, pid.parse()?, count.parse()?);
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut config = trusting_anybody(Transport::Tls13, provider)?;
    let wanted = match kind.as_str() {
        "full" => {
            config.resumption = Resumption::disabled();
            HandshakeKind::Full
        }
        "resumed" => HandshakeKind::Resumed,
        other => bail!("there is no handshake called {other}"),
    };
    let config = Arc::new(config);
    for _ in 0..3 {
        let _ = connect(address, &config)?;
    }
    let before = cpu::of_family(pid)?;
    for _ in 0..count {
        let kind = connect(address, &config)?;
        ensure!(kind == Some(wanted), "a handshake was {kind:?} instead of {wanted:?}");
    }
    let spent = cpu::of_family(pid)? - before;
    println!("{:.3}", spent.as_secs_f64() * 1e6 / f64::from(count));
    Ok(())
}

/// One connection from its handshake to the end of the only answer.
fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> anyhow::Result<Option<HandshakeKind>> {
    let tcp = TcpStream::connect(address).context("cannot connect")?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    let connection = ClientConnection::new(Arc::clone(config), address.ip().into())?;
    let mut stream = StreamOwned::new(connection, tcp);
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("cannot read the answer")?;
    ensure!(answer.starts_with(b"HTTP/1.1 "), "there was no answer");
    Ok(stream.conn.handshake_kind())
}
