//! One delta, made by the programs that devices apply it with, and applied again before it counts.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc::SIGXFSZ;
use schema::digest::Sha3_384;
use schema::store::DeltaFormat;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::contents::{self, Tools};
use super::hash;
pub(crate) use super::program::MakeError;
use super::program::Runner;
use crate::failpoint;

/// How long one run may take.
const TIME: Duration = Duration::from_secs(1800);
/// How much of the source the program looks at together: all of it, between its own default and what fits into its memory. With less,
/// what moved farther within a file is not found again.
const WINDOW: (u64, u64) = (64 << 20, 512 << 20);

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
        let places = match failpoint::asked("AIRLOCK_XDELTA3") {
            Some(other) => vec![PathBuf::from(other)],
            None => ["/usr/bin/xdelta3", "/usr/local/bin/xdelta3"].map(PathBuf::from).to_vec(),
        };
        let xdelta3 = places.into_iter().find(|program| program.is_file())?;
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
        let runner = Runner { work, xdelta3: &self.xdelta3, time: self.time };
        let (made, wrong) = match (format, &self.tools) {
            (DeltaFormat::Plain, _) => {
                let made = plain(&runner, source, target, limit, &delta, &rebuilt).await;
                (made, MakeError::Wrong)
            }
            (DeltaFormat::Contents, Some(tools)) => {
                let made =
                    contents::make(&runner, tools, (&source.path, &target.path), limit, (&delta, &rebuilt))
                        .await;
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
}

/// Writes the difference between the two files, and what a device makes of it.
async fn plain(
    runner: &Runner<'_>,
    source: &Whole,
    target: &Whole,
    limit: u64,
    delta: &Path,
    rebuilt: &Path,
) -> Result<(), MakeError> {
    let window = source.size.clamp(WINDOW.0, WINDOW.1).to_string();
    let encode = runner.xdelta3().args(["-3", "-D", "-f", "-B", &window, "-e", "-s"]);
    let encode = encode.read(&source.path).read(&target.path).arg(delta).limit(limit);
    runner.start(encode)?.await?;
    // As devices do it.
    let decode = runner.xdelta3().args(["-f", "-d", "-s"]).read(&source.path).arg(delta).arg(rebuilt);
    runner.start(decode.limit(target.size))?.await
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

    /// The beginning of a snap that was packed with xz.
    fn superblock() -> [u8; 96] {
        let mut block = [0; 96];
        block[..4].copy_from_slice(b"hsqs");
        (block[20], block[28]) = (4, 4);
        block
    }

    /// What these scripts, in the place of squashfs-tools, lead to for two files of 100,000 bytes.
    async fn made_with(list: &str, pack: &str, new: &[u8], seconds: u64) -> Result<u64, MakeError> {
        let (held_in, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = |name: &str| held_in.path().join(name);
        let old = [&superblock()[..], &::tests::snap::noise("old", 100_000)].concat();
        let new = [&superblock()[..], new].concat();
        let whole = |name: &str, bytes: &[u8]| {
            fs::write(place(name), bytes).unwrap();
            Whole { path: place(name), size: bytes.len() as u64, digest: Sha3_384::of(bytes) }
        };
        let program = |name: &str, script: &str| {
            let script = format!("#!/bin/sh\nPATH=/usr/bin:/bin\nfor last; do :; done\n{script}\n");
            fs::write(place(name), script).unwrap();
            fs::set_permissions(place(name), fs::Permissions::from_mode(0o755)).unwrap();
            place(name)
        };
        let tools = Tools { unsquashfs: program("list", list), mksquashfs: program("pack", pack) };
        let encoder = Encoder::of("/usr/bin/xdelta3".into(), Some(tools), Duration::from_secs(seconds));
        let (source, target) = (whole("old", &old), whole("new", &new));
        let made = encoder.make(DeltaFormat::Contents, &work, &source, &target, 50_000).await?;
        Ok(fs::metadata(made.path())?.len())
    }

    /// Lists the file itself: `-pf PIPE FILE` are the last arguments.
    const LISTS: &str = r#"while [ "$1" != -pf ]; do shift; done; exec cat "$3" > "$2""#;
    const PACKS: &str = r#"exec cat > "$2""#;

    #[tokio::test]
    async fn only_what_is_packed_again_to_the_same_bytes_counts() {
        let new = [&::tests::snap::noise("old", 100_000)[..], b"new"].concat();
        let made = made_with(LISTS, PACKS, &new, 100).await;
        assert!(matches!(made, Ok(size) if size < 1000), "{made:?}: is xdelta3 installed?");
        let other = made_with(LISTS, r#"sed s/new/old/ > "$2""#, &new, 100).await;
        assert!(matches!(other, Err(MakeError::Unfit(_))), "{other:?}");
    }

    #[tokio::test]
    async fn one_program_that_hangs_fails_or_writes_too_much_ends_all() {
        let new = [&::tests::snap::noise("old", 100_000)[..], b"new"].concat();
        // It opens no pipe, for which the next program waits.
        let failed = made_with("exit 3", PACKS, &new, 20).await;
        assert!(matches!(failed, Err(MakeError::Failed("unsquashfs", _))), "{failed:?}");
        let failed = made_with(LISTS, "exit 3", &new, 100).await;
        assert!(matches!(failed, Err(MakeError::Failed("mksquashfs", _))), "{failed:?}");
        let slow = made_with("exec sleep 50", PACKS, &new, 1).await;
        assert!(matches!(slow, Err(MakeError::Slow(..))), "{slow:?}");
        let full = made_with(LISTS, r#"cat > "$2"; exec head -c 200000 /dev/zero >> "$2""#, &new, 100).await;
        assert!(matches!(full, Err(MakeError::Failed("mksquashfs", _))), "{full:?}");
        let large = made_with(LISTS, PACKS, &::tests::snap::noise("another", 100_000), 100).await;
        assert!(matches!(large, Err(MakeError::TooLarge)), "{large:?}");
    }
}
