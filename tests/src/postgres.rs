//! PostgreSQL for tests: a cluster of its own, thrown away afterwards.
//!
//! A cluster lives in a folder with a short path, in memory where it can, listens on a Unix socket there and nowhere else, and
//! flushes nothing. A small watcher process waits for the test process to end, however it ends, stops the cluster and removes
//! the folder.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};

use crate::memory;
use crate::server::build_folder;

/// A running PostgreSQL of the test's own.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    owner: Option<User>,
    watcher: Option<Child>,
    databases: AtomicU32,
}

impl Cluster {
    /// The cluster that all tests of this process share, started when it is first asked for.
    ///
    /// # Panics
    /// When there is no PostgreSQL to start, saying what to install.
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| match Cluster::start() {
            Ok(cluster) => cluster,
            Err(error) => panic!("{error:#}"),
        })
    }

    /// Starts a cluster for a test that stops or freezes it.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Result<Cluster> {
        let programs = find_programs()?;
        // PostgreSQL refuses to run as root.
        let owner = if Uid::effective().is_root() {
            let user = User::from_name("postgres")?;
            Some(user.context("cannot run PostgreSQL as root without an account `postgres`")?)
        } else {
            None
        };
        let folder = memory::folder("airpg");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        if let Some(owner) = &owner {
            chown(folder.path(), Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
        }
        let mut cluster =
            Cluster { folder: folder.keep(), programs, owner, watcher: None, databases: AtomicU32::new(0) };
        cluster.watcher = Some(cluster.watch()?);
        cluster.initialize()?;
        cluster.resume()?;
        Ok(cluster)
    }

    /// Makes an empty database and answers its connection string.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn database(&self) -> Result<String> {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.connect("postgres").await?.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        Ok(self.url(&name))
    }

    /// Copies a database that nobody is connected to and answers the copy's connection string.
    ///
    /// # Errors
    /// When the cluster does not answer, or the database is in use.
    pub async fn database_like(&self, url: &str) -> Result<String> {
        let original = url.rsplit('/').next().context("a connection string names a database")?;
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let statement = format!("CREATE DATABASE {name} TEMPLATE {original}");
        self.connect("postgres").await?.batch_execute(&statement).await?;
        Ok(self.url(&name))
    }

    /// Connects to a database as its administrator.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn connect(&self, database: &str) -> Result<tokio_postgres::Client> {
        connect(&self.url(database)).await
    }

    /// Stops the cluster at once, as a crash would, and returns when it is down.
    ///
    /// # Errors
    /// When it was not running.
    pub fn stop(&self) -> Result<()> {
        self.run("pg_ctl", &["-D", "data", "-m", "immediate", "-w", "stop"])
    }

    /// Starts a stopped cluster again and returns when it answers.
    ///
    /// # Errors
    /// When it does not start; the message holds the end of its log.
    pub fn resume(&self) -> Result<()> {
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c fsync=off -c shared_buffers=16MB -c max_connections=60",
            self.folder.display()
        );
        self.run("pg_ctl", &["-D", "data", "-l", "log", "-o", &options, "-w", "start"])
            .with_context(|| fs::read_to_string(self.folder.join("log")).unwrap_or_default())
    }

    /// Keeps a copy of all its files, as a base backup or a snapshot of the volume does; stop it first.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn back_up(&self) -> Result<()> {
        self.run("/bin/cp", &["-a", "data", "copy"])
    }

    /// Puts that copy in place of its files; stop it first.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn put_back(&self) -> Result<()> {
        self.run("/bin/rm", &["-r", "data"])?;
        self.run("/bin/cp", &["-a", "copy", "data"])
    }

    /// Stops all processes of the cluster where they are: connections stay open, and nothing answers.
    ///
    /// # Errors
    /// When the cluster is not running.
    pub fn freeze(&self) -> Result<()> {
        // The parent first, so that no more children appear.
        let parent = self.parent()?;
        kill(parent, Signal::SIGSTOP)?;
        for child in children(parent)? {
            kill(child, Signal::SIGSTOP)?;
        }
        Ok(())
    }

    /// Lets a frozen cluster go on.
    ///
    /// # Errors
    /// When the cluster is not running.
    pub fn thaw(&self) -> Result<()> {
        let parent = self.parent()?;
        for process in children(parent)?.into_iter().chain([parent]) {
            kill(process, Signal::SIGCONT)?;
        }
        Ok(())
    }

    /// What the server has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Makes the data directory as `initdb` does, from a copy of the first one in the build folder: a tenth of the work.
    fn initialize(&self) -> Result<()> {
        let version = Command::new(self.programs.join("initdb")).arg("--version").output()?.stdout;
        let version =
            String::from_utf8(version)?.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let kept = build_folder().join(version.trim_matches('-'));
        let own = self.folder.join("data");
        if kept.is_dir() {
            return copy_as_it_is(&kept, &own);
        }
        // A segment is written whole, however little is in it.
        let small = ["--no-sync", "--wal-segsize=1"];
        let access = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"];
        self.run("initdb", &[&["-D", "data"], &small[..], &access[..]].concat())?;
        let fresh = tempfile::Builder::new().prefix("initdb-").tempdir_in(build_folder())?;
        copy_as_it_is(&own, &fresh.path().join("data"))?;
        // Tests run in many processes: the first to put its folder there wins, and all are the same.
        let _ = fs::rename(fresh.path().join("data"), &kept);
        Ok(())
    }

    fn url(&self, database: &str) -> String {
        let host = self.folder.display().to_string().replace('/', "%2F");
        format!("postgresql://postgres@{host}/{database}")
    }

    fn parent(&self) -> Result<Pid> {
        let text = fs::read_to_string(self.folder.join("data/postmaster.pid"))?;
        Ok(Pid::from_raw(text.lines().next().unwrap_or_default().parse()?))
    }

    /// A command with the rights and the environment of the cluster's owner.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.folder).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if let Some(owner) = &self.owner {
            // Drops the supplementary groups as well.
            command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
        }
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        // The server keeps what it inherits: its errors go to a file, which has no end to wait for.
        let errors = self.folder.join(format!("{}.errors", program.replace('/', "_")));
        let mut command = self.command(self.programs.join(program));
        let status = command.args(arguments).stderr(fs::File::create(&errors)?).status()?;
        if !status.success() {
            bail!("{program} failed with {status}: {}", fs::read_to_string(&errors)?);
        }
        Ok(())
    }

    fn watch(&self) -> Result<Child> {
        const SCRIPT: &str =
            r#"trap "" INT TERM HUP; read -r _; "$1" -D "$2/data" -m immediate stop; cd /; rm -rf "$2""#;
        let mut command = self.command("/bin/sh");
        command.args(["-c", SCRIPT, "sh"]).arg(self.programs.join("pg_ctl")).arg(&self.folder);
        // Apart from the test's group, which a test runner may kill as a whole.
        Ok(command.stdin(Stdio::piped()).stderr(Stdio::null()).process_group(0).spawn()?)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.thaw();
        if let Some(mut watcher) = self.watcher.take() {
            drop(watcher.stdin.take());
            let _ = watcher.wait();
        }
    }
}

/// Connects to the database that `url` names.
///
/// # Errors
/// When it does not answer.
pub async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Copies a folder with its owners, as `cp -a` does.
fn copy_as_it_is(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("/bin/cp").arg("-a").args([from, to]).stdin(Stdio::null()).status()?;
    if !status.success() {
        bail!("cannot copy {} to {}: cp ended with {status}", from.display(), to.display());
    }
    Ok(())
}

fn children(parent: Pid) -> Result<Vec<Pid>> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    list.split_whitespace().map(|child| Ok(Pid::from_raw(child.parse()?))).collect()
}

/// The folder of PostgreSQL's programs: from `PATH`, or the newest one that Debian keeps out of it.
fn find_programs() -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    let complete = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file();
    folders.into_iter().find(complete).context(
        "cannot find initdb and pg_ctl: these tests need PostgreSQL (on Debian and Ubuntu: apt install postgresql)",
    )
}
