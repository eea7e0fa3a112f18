//! A real reverse proxy in front of the server: Debian's `nginx-light`, as operators put it there.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::Uid;
use tempfile::TempDir;

use crate::attack::until;
use crate::server::{Server, build_folder};

/// Connections to the store are used again.
const REUSE: &str = "proxy_http_version 1.1; proxy_set_header Connection \"\";";

/// A running proxy.
pub struct Nginx {
    child: Child,
    folder: TempDir,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Nginx {
    /// A proxy that hands on what comes.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn before(store: &Server) -> Self {
        Self::start(store.address, &format!("proxy_pass http://store; {REUSE}"))
    }

    /// A proxy that hands on what comes over HTTPS, as the shortest configuration has it: one connection for each request.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn before_https(address: SocketAddr) -> Self {
        Self::start(address, &format!("proxy_pass https://{address};"))
    }

    /// A proxy that keeps answers for everybody, as far as their headers let it; `more` goes into its location.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn caching(store: &Server, more: &str) -> Self {
        let cache = "proxy_cache answers; proxy_cache_valid any 10m; proxy_cache_methods GET HEAD POST;
            add_header X-Cache $upstream_cache_status always;";
        Self::start(store.address, &format!("proxy_pass http://store; {REUSE} {cache} {more}"))
    }

    fn start(behind: SocketAddr, location: &str) -> Self {
        let folder = TempDir::with_prefix("nginx-").expect("there is room for temporary files");
        let place = folder.path().display();
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let user = if Uid::effective().is_root() { "user root;" } else { "" };
        let text = format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log warn; {user}
events {{ worker_connections 1024; }}
http {{
    log_format lines '$request'; access_log {place}/access.log lines;
    client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
    proxy_cache_path {place}/cache keys_zone=answers:1m;
    upstream store {{ server {behind}; keepalive 8; }}
    server {{
        listen {address};
        client_max_body_size 16m;
        location / {{
            proxy_set_header Host $http_host;
            {location}
        }}
    }}
}}
"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text).expect("there is room for temporary files");
        let child = Command::new(program())
            .arg("-e")
            .arg(folder.path().join("start.log"))
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx can be started");
        until("nginx listens", Duration::from_secs(20), || TcpStream::connect(address).is_ok());
        Self { child, folder, address }
    }

    /// The first lines of all requests that it read.
    #[must_use]
    pub fn requests(&self) -> String {
        fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default()
    }

    /// What it complained of.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where Debian keeps it, which is not on everybody's path, or where `tests/run` unpacked it.
fn program() -> PathBuf {
    let unpacked = build_folder().join("../tools/nginx/usr/sbin/nginx");
    let places = [PathBuf::from("/usr/sbin/nginx"), unpacked];
    let found = places.into_iter().find(|place| place.exists());
    found.expect("these tests need nginx: run `tests/run`, which unpacks it, or apt install nginx-light")
}
