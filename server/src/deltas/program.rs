//! One run of a program that is given the files of strangers: without this process' environment, confined, at the lowest priority, and with
//! limits of time, memory and output.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::libc::SIGPIPE;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::confine::{ConfineError, spawn};

/// How much memory a program may map unless told, in bytes.
const MEMORY: u64 = 1 << 30;

/// Why there is no delta.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    /// It would be larger than it may be.
    #[error("the revisions have too little in common")]
    TooLarge,
    /// A program ended badly, which it also does at its limit of memory.
    #[error("{0} ended with {1}")]
    Failed(&'static str, ExitStatus),
    /// It took too long and was killed.
    #[error("{0} took more than {secs} seconds and was killed", secs = .1.as_secs())]
    Slow(&'static str, Duration),
    /// The format cannot lead to this file.
    #[error("{0}, so the format snap-1-1-xdelta3 cannot lead to it")]
    Unfit(&'static str),
    /// What a device has differs from the file here.
    #[error("the file of the older revision is damaged: run `proxy verify`")]
    Source,
    /// The delta does not give its target.
    #[error("the delta that xdelta3 made gives another file than the signed one, so it was thrown away")]
    Wrong,
    /// A program cannot be confined or started.
    #[error("cannot run {0}")]
    Confine(&'static str, #[source] ConfineError),
    /// The files cannot be used.
    #[error("cannot read or write the files of a delta")]
    Io(#[from] io::Error),
}

/// What starts the programs that make one delta.
pub(super) struct Runner<'a> {
    /// Where they may write.
    pub(super) work: &'a TempDir,
    /// The path of this one.
    pub(super) xdelta3: &'a Path,
    /// How long one run may take.
    pub(super) time: Duration,
}

impl Runner<'_> {
    pub(super) fn xdelta3(&self) -> Program<'_> {
        Program::new("xdelta3", self.xdelta3)
    }

    /// Starts a program and returns its end. Dropping that kills it.
    pub(super) fn start(
        &self,
        program: Program<'_>,
    ) -> Result<impl Future<Output = Result<(), MakeError>> + use<>, MakeError> {
        let Program { name, path, args, reads, limit, memory, stdin, stdout } = program;
        let mut command = Command::new("/usr/bin/prlimit");
        command.args([format!("--fsize={limit}"), format!("--as={memory}"), "--core=0".to_owned()]);
        command.arg(format!("--cpu={}", self.time.as_secs().max(1))).arg(path).args(args);
        command.env_clear().current_dir(self.work.path()).kill_on_drop(true);
        command.stdin(stdin).stdout(stdout).stderr(Stdio::null());
        let reads: Vec<&Path> = reads.into_iter().chain([path]).collect();
        let mut child = spawn(&mut command, &reads, self.work.path())
            .map_err(|failure| MakeError::Confine(name, failure))?;
        let time = self.time;
        Ok(async move {
            let status = timeout(time, child.wait()).await.map_err(|_| MakeError::Slow(name, time))??;
            // Whoever read from it ended before, and tells why.
            let is_cut = status.signal() == Some(SIGPIPE);
            if status.success() || is_cut { Ok(()) } else { Err(MakeError::Failed(name, status)) }
        })
    }
}

/// One run of a program.
pub(super) struct Program<'a> {
    name: &'static str,
    path: &'a Path,
    args: Vec<OsString>,
    reads: Vec<&'a Path>,
    limit: u64,
    memory: u64,
    stdin: Stdio,
    stdout: Stdio,
}

impl<'a> Program<'a> {
    pub(super) fn new(name: &'static str, path: &'a Path) -> Self {
        let (args, reads, memory) = (Vec::new(), Vec::new(), MEMORY);
        Self { name, path, args, reads, limit: 0, memory, stdin: Stdio::null(), stdout: Stdio::null() }
    }

    pub(super) fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    pub(super) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Names a file outside the work folder, which it may read.
    pub(super) fn read(mut self, file: &'a Path) -> Self {
        self.reads.push(file);
        self.arg(file)
    }

    /// Bytes of the largest file that it may write.
    pub(super) fn limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// Bytes of memory that it may map.
    pub(super) fn memory(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    pub(super) fn stdin(self, stdin: impl Into<Stdio>) -> Self {
        Self { stdin: stdin.into(), ..self }
    }

    pub(super) fn stdout(self, stdout: impl Into<Stdio>) -> Self {
        Self { stdout: stdout.into(), ..self }
    }
}
