//! The real programs: `proxyd` on a data directory of its own, and `proxy` beside it.
//!
//! The server listens on a port of the system's choice and says over systemd's notification socket when it is ready,
//! so nothing here waits by the clock. It is killed when the value is dropped; its log goes to `proxyd.log` in the
//! data directory and is shown when the server does not come up.

mod secrets;
mod setup;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use schema::api::admin::{SOCKET_NAME, Status};
use serde_json::Value;
use tempfile::TempDir;

pub use self::secrets::{marks, shown_in};
pub use self::setup::Setup;
use crate::bundle::{Bundle, store_metadata, write_pair};
use crate::http::{Connection, Request, Response};
use crate::world::{Brand, Identity, Revision, Snap, World};

/// A secret of sessions that every server of the tests starts with, unless told otherwise.
pub const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Where the programs of this build are.
///
/// # Panics
/// When the running program cannot tell where it is.
#[must_use]
pub fn build_folder() -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its path");
    let folder = own.parent().expect("a program is in a folder");
    if folder.ends_with("deps") { folder.parent().unwrap_or(folder).to_owned() } else { folder.to_owned() }
}

/// The path of a program of this build.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = build_folder().join(name);
    assert!(
        path.exists(),
        "{} is missing: run `tests/run`, which builds what the tests start",
        path.display()
    );
    path
}

/// A running server.
pub struct Server {
    child: Child,
    /// Its data directory.
    pub data_dir: PathBuf,
    owned: Option<TempDir>,
    setup: Setup,
    /// Where devices reach it.
    pub address: SocketAddr,
    /// The base of every link it gives out, without a final slash.
    pub url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            secrets::search(&self.data_dir, self.pid());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of proxyd in {}:\n{}", self.data_dir.display(), self.log());
        }
    }
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Results.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
}

impl Ran {
    /// The results of a command that had to succeed.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The results as JSON.
    ///
    /// # Panics
    /// When the command failed or printed something else.
    #[must_use]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// The results as JSON, one value a line.
    ///
    /// # Panics
    /// When the command failed or printed something else.
    #[must_use]
    pub fn json_lines(self) -> Vec<Value> {
        let text = self.ok();
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        text.lines().map(line).collect()
    }

    /// The complaint of a command that had to fail.
    ///
    /// # Panics
    /// When it succeeded.
    #[must_use]
    pub fn refused(self) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        self.stderr
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs `proxy` on a data directory.
///
/// # Panics
/// When the program cannot be started.
#[must_use]
pub fn proxy(data_dir: &Path, args: &[&str]) -> Ran {
    let ran: Ran = Command::new(program("proxy"))
        .args(["--data-dir".as_ref(), data_dir.as_os_str()])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("proxy can be started")
        .into();
    if !secrets::may_show(args) {
        let marks = secrets::marks(data_dir);
        for text in [&ran.stdout, &ran.stderr] {
            assert_eq!(secrets::shown_in(text.as_bytes(), &marks), None, "by proxy {args:?}");
        }
    }
    ran
}

impl Server {
    /// A server in air-gapped mode on the embedded database, with nothing pushed.
    #[must_use]
    pub fn start() -> Self {
        Setup::default().start()
    }

    /// The host part of its links.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.split_once("://").map_or(self.url.as_str(), |(_, host)| host)
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens for HTTPS, once it has a certificate.
    #[must_use]
    pub fn https(&self) -> Option<SocketAddr> {
        let listening = self.status().listening;
        listening.iter().find_map(|at| at.strip_prefix("https://")?.parse().ok())
    }

    /// The memory that it has at this moment, in KiB.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("a running process has memory")
    }

    /// The processor time that it has taken so far.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        crate::cpu::of(self.pid()).expect("the time of a process")
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.data_dir.join("proxyd.log")).unwrap_or_default()
    }

    /// Runs `proxy` beside it.
    #[must_use]
    pub fn proxy(&self, args: &[&str]) -> Ran {
        proxy(&self.data_dir, args)
    }

    /// One request to the admin API.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn admin(&self, method: &str, target: &str, body: &[u8]) -> Response {
        self.try_admin(method, target, body)
            .unwrap_or_else(|error| panic!("the admin API does not answer: {error}\n{}", self.log()))
    }

    /// One request to the admin API of a server that may end meanwhile.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn try_admin(&self, method: &str, target: &str, body: &[u8]) -> io::Result<Response> {
        let mut request = Request::new(method, target, "airlock");
        if !body.is_empty() {
            request = request.body(body);
        }
        Connection::open_unix(&self.data_dir.join(SOCKET_NAME))
            .and_then(|mut connection| connection.exchange(&request))
    }

    /// How it is doing.
    ///
    /// # Panics
    /// When it does not say.
    #[must_use]
    pub fn status(&self) -> Status {
        let answer = self.admin("GET", "/v1/status", b"");
        serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error} in {answer:?}"))
    }

    /// Sends a request as it is.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn send(&self, request: &Request) -> Response {
        crate::http::exchange(self.address, request)
            .unwrap_or_else(|error| panic!("no answer to {request:?}: {error}\n{}", self.log()))
    }

    /// Trusts the root of a world.
    pub fn trust(&self, world: &World) {
        let _ =
            self.with_file("root.assert", &world.anchors(), |path| self.proxy(&["trust", "add", path]).ok());
    }

    /// Pushes a revision as a pair of files.
    pub fn push_pair(&self, revision: &Revision, channels: &[&str], store: &str) {
        let _ = self.try_push_pair(revision, channels, store).ok();
    }

    /// Pushes a revision as a pair of files; what came of it.
    #[must_use]
    pub fn try_push_pair(&self, revision: &Revision, channels: &[&str], store: &str) -> Ran {
        let folder = TempDir::new().expect("there is room for temporary files");
        let path = write_pair(folder.path(), revision);
        let mut args = vec!["push-snap", path.to_str().expect("a path of text"), "--store", store];
        for channel in channels {
            args.extend(["--channel", channel]);
        }
        self.proxy(&args)
    }

    /// Pushes a bundle.
    pub fn push_bundle(&self, bundle: &Bundle) {
        let _ = self.try_push_bundle(&bundle.pack()).ok();
    }

    /// Pushes a file as a bundle; what came of it.
    #[must_use]
    pub fn try_push_bundle(&self, file: &[u8]) -> Ran {
        self.with_file("hello-20240102T030405.tar.gz", file, |path| self.proxy(&["push-snap", path]))
    }

    /// Pushes a stream of assertions; what came of it.
    #[must_use]
    pub fn try_push_assertions(&self, stream: &[u8]) -> Ran {
        self.with_file("documents.assert", stream, |path| self.proxy(&["push-assertions", path]))
    }

    /// Pushes account and keys of a brand.
    pub fn push_brand(&self, brand: &Brand) {
        let keys = brand.account_keys();
        let _ = self.with_file("keys.assert", &keys, |path| self.proxy(&["push-account-keys", path]).ok());
    }

    /// Pushes the metadata of a brand store that grants these snaps.
    pub fn push_store(&self, store: &str, brand: &str, snaps: &[&Snap]) {
        self.push_store_with(store, brand, snaps, &[]);
    }

    /// The same with more words of the operator.
    pub fn push_store_with(&self, store: &str, brand: &str, snaps: &[&Snap], more: &[&str]) {
        let _ = self.try_push_stores(&store_metadata(store, brand, snaps), more).ok();
    }

    /// Pushes the metadata of brand stores; what came of it.
    #[must_use]
    pub fn try_push_stores(&self, metadata: &Value, more: &[&str]) -> Ran {
        let push = |path: &str| self.proxy(&[&["push-brand-store-metadata", path][..], more].concat());
        self.with_file("store.json", metadata.to_string().as_bytes(), push)
    }

    /// Makes a service login for a store whose metadata was pushed: its id and its token.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn login(&self, store: &str, acls: &str) -> (String, String) {
        self.make_login(&["create-login", "--store", store, "--acl", acls, "--json"])
    }

    /// Makes a service login for the whole site: its id and its token.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn site_login(&self, acls: &str) -> (String, String) {
        self.make_login(&["create-login", "--acl", acls, "--json"])
    }

    fn make_login(&self, args: &[&str]) -> (String, String) {
        let made = self.proxy(args).json();
        let part = |name: &str| made[name].as_str().expect("a login has an id and a token").to_owned();
        (part("id"), part("token"))
    }

    /// Blocks a device.
    pub fn block(&self, device: &Identity) {
        let _ = self.proxy(&["block-device", &device.name(), "--unseen"]).ok();
    }

    /// Runs something with a file of this name and content.
    ///
    /// # Panics
    /// When there is no room for the file.
    pub fn with_file<T>(&self, name: &str, bytes: &[u8], run: impl FnOnce(&str) -> T) -> T {
        let folder = TempDir::new().expect("there is room for temporary files");
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("there is room for temporary files");
        run(path.to_str().expect("a path of text"))
    }

    /// Bytes in the data directory, without the log and the database's journal, which a checkpoint empties.
    #[must_use]
    pub fn disk_use(&self) -> u64 {
        fn size(folder: &Path) -> u64 {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let bytes = entries.map(|entry| match entry.metadata() {
                Ok(meta) if meta.is_dir() => size(&entry.path()),
                Ok(meta) => match entry.file_name().to_string_lossy() {
                    name if name == "proxyd.log" || name.ends_with("-wal") => 0,
                    _ => meta.len(),
                },
                Err(_) => 0,
            });
            bytes.sum()
        }
        size(&self.data_dir)
    }

    /// Kills the process at once, as a power cut would.
    pub fn kill(mut self) -> Stopped {
        let _ = self.child.kill();
        self.ended()
    }

    /// Asks the process to stop and waits for it.
    ///
    /// # Panics
    /// When it does not stop, or fails on the way.
    pub fn stop(mut self) -> Stopped {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
            .expect("an own process can be signalled");
        let status = self.child.wait().expect("an own process can be waited for");
        assert!(status.success(), "proxyd ended with {status}:\n{}", self.log());
        self.ended()
    }

    /// Waits until the process ends by itself.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn wait(mut self) -> Stopped {
        let _ = self.child.wait().expect("an own process can be waited for");
        self.ended()
    }

    fn ended(&mut self) -> Stopped {
        let status = self.child.wait();
        let signal = status.ok().and_then(|status| status.signal());
        Stopped {
            data_dir: self.data_dir.clone(),
            signal,
            owned: self.owned.take(),
            setup: self.setup.clone(),
        }
    }

    /// Leaves the process running when the harness ends.
    #[must_use]
    pub fn leave_running(self) -> u32 {
        let mut leaving = std::mem::ManuallyDrop::new(self);
        if let Some(folder) = leaving.owned.take() {
            let _ = folder.keep();
        }
        leaving.child.id()
    }
}

/// The data directory of a server that has ended.
pub struct Stopped {
    /// Where it is.
    pub data_dir: PathBuf,
    /// The signal that ended the process, if one did.
    pub signal: Option<i32>,
    owned: Option<TempDir>,
    setup: Setup,
}

impl Stopped {
    /// Starts the server again as it was, without a point to end at.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(mut self) -> Server {
        self.try_start().unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Starts the very build again that ran before, with all it was told.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_as_it_was(mut self) -> Server {
        let mut server =
            self.setup.clone().launch(&self.data_dir, None).unwrap_or_else(|failure| panic!("{failure}"));
        server.owned = self.owned.take();
        server
    }

    /// Starts it so that it ends itself at a named point, `NAME` or `NAME:PASS`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_dying_at(mut self, point: &str) -> Server {
        self.setup.environment.push(("AIRLOCK_FAILPOINT".to_owned(), point.to_owned()));
        let mut server =
            self.setup.clone().launch(&self.data_dir, None).unwrap_or_else(|failure| panic!("{failure}"));
        server.owned = self.owned.take();
        server
    }

    /// Starts the server again with its clock stepped by seconds, either way.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_with_clock(mut self, step: i64) -> Server {
        self.setup.environment.push(("AIRLOCK_CLOCK_STEP".to_owned(), step.to_string()));
        let mut server =
            self.setup.clone().launch(&self.data_dir, None).unwrap_or_else(|failure| panic!("{failure}"));
        server.owned = self.owned.take();
        server
    }

    /// Tries to start the server again.
    ///
    /// # Errors
    /// What it said when it did not come up.
    pub fn try_start(&mut self) -> Result<Server, String> {
        let mut setup = self.setup.clone();
        setup.environment.retain(|(name, _)| name != "AIRLOCK_FAILPOINT");
        let mut server = setup.launch(&self.data_dir, None)?;
        server.owned = self.owned.take();
        Ok(server)
    }
}
