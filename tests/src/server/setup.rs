//! How a server is started: its settings, its environment, and the wait until it is ready.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use schema::api::admin::Status;
use schema::config::Settings;
use tempfile::TempDir;

use super::{SECRET, Server, program};

/// The longest a server may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a server is started.
#[derive(Clone)]
pub struct Setup {
    settings: Settings,
    pub(super) environment: Vec<(String, String)>,
    detached: bool,
    descriptors: Option<u32>,
    unprivileged: bool,
    handed: Vec<(String, Arc<TcpListener>)>,
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
                ("proxy.auth.secret", SECRET),
                ("proxy.device-auth.secret", SECRET),
            ])
            .expect("known keys with sound values");
        Self {
            settings,
            environment: Vec::new(),
            detached: false,
            descriptors: None,
            unprivileged: false,
            handed: Vec::new(),
        }
    }
}

impl Setup {
    /// Starts with what the data directory says, and nothing else.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            settings: Settings::default(),
            environment: Vec::new(),
            detached: false,
            descriptors: None,
            unprivileged: false,
            handed: Vec::new(),
        }
    }

    /// Starts in a process group of its own, so that what ends this program from the terminal does not end the server.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Tells the points in it what to do (`server/src/failpoint.rs`).
    #[must_use]
    pub fn failpoint(self, what: &str) -> Self {
        self.variable("AIRLOCK_FAILPOINT", what)
    }

    /// Starts without root's right to read what nobody may read; as another user this is so anyway.
    #[must_use]
    pub fn unprivileged(mut self) -> Self {
        self.unprivileged = true;
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

    /// Starts it with other limits of connections, such as `head=2000,per_address=16`: milliseconds and numbers.
    #[must_use]
    pub fn limits(self, limits: &str) -> Self {
        self.variable("AIRLOCK_LIMITS", limits)
    }

    /// Starts it with a clock that is stepped by the seconds that a file says, at any time.
    #[must_use]
    pub fn clock(self, file: &Path) -> Self {
        self.variable("AIRLOCK_CLOCK_STEP", &format!("@{}", file.display()))
    }

    /// Lets it make deltas with another program.
    #[must_use]
    pub fn xdelta3(self, program: &Path) -> Self {
        self.variable("AIRLOCK_XDELTA3", &program.display().to_string())
    }

    /// Lets it make deltas of contents with the programs of another folder.
    #[must_use]
    pub fn squashfs_tools(self, folder: &Path) -> Self {
        self.variable("AIRLOCK_SQUASHFS_TOOLS", &folder.display().to_string())
    }

    /// Starts it with so many descriptors and no way to get more.
    #[must_use]
    pub fn descriptors(mut self, count: u32) -> Self {
        self.descriptors = Some(count);
        self
    }

    /// Sets a variable of the server's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Hands an open port over, as a service manager does.
    #[must_use]
    pub fn handing(mut self, name: &str, port: TcpListener) -> Self {
        self.handed.push((name.to_owned(), Arc::new(port)));
        self
    }

    /// The program, or a shell that becomes it once the open ports have their numbers.
    fn command(&self) -> io::Result<Command> {
        let program = program("proxyd");
        if let Some(count) = self.descriptors {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &count.to_string()]).arg(program);
            return Ok(command);
        }
        if self.unprivileged && nix::unistd::Uid::effective().is_root() {
            let mut command = Command::new("setpriv");
            command.arg("--bounding-set=-dac_override,-dac_read_search").arg(program);
            return Ok(command);
        }
        if self.handed.is_empty() {
            return Ok(Command::new(program));
        }
        // Out of the way first: one may have the number that another one is to get.
        let (mut aside, mut into_place) = (String::new(), String::new());
        for (number, (_, port)) in (3..).zip(&self.handed) {
            // It must outlive the step into the shell.
            fcntl(port, FcntlArg::F_SETFD(FdFlag::empty()))?;
            aside.push_str(&format!("exec {{port{number}}}<&{}; ", port.as_raw_fd()));
            into_place.push_str(&format!("exec {number}<&$port{number}; "));
        }
        let mut script = aside + &into_place;
        let names: Vec<&str> = self.handed.iter().map(|(name, _)| name.as_str()).collect();
        script.push_str("LISTEN_PID=$$ exec \"$0\" \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script]).arg(program);
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        Ok(command)
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

    pub(super) fn launch(self, data_dir: &Path, owned: Option<TempDir>) -> Result<Server, String> {
        let ready = Ready::new()?;
        let log = data_dir.join("proxyd.log");
        let file =
            fs::File::options().create(true).append(true).open(&log).map_err(|error| error.to_string())?;
        let mut command = self.command().map_err(|error| error.to_string())?;
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
            .map_err(|error| format!("cannot start proxyd: {error}"))?;
        let mut server = Server {
            child,
            data_dir: data_dir.to_owned(),
            owned,
            setup: self,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            url: String::new(),
        };
        ready.wait(&mut server.child).map_err(|why| format!("proxyd {why}; its log:\n{}", server.log()))?;
        let status = server.try_admin("GET", "/v1/status", b"").map_err(|error| {
            format!("proxyd is ready but does not answer: {error}; its log:\n{}", server.log())
        })?;
        let status: Status = serde_json::from_slice(&status.body).map_err(|error| error.to_string())?;
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
