//! One delta, made by the program that devices apply it with, and applied again before it counts.
//!
//! The program gets files of strangers. It runs without this process' environment, confined, at the lowest priority, and with limits of
//! time, memory and output.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::libc::SIGXFSZ;
use schema::digest::Sha3_384;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::confine::{ConfineError, spawn};
use super::hash;

/// How long one run may take.
const TIME: Duration = Duration::from_secs(1800);
/// How much memory a run may map, in bytes.
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
    /// The program ended badly, which it also does at its limit of memory.
    #[error("xdelta3 ended with {0}")]
    Failed(ExitStatus),
    /// It took too long and was killed.
    #[error("xdelta3 took more than {} seconds and was killed", .0.as_secs())]
    Slow(Duration),
    /// What a device has differs from the file here.
    #[error("the file of the older revision is damaged: run `proxy verify`")]
    Source,
    /// The delta does not give its target.
    #[error("the delta that xdelta3 made gives another file than the signed one, so it was thrown away")]
    Wrong,
    /// The program cannot be confined or started.
    #[error("cannot run xdelta3")]
    Confine(#[from] ConfineError),
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

/// The program that makes deltas.
#[derive(Debug)]
pub(crate) struct Encoder {
    program: PathBuf,
    time: Duration,
}

impl Encoder {
    /// Looks for it on this host.
    pub(crate) fn find() -> Option<Self> {
        #[cfg(not(feature = "failpoints"))]
        let places = ["/usr/bin/xdelta3", "/usr/local/bin/xdelta3"];
        #[cfg(feature = "failpoints")]
        #[expect(clippy::disallowed_methods, reason = "tests put another program in its place")]
        let places = [std::env::var_os("AIRLOCK_XDELTA3").unwrap_or_else(|| "/usr/bin/xdelta3".into())];
        let program = places.into_iter().map(PathBuf::from).find(|program| program.is_file())?;
        Some(Self { program, time: TIME })
    }

    /// Makes a delta of at most `limit` bytes in `work`, and returns it if it turns the one file into the other.
    pub(crate) async fn make(
        &self,
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
        let window = source.size.clamp(WINDOW.0, WINDOW.1).to_string();
        let read = [&*source.path, &target.path];
        let made = self.run(work, limit, &["-3", "-D", "-f", "-B", &window, "-e", "-s"], read, &delta).await;
        made.map_err(|failure| match failure {
            MakeError::Failed(status) if status.signal() == Some(SIGXFSZ) => MakeError::TooLarge,
            failure => failure,
        })?;
        // As devices do it.
        self.run(work, target.size, &["-f", "-d", "-s"], [&source.path, &delta], &rebuilt).await?;
        let found = digest(rebuilt.clone()).await?;
        fs::remove_file(&rebuilt)?;
        if found != target.digest {
            return Err(MakeError::Wrong);
        }
        Ok(Proven(delta))
    }

    /// Runs the program, which may write no file larger than `limit`. Dropping this kills it.
    async fn run(
        &self,
        work: &TempDir,
        limit: u64,
        args: &[&str],
        read: [&Path; 2],
        write: &Path,
    ) -> Result<(), MakeError> {
        let mut command = Command::new("/usr/bin/prlimit");
        let limit = format!("--fsize={limit}");
        command.args([&*limit, &format!("--as={MEMORY}"), "--core=0"]);
        command.arg(format!("--cpu={}", self.time.as_secs().max(1)));
        command.arg(&self.program).args(args).args(read).arg(write);
        command.env_clear().current_dir(work.path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = spawn(&mut command, &[read[0], read[1], &self.program], work.path())?;
        let status = timeout(self.time, child.wait()).await.map_err(|_| MakeError::Slow(self.time))??;
        if status.success() { Ok(()) } else { Err(MakeError::Failed(status)) }
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
        let encoder = Encoder { program, time };
        let (source, target) = (whole("old", signed), whole("new", new));
        let made = encoder.make(&work, &source, &target, 50_000).await?;
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
        assert!(matches!(slow, Err(MakeError::Slow(_))), "{slow:?}");
        let failed = made_by("exit 3").await;
        assert!(matches!(failed, Err(MakeError::Failed(_))), "{failed:?}");
        let large = made_by(r#"printf %060000d 0 > "$last""#).await;
        assert!(matches!(large, Err(MakeError::TooLarge | MakeError::Failed(_))), "{large:?}");
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
            let Err(MakeError::Failed(status)) = &ended else { panic!("{attempt}: {ended:?}") };
            assert_eq!(status.code(), Some(7), "{attempt}");
        }
    }
}
