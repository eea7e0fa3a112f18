//! One delta, made by the programs that devices apply it with, and applied again before it counts.
//!
//! The programs get files of strangers. They run without this process' environment, confined, at the lowest priority, and with limits of
//! time, memory and output.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::libc::{SIGPIPE, SIGXFSZ};
use schema::digest::Sha3_384;
use schema::store::DeltaFormat;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::confine::{ConfineError, spawn};
use super::contents::{self, Tools};
use super::hash;

/// How long one run may take.
const TIME: Duration = Duration::from_secs(1800);
/// How much memory xdelta3 may map, in bytes.
const MEMORY: u64 = 1 << 30;
/// How much of the source the program looks at together: all of it, between its own default and what fits into its memory. With less,
/// what moved farther within a file is not found again.
const WINDOW: (u64, u64) = (64 << 20, 512 << 20);

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

/// A delta that gave its target. Only [`Encoder::make`] makes one.
pub(crate) struct Proven(PathBuf);

impl Proven {
    #[cfg(test)]
    pub(super) fn of(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is until it is published.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

/// A file between which and another a delta is made.
pub(crate) struct Whole {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Bytes.
    pub(crate) size: u64,
    /// As it was signed.
    pub(crate) digest: Sha3_384,
}

/// The programs that make deltas.
#[derive(Debug)]
pub(crate) struct Encoder {
    xdelta3: PathBuf,
    tools: Option<Tools>,
    time: Duration,
}

impl Encoder {
    /// Looks for them on this host.
    pub(crate) fn find() -> Option<Self> {
        #[cfg(not(feature = "failpoints"))]
        let places = ["/usr/bin/xdelta3", "/usr/local/bin/xdelta3"];
        #[cfg(feature = "failpoints")]
        #[expect(clippy::disallowed_methods, reason = "tests put another program in its place")]
        let places = [std::env::var_os("AIRLOCK_XDELTA3").unwrap_or_else(|| "/usr/bin/xdelta3".into())];
        let xdelta3 = places.into_iter().map(PathBuf::from).find(|program| program.is_file())?;
        Some(Self { xdelta3, tools: Tools::find(), time: TIME })
    }

    #[cfg(test)]
    pub(super) fn of(xdelta3: PathBuf, tools: Option<Tools>, time: Duration) -> Self {
        Self { xdelta3, tools, time }
    }

    /// Whether it makes this format.
    pub(crate) fn makes(&self, format: DeltaFormat) -> bool {
        match format {
            DeltaFormat::Plain => true,
            DeltaFormat::Contents => self.tools.is_some(),
        }
    }

    /// Makes a delta of at most `limit` bytes in `work`, and returns it if it turns the one file into the other.
    pub(crate) async fn make(
        &self,
        format: DeltaFormat,
        work: &TempDir,
        source: &Whole,
        target: &Whole,
        limit: u64,
    ) -> Result<Proven, MakeError> {
        let (delta, rebuilt) = (work.path().join("delta"), work.path().join("rebuilt"));
        // What was made from a damaged file would give its target here, and on no device.
        if digest(source.path.clone()).await? != source.digest {
            return Err(MakeError::Source);
        }
        let (made, wrong) = match (format, &self.tools) {
            (DeltaFormat::Plain, _) => {
                let made = self.plain(work, source, target, limit, &delta, &rebuilt).await;
                (made, MakeError::Wrong)
            }
            (DeltaFormat::Contents, Some(tools)) => {
                let made =
                    contents::make(self, tools, work, (source, target), limit, (&delta, &rebuilt)).await;
                (made, MakeError::Unfit("mksquashfs packs what the newer revision contains in another way"))
            }
            (DeltaFormat::Contents, None) => return Err(MakeError::Unfit("there are no squashfs-tools")),
        };
        made.map_err(|failure| match failure {
            MakeError::Failed("xdelta3", status) if status.signal() == Some(SIGXFSZ) => MakeError::TooLarge,
            failure => failure,
        })?;
        let found = digest(rebuilt.clone()).await?;
        fs::remove_file(&rebuilt)?;
        if found != target.digest {
            return Err(wrong);
        }
        Ok(Proven(delta))
    }

    /// Writes the difference between the two files, and what a device makes of it.
    async fn plain(
        &self,
        work: &TempDir,
        source: &Whole,
        target: &Whole,
        limit: u64,
        delta: &Path,
        rebuilt: &Path,
    ) -> Result<(), MakeError> {
        let window = source.size.clamp(WINDOW.0, WINDOW.1).to_string();
        let encode = self.xdelta3().args(["-3", "-D", "-f", "-B", &window, "-e", "-s"]);
        let encode = encode.read(&source.path).read(&target.path).arg(delta).limit(limit);
        self.start(encode, work)?.await?;
        // As devices do it.
        let decode = self.xdelta3().args(["-f", "-d", "-s"]).read(&source.path).arg(delta).arg(rebuilt);
        self.start(decode.limit(target.size), work)?.await
    }

    pub(super) fn xdelta3(&self) -> Program<'_> {
        Program::new("xdelta3", &self.xdelta3)
    }

    /// Starts a program and returns its end. Dropping that kills it.
    pub(super) fn start(
        &self,
        program: Program<'_>,
        work: &TempDir,
    ) -> Result<impl Future<Output = Result<(), MakeError>> + use<>, MakeError> {
        let Program { name, path, args, reads, limit, memory, stdin, stdout } = program;
        let mut command = Command::new("/usr/bin/prlimit");
        command.args([format!("--fsize={limit}"), format!("--as={memory}"), "--core=0".to_owned()]);
        command.arg(format!("--cpu={}", self.time.as_secs().max(1))).arg(path).args(args);
        command.env_clear().current_dir(work.path()).kill_on_drop(true);
        command.stdin(stdin).stdout(stdout).stderr(Stdio::null());
        let reads: Vec<&Path> = reads.into_iter().chain([path]).collect();
        let mut child =
            spawn(&mut command, &reads, work.path()).map_err(|failure| MakeError::Confine(name, failure))?;
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

/// The digest of a file, found on a thread that may block.
async fn digest(path: PathBuf) -> io::Result<Sha3_384> {
    spawn_blocking(move || hash(&path)).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(100);

    /// What a run of a script in place of the program gives, for a target of 100,000 bytes and a limit of half of it.
    async fn made_by(script: &str) -> Result<u64, MakeError> {
        let bytes: Vec<u8> =
            (0..25_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        made_of(script, &bytes[..90_000], &bytes[..90_000], &bytes, PATIENCE).await
    }

    /// The same for these files: what was signed as the source, what is there of it, and the target.
    async fn made_of(
        script: &str,
        signed: &[u8],
        held: &[u8],
        new: &[u8],
        time: Duration,
    ) -> Result<u64, MakeError> {
        let (held_in, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| held_in.path().join(name);
        fs::write(path("old"), held).unwrap();
        fs::write(path("new"), new).unwrap();
        fs::write(path("secret"), "secret").unwrap();
        let program = path("program");
        let held_in = held_in.path().display();
        fs::write(
            &program,
            format!("#!/bin/sh\nPATH=/usr/bin:/bin\nheld={held_in}\nfor last; do :; done\n{script}\n"),
        )
        .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let whole = |name: &str, bytes: &[u8]| Whole {
            path: path(name),
            size: bytes.len() as u64,
            digest: Sha3_384::of(bytes),
        };
        let encoder = Encoder::of(program, None, time);
        let (source, target) = (whole("old", signed), whole("new", new));
        let made = encoder.make(DeltaFormat::Plain, &work, &source, &target, 50_000).await?;
        Ok(fs::metadata(made.path())?.len())
    }

    const REAL: &str = r#"exec /usr/bin/xdelta3 "$@""#;
    /// Gives for every delta a file of the right size that is no target.
    const WRONG: &str = r#"case "$*" in *-d*) printf %0100000d 0 > "$last";; *) echo x > "$last";; esac"#;

    #[tokio::test]
    async fn only_a_delta_that_gives_its_target_counts() {
        let real = made_by(REAL).await;
        assert!(matches!(real, Ok(size) if size < 20_000), "{real:?}: is xdelta3 installed?");
        let wrong = made_by(WRONG).await;
        assert!(matches!(wrong, Err(MakeError::Wrong)), "{wrong:?}");
    }

    #[tokio::test]
    async fn a_damaged_source_gives_no_delta() {
        let sound = [7; 90_000];
        let mut damaged = sound;
        damaged[500] = 8;
        let made = made_of(REAL, &sound, &damaged, &[&sound[..], b"new"].concat(), PATIENCE).await;
        assert!(matches!(made, Err(MakeError::Source)), "{made:?}");
    }

    #[tokio::test]
    async fn what_lies_far_from_its_old_place_is_found_again() {
        // More than the program's own window, and noise, so that only a copy is small.
        let half = |seed: &str| ::tests::snap::noise(seed, 33 << 20);
        let (one, two) = (half("one"), half("two"));
        let (old, new) = ([&one[..], &two].concat(), [&two[..], &one].concat());
        let made = made_of(REAL, &old, &old, &new, PATIENCE).await;
        assert!(matches!(made, Ok(size) if size < 10_000), "{made:?}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_fails_or_writes_too_much_gives_nothing() {
        let slow = made_of("exec sleep 20", b"old", b"old", b"new", Duration::from_secs(1)).await;
        assert!(matches!(slow, Err(MakeError::Slow(..))), "{slow:?}");
        let failed = made_by("exit 3").await;
        assert!(matches!(failed, Err(MakeError::Failed(..))), "{failed:?}");
        let large = made_by(r#"printf %060000d 0 > "$last""#).await;
        assert!(matches!(large, Err(MakeError::TooLarge | MakeError::Failed(..))), "{large:?}");
        let large = made_of(REAL, b"old", b"old", &::tests::snap::noise("new", 100_000), PATIENCE).await;
        assert!(matches!(large, Err(MakeError::TooLarge)), "{large:?}");
    }

    #[tokio::test]
    async fn a_program_that_reaches_out_gets_nowhere() {
        // Each of these alone ends well without the walls, and `make` then finds a wrong delta.
        let tries = [
            r#"cat "$held/secret""#,
            r#"touch "$held/more""#,
            "kill -0 $PPID",
            "perl -e 'socket(S, 2, 2, 0) or exit 1'",
            r#"perl -e '$all = "x" x 1500000000'"#,
        ];
        for attempt in tries {
            let script = format!(
                "head -c 9 \"$held/old\" > copy && perl -e 1 || exit 9; {attempt} 2> /dev/null || exit 7"
            );
            let ended = made_by(&script).await;
            let Err(MakeError::Failed(_, status)) = &ended else { panic!("{attempt}: {ended:?}") };
            assert_eq!(status.code(), Some(7), "{attempt}");
        }
    }
}
