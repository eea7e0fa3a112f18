//! Slow readers and fast ones together: what each gets, and what memory the server takes for all of them.
//!
//! ```text
//! readers --server 127.0.0.1:8080 --pid 4711 --requests download.http --slow 100 --fast 2 --seconds 30
//! 4096 4096 1482.1 38.2 44.9 12.4      bytes a second of the slowest and of the median slow reader, MiB a second of all
//!                                      fast ones, MiB of the server before and at its peak, MiB of sockets in the kernel
//! ```
//!
//! A slow reader takes 4 KiB a second. A reader that is cut fails the run.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use nix::sys::socket::{setsockopt, sockopt::TcpMaxSeg};
use tokio::net::TcpSocket;

/// What a slow reader takes in a second.
const SLOW: usize = 4096;

/// Reads one file many times, slowly and quickly.
#[derive(Parser)]
struct Args {
    /// Where the server listens; this machine only.
    #[arg(long)]
    server: SocketAddr,
    /// The server's process.
    #[arg(long)]
    pid: u32,
    /// One raw request for a large file.
    #[arg(long)]
    requests: PathBuf,
    /// Slow readers.
    #[arg(long, default_value_t = 100)]
    slow: usize,
    /// Fast readers.
    #[arg(long, default_value_t = 2)]
    fast: usize,
    /// How long to read.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(args.server.ip().is_loopback(), "cannot load another machine");
    let request = fs::read(&args.requests)?;
    let before = memory(args.pid, "VmRSS:")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut slow = (0..args.slow)
        .map(|_| {
            let mut tcp = runtime.block_on(slow_reader(args.server))?;
            tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
            tcp.write_all(&request)?;
            Ok((tcp, 0))
        })
        .collect::<anyhow::Result<Vec<(TcpStream, usize)>>>()?;
    let (ended, fast) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    let sockets = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..args.fast)
            .map(|_| {
                scope.spawn(|| {
                    let mut buffer = vec![0; 256 * 1024];
                    while !ended.load(Ordering::Relaxed) {
                        let mut tcp = TcpStream::connect(args.server)?;
                        tcp.write_all(&request)?;
                        let first = tcp.read(&mut buffer)?;
                        ensure!(buffer[..first].starts_with(b"HTTP/1.1 2"), "the server refused");
                        tcp.shutdown(std::net::Shutdown::Write)?;
                        while !ended.load(Ordering::Relaxed) {
                            match tcp.read(&mut buffer)? {
                                0 => break,
                                count => drop(fast.fetch_add(count as u64, Ordering::Relaxed)),
                            }
                        }
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        let (mut piece, mut sockets) = ([0; SLOW], 0.0_f64);
        for second in 0..args.seconds {
            for (tcp, taken) in &mut slow {
                tcp.read_exact(&mut piece).context("a slow reader was cut")?;
                *taken += piece.len();
            }
            sockets = sockets.max(in_the_kernel()?);
            std::thread::sleep(Duration::from_secs(second + 1).saturating_sub(begun.elapsed()));
        }
        ended.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().map_err(|_| anyhow::anyhow!("a fast reader panicked"))??;
        }
        anyhow::Ok(sockets)
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut rates: Vec<f64> = slow.iter().map(|(_, taken)| *taken as f64 / seconds).collect();
    rates.sort_by(f64::total_cmp);
    let (least, median) = match &rates[..] {
        [] => (0.0, 0.0),
        [least, ..] => (*least, rates[rates.len() / 2]),
    };
    let fast = fast.into_inner() as f64 / 1_048_576.0 / seconds;
    println!("{least:.0} {median:.0} {fast:.1} {before:.1} {:.1} {sockets:.1}", memory(args.pid, "VmHWM:")?);
    Ok(())
}

/// A connection whose kernel takes in 64 KiB by itself, in segments of a real network.
async fn slow_reader(server: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(64 * 1024)?;
    setsockopt(&socket, TcpMaxSeg, &1448)?;
    let tcp = socket.connect(server).await.context("cannot connect")?.into_std()?;
    tcp.set_nonblocking(false)?;
    Ok(tcp)
}

/// A figure of a process in MiB.
fn memory(pid: u32, name: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such figure")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
}

/// What all TCP connections of this machine hold in the kernel, in MiB.
fn in_the_kernel() -> anyhow::Result<f64> {
    let table = fs::read_to_string("/proc/net/sockstat")?;
    let line = table.lines().find_map(|line| line.strip_prefix("TCP:")).context("no TCP")?;
    let pages = line.split(" mem ").nth(1).context("no memory")?;
    Ok(pages.trim().parse::<f64>()? * 4096.0 / 1_048_576.0)
}
