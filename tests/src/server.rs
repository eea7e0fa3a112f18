//! The real programs: `proxyd` on a data directory of its own, and `proxy` beside it.
//!
//! The server listens on a port of the system's choice and says over systemd's notification socket when it is ready,
//! so nothing here waits by the clock. It is killed when the value is dropped; its log goes to `proxyd.log` in the
//! data directory and is shown when the server does not come up.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use schema::api::admin::{SOCKET_NAME, Status};
use schema::config::Settings;
use serde_json::Value;
use tempfile::TempDir;

use crate::bundle::{Bundle, store_metadata, write_pair};
use crate::http::{Connection, Request, Response};
use crate::world::{Brand, Identity, Revision, Snap, World};

/// The longest a server may take to come up or go down.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// How a server is started.
#[derive(Clone)]
pub struct Setup {
    program: String,
    settings: Settings,
    environment: Vec<(String, String)>,
    detached: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let mut settings = Settings::default();
        settings
            .set_all([
                ("proxy.domain", "127.0.0.1"),
                ("proxy.ipaddress", "127.0.0.1"),
                ("proxy.port.http", "0"),
                ("proxy.airgap", "True"),
                ("proxy.device-auth.secret", SECRET),
            ])
            .expect("known keys with sound values");
        Self { program: "proxyd".to_owned(), settings, environment: Vec::new(), detached: false }
    }
}

impl Setup {
    /// Starts with what the data directory says, and nothing else.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            program: "proxyd".to_owned(),
            settings: Settings::default(),
            environment: Vec::new(),
            detached: false,
        }
    }

    /// Starts in a process group of its own, so that what ends this program from the terminal does not end the server.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Sets a key of the configuration; an empty value clears it.
    ///
    /// # Panics
    /// When there is no such key.
    #[must_use]
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.settings.set(key, value).expect("a known key with a sound value");
        self
    }

    /// Sets a variable of the server's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts on a fresh data directory.
    ///
    /// # Panics
    /// When the server does not come up.
    #[must_use]
    pub fn start(self) -> Server {
        let dir = TempDir::with_prefix("airlock-").expect("there is room for temporary files");
        self.settings.save(dir.path()).expect("a fresh folder can be written");
        self.start_in(dir)
    }

    /// Starts on a folder that is there and outlives the server, with these settings.
    ///
    /// # Panics
    /// When the server does not come up.
    #[must_use]
    pub fn start_beside(self, data_dir: &Path) -> Server {
        self.settings.save(data_dir).expect("a fresh folder can be written");
        self.start_at(data_dir).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Starts on a data directory as it is.
    ///
    /// # Panics
    /// When the server does not come up.
    #[must_use]
    pub fn start_in(self, dir: TempDir) -> Server {
        let path = dir.path().to_owned();
        self.launch(&path, Some(dir)).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Starts on a folder that outlives the server.
    ///
    /// # Errors
    /// What the server said when it did not come up.
    pub fn start_at(self, data_dir: &Path) -> Result<Server, String> {
        self.launch(data_dir, None)
    }

    fn launch(self, data_dir: &Path, owned: Option<TempDir>) -> Result<Server, String> {
        let ready = Ready::new()?;
        let log = data_dir.join("proxyd.log");
        let file =
            fs::File::options().create(true).append(true).open(&log).map_err(|error| error.to_string())?;
        let mut command = Command::new(program(&self.program));
        if self.detached {
            command.process_group(0);
        }
        let child = command
            .args(["--data-dir".as_ref(), data_dir.as_os_str()])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("NOTIFY_SOCKET", &ready.path)
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(|error| error.to_string())?)
            .stderr(file)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.program))?;
        let mut server = Server {
            child,
            data_dir: data_dir.to_owned(),
            owned,
            setup: self,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            url: String::new(),
        };
        ready.wait(&mut server.child).map_err(|why| format!("proxyd {why}; its log:\n{}", server.log()))?;
        let status = server.status();
        let bound = status.listening.first().ok_or("proxyd is ready but listens nowhere")?;
        let bound = bound.rsplit('/').next().unwrap_or(bound);
        server.address =
            bound.parse().map_err(|_| format!("proxyd listens on {bound:?}, which is no address"))?;
        server.url = status.store_url.trim_end_matches('/').to_owned();
        Ok(server)
    }
}

/// systemd's notification socket, seen from systemd's side.
struct Ready {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: TempDir,
}

impl Ready {
    fn new() -> Result<Self, String> {
        let make = || -> io::Result<Self> {
            let folder = TempDir::new()?;
            let path = folder.path().join("notify");
            let socket = UnixDatagram::bind(&path)?;
            socket.set_read_timeout(Some(Duration::from_millis(50)))?;
            Ok(Self { socket, path, _folder: folder })
        };
        make().map_err(|error| format!("cannot make a notification socket: {error}"))
    }

    /// Waits until the process is ready, or has ended, or patience has.
    fn wait(&self, child: &mut Child) -> Result<(), String> {
        let begun = Instant::now();
        let mut message = [0; 4096];
        while begun.elapsed() < PATIENCE {
            if let Ok(length) = self.socket.recv(&mut message) {
                if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == "READY=1") {
                    return Ok(());
                }
            } else if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("ended with {status}"));
            }
        }
        Err("did not become ready".to_owned())
    }
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
    Command::new(program("proxy"))
        .args(["--data-dir".as_ref(), data_dir.as_os_str()])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("proxy can be started")
        .into()
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
        let mut request = Request::new(method, target, "airlock");
        if !body.is_empty() {
            request = request.body(body);
        }
        Connection::open_unix(&self.data_dir.join(SOCKET_NAME))
            .and_then(|mut connection| connection.exchange(&request))
            .unwrap_or_else(|error| panic!("the admin API does not answer: {error}\n{}", self.log()))
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
        let metadata =
            serde_json::to_vec(&store_metadata(store, brand, snaps)).expect("JSON of plain values");
        let push = |path: &str| self.proxy(&["push-brand-store-metadata", path]).ok();
        let _ = self.with_file("store.json", &metadata, push);
    }

    /// Blocks a device.
    pub fn block(&self, device: &Identity) {
        let _ = self.proxy(&["block-device", &device.name()]).ok();
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

    /// Bytes in the data directory, without the log.
    #[must_use]
    pub fn disk_use(&self) -> u64 {
        fn size(folder: &Path) -> u64 {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let bytes = entries.map(|entry| match entry.metadata() {
                Ok(meta) if meta.is_dir() => size(&entry.path()),
                Ok(meta) if entry.file_name() != "proxyd.log" => meta.len(),
                _ => 0,
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
        let _ = self.child.wait();
        Stopped { data_dir: self.data_dir.clone(), owned: self.owned.take(), setup: self.setup.clone() }
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

    /// Starts the build that ends itself at a named point, `NAME` or `NAME:PASS`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_dying_at(mut self, point: &str) -> Server {
        "proxyd-failpoints".clone_into(&mut self.setup.program);
        self.setup.environment.push(("AIRLOCK_FAILPOINT".to_owned(), point.to_owned()));
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
        "proxyd".clone_into(&mut setup.program);
        setup.environment.retain(|(name, _)| name != "AIRLOCK_FAILPOINT");
        let mut server = setup.launch(&self.data_dir, None)?;
        server.owned = self.owned.take();
        Ok(server)
    }
}
