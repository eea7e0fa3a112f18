//! The load of the benchmarks: requests over keep-alive connections to a server on this machine.
//!
//! ```text
//! load --server 127.0.0.1:8080 --pid 4711 --requests refresh.http --connections 16 --count 20000
//! 20000 8.35 1.52 1.0e7      requests, CPU µs of the server per request, seconds, bytes of answers
//! ```
//!
//! The file holds one or more raw requests, one after another; they are sent in turn, and over
//! again when `--count` asks for more. The CPU time is that of the process and its children, as
//! the kernel accounts it, so wall time and the client's own cost stay out of it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use tests::cpu;

/// The most a run may ask for.
const MOST_REQUESTS: usize = 10_000_000;

/// Sends requests and prints: requests, CPU microseconds per request, seconds, bytes.
#[derive(Parser)]
struct Args {
    /// Where the server listens; this machine only.
    #[arg(long)]
    server: SocketAddr,
    /// The server's process; its children count as well.
    #[arg(long)]
    pid: u32,
    /// Raw HTTP/1.1 requests, with Content-Length where there is a body.
    #[arg(long)]
    requests: PathBuf,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Requests in total.
    #[arg(long, default_value_t = 20_000)]
    count: usize,
    /// Requests on each connection before the measurement begins.
    #[arg(long, default_value_t = 20)]
    warm_up: usize,
    /// Send each request of the file once at most, so nothing to warm up.
    #[arg(long)]
    once: bool,
    /// Leave out so many requests at the beginning of the file.
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// The longest the run may take, in seconds.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(args.server.ip().is_loopback(), "cannot load another machine");
    ensure!(
        (1..=1024).contains(&args.connections) && (1..=MOST_REQUESTS).contains(&args.count),
        "cannot send so much"
    );
    let file =
        fs::read(&args.requests).with_context(|| format!("cannot read {}", args.requests.display()))?;
    let mut requests = split(&file)?;
    ensure!(args.skip < requests.len(), "cannot skip every request");
    requests.drain(..args.skip);
    let (count, warm_up) = match args.once {
        true => (args.count.min(requests.len()), 0),
        false => (args.count, args.warm_up),
    };

    let next = AtomicUsize::new(0);
    let ready = Barrier::new(args.connections + 1);
    let (sent, cpu, elapsed, bytes) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..args.connections)
            .map(|_| {
                scope.spawn(|| {
                    let connected = Connection::open(args.server, args.seconds);
                    let warm = connected.and_then(|mut connection| {
                        for turn in 0..warm_up {
                            connection.exchange(requests[turn % requests.len()])?;
                        }
                        Ok(connection)
                    });
                    ready.wait();
                    let mut connection = warm?;
                    ready.wait();
                    let deadline = Instant::now() + Duration::from_secs(args.seconds);
                    let (mut sent, mut bytes) = (0, 0);
                    while Instant::now() < deadline {
                        let turn = next.fetch_add(1, Ordering::Relaxed);
                        if turn >= count {
                            break;
                        }
                        bytes += connection.exchange(requests[turn % requests.len()])?;
                        sent += 1;
                    }
                    anyhow::Ok((sent, bytes))
                })
            })
            .collect();
        ready.wait();
        let cpu = cpu::of_family(args.pid)?;
        let began = Instant::now();
        ready.wait();
        let (mut sent, mut bytes) = (0, 0);
        for client in clients {
            let Ok(outcome) = client.join() else { bail!("a client panicked") };
            let (its_sent, its_bytes) = outcome?;
            sent += its_sent;
            bytes += its_bytes;
        }
        let elapsed = began.elapsed().as_secs_f64();
        Ok((sent, (cpu::of_family(args.pid)? - cpu).as_secs_f64(), elapsed, bytes))
    })?;
    ensure!(sent > 0, "nothing was sent");
    println!("{sent} {:.3} {elapsed:.4} {bytes}", cpu * 1e6 / f64::from(sent));
    Ok(())
}

/// The requests of a file, each with its body.
fn split(mut file: &[u8]) -> anyhow::Result<Vec<&[u8]>> {
    let mut requests = Vec::new();
    while !file.is_empty() {
        let head = head_of(file).context("cannot find the end of a request's head")?;
        let end = head.len + head.content_length.unwrap_or(0);
        ensure!(end <= file.len(), "cannot find the end of a request's body");
        let (request, rest) = file.split_at(end);
        requests.push(request);
        file = rest;
    }
    ensure!(!requests.is_empty(), "cannot find a request");
    Ok(requests)
}

struct Head {
    len: usize,
    content_length: Option<usize>,
}

/// The head at the beginning of `bytes`, once it is complete.
fn head_of(bytes: &[u8]) -> Option<Head> {
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
    let content_length = bytes[..end]
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok()?.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    Some(Head { len: end + 4, content_length })
}

struct Connection {
    tcp: TcpStream,
    buffer: Box<[u8]>,
}

impl Connection {
    fn open(server: SocketAddr, seconds: u64) -> anyhow::Result<Connection> {
        let tcp = TcpStream::connect(server).context("cannot connect")?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(seconds)))?;
        let buffer = vec![0; 256 * 1024].into();
        Ok(Connection { tcp, buffer })
    }

    /// Sends one request and takes in the answer; gives the length of its body.
    fn exchange(&mut self, request: &[u8]) -> anyhow::Result<usize> {
        self.tcp.write_all(request).context("cannot send")?;
        let mut filled = 0;
        let head = loop {
            filled += read(&mut self.tcp, &mut self.buffer[filled..])?;
            if let Some(head) = head_of(&self.buffer[..filled]) {
                break head;
            }
        };
        let status = String::from_utf8_lossy(&self.buffer[..head.len]);
        let status = status.lines().next().unwrap_or_default();
        ensure!(status.starts_with("HTTP/1.1 2"), "the answer is {status}");
        let length = head.content_length.context("the answer has no length")?;
        let mut left =
            (head.len + length).checked_sub(filled).context("the answer is longer than it says")?;
        while left > 0 {
            let most = left.min(self.buffer.len());
            left -= read(&mut self.tcp, &mut self.buffer[..most])?;
        }
        Ok(length)
    }
}

fn read(tcp: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<usize> {
    loop {
        match tcp.read(buffer) {
            Ok(0) => bail!("the connection ended within an answer"),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("cannot read an answer"),
        }
    }
}
