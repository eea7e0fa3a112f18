//! The format `snap-1-1-xdelta3`: the difference between what two snaps contain, from which a device packs the newer one again.
//!
//! A header says how the newer file was packed; VCDIFF between the two lists of contents (`unsquashfs -pf`) follows. Which files can be
//! packed again to the same bytes depends on who packed them, so each delta is tried as a device would use it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tokio::try_join;

use super::program::{MakeError, Program, Runner};
use crate::failpoint;

/// The first squashfs-tools whose lists of contents are right for large snaps, and which devices have.
const TOOLS: [u32; 3] = [4, 7, 4];
/// How much memory each of them may map, in bytes.
const MEMORY: u64 = 2 << 30;
/// What the header begins with: `sqpf`, and the versions of the format, of the tools and of xdelta3.
const MAGIC: [u8; 8] = [b's', b'q', b'p', b'f', 1, 1, 1, 0];
/// Bytes of the header.
const HEADER: usize = 32;
/// The least size of a snap. What is smaller is filled up with zeros.
const LEAST: u64 = 16384;
/// The compressions, by their numbers in a superblock.
const COMPRESSIONS: [&str; 6] = ["gzip", "lzma", "lzo", "xz", "lz4", "zstd"];

/// The programs that list what a snap contains, and pack such a list.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) unsquashfs: PathBuf,
    pub(super) mksquashfs: PathBuf,
}

impl Tools {
    /// Looks for them on this host, in a version that will do.
    pub(super) fn find() -> Option<Self> {
        let places = match failpoint::asked("AIRLOCK_SQUASHFS_TOOLS") {
            Some(other) => vec![PathBuf::from(other)],
            None => ["/usr/local/bin", "/usr/bin"].map(PathBuf::from).to_vec(),
        };
        let tools = places
            .into_iter()
            .map(|place| Self { unsquashfs: place.join("unsquashfs"), mksquashfs: place.join("mksquashfs") });
        tools.into_iter().find(|tools| {
            [&tools.unsquashfs, &tools.mksquashfs].into_iter().all(|program| is_new_enough(program))
        })
    }

    /// Lists what a snap contains into a pipe.
    fn list<'a>(&'a self, snap: &'a Path, pipe: &'a Path) -> Program<'a> {
        let args = ["-no-progress", "-processors", "2", "-da", "128", "-fr", "128", "-pf"];
        let program = Program::new("unsquashfs", &self.unsquashfs).memory(MEMORY);
        program.args(args).arg(pipe).read(snap)
    }
}

/// Whether a program says that it is of a version that will do: `mksquashfs version 4.7.5 (2026/03/01)`.
fn is_new_enough(program: &Path) -> bool {
    let Ok(said) = Command::new(program).arg("-version").env_clear().stdin(Stdio::null()).output() else {
        return false;
    };
    let said = String::from_utf8_lossy(&said.stdout);
    version(&said).is_some_and(|found| found >= TOOLS)
}

fn version(said: &str) -> Option<[u32; 3]> {
    let mut parts = said.split_once(" version ")?.1.split(|c: char| !c.is_ascii_digit());
    let mut part = || parts.next()?.parse().ok();
    Some([part()?, part()?, part().unwrap_or_default()])
}

/// How a file was packed, as its superblock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packing {
    /// Seconds since 1970.
    made_at: u32,
    compression: u16,
    flags: u16,
}

impl Packing {
    const NO_FRAGMENTS: u16 = 0x0010;
    const DUPLICATES: u16 = 0x0040;
    const EXPORTS: u16 = 0x0080;
    const NO_XATTRS: u16 = 0x0200;
    /// What a device refuses: an old check of data, and options of a compression.
    const REFUSED: u16 = 0x0004 | 0x0400;

    fn of(file: &Path) -> Result<Self, MakeError> {
        let mut superblock = [0; 96];
        File::open(file)?.read_exact(&mut superblock)?;
        Self::parse(&superblock)
    }

    fn parse(superblock: &[u8; 96]) -> Result<Self, MakeError> {
        let short = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
        if superblock[..4] != *b"hsqs" || (short(28), short(30)) != (4, 0) {
            return Err(MakeError::Unfit("the newer revision is no squashfs 4.0"));
        }
        let time: [u8; 4] = std::array::from_fn(|at| superblock[8 + at]);
        let packing = Self { made_at: u32::from_le_bytes(time), compression: short(20), flags: short(24) };
        if packing.compression().is_none() || packing.flags & Self::REFUSED != 0 {
            return Err(MakeError::Unfit("the newer revision was packed with options that devices refuse"));
        }
        Ok(packing)
    }

    fn compression(self) -> Option<&'static str> {
        COMPRESSIONS.get(usize::from(self.compression).checked_sub(1)?).copied()
    }

    fn header(self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&self.made_at.to_le_bytes());
        header[12..14].copy_from_slice(&self.compression.to_le_bytes());
        header[14..16].copy_from_slice(&self.flags.to_le_bytes());
        header
    }

    /// What a device tells mksquashfs.
    fn options(self) -> Vec<String> {
        let has = |flag| self.flags & flag != 0;
        let switches = [
            (has(Self::NO_FRAGMENTS), "-no-fragments"),
            (!has(Self::DUPLICATES), "-no-duplicates"),
            (has(Self::EXPORTS), "-exports"),
            (has(Self::NO_XATTRS), "-no-xattrs"),
        ];
        let switches = switches.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name.to_owned());
        let compression = ["-comp", self.compression().unwrap_or_default()].map(str::to_owned);
        let time = ["-mkfs-time".to_owned(), self.made_at.to_string()];
        compression.into_iter().chain(switches).chain(time).collect()
    }
}

/// Writes a delta of at most `limit` bytes, and what a device makes of it.
pub(super) async fn make(
    runner: &Runner<'_>,
    tools: &Tools,
    (source, target): (&Path, &Path),
    limit: u64,
    (delta, rebuilt): (&Path, &Path),
) -> Result<(), MakeError> {
    let packing = Packing::of(target)?;
    let [old, new] = ["old", "new"].map(|name| runner.work.path().join(name));
    for pipe in [&old, &new] {
        mkfifo(pipe, Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from)?;
    }
    let mut file = File::create(delta)?;
    file.write_all(&packing.header())?;
    // The window is the one that decoders assume, because a pipe cannot be read twice.
    let encode = runner.xdelta3().args(["-7", "-e", "-f", "-A", "-c", "-s"]).arg(&old).arg(&new);
    let encode = runner.start(encode.limit(limit).stdout(file))?;
    let (one, two) = (tools.list(source, &old), tools.list(target, &new));
    try_join!(runner.start(one)?, runner.start(two)?, encode)?;

    // As devices do it.
    let mut body = File::open(delta)?;
    body.seek(SeekFrom::Start(HEADER as u64))?;
    let (contents, into) = io::pipe()?;
    let decode = runner.xdelta3().args(["-d", "-f", "-c", "-s"]).arg(&old).stdin(body).stdout(into);
    let pack = Program::new("mksquashfs", &tools.mksquashfs).memory(MEMORY).arg("-").arg(rebuilt);
    let pack =
        pack.args(["-pf", "-", "-noappend", "-quiet", "-no-progress", "-processors", "2", "-mem", "512M"]);
    let size = target.metadata()?.len().max(LEAST);
    let pack = pack.args(packing.options()).limit(size).stdin(contents);
    let list = runner.start(tools.list(source, &old))?;
    let decode = runner.start(decode)?;
    try_join!(list, decode, runner.start(pack)?)?;
    let packed = File::options().write(true).open(rebuilt)?;
    if packed.metadata()?.len() < LEAST {
        packed.set_len(LEAST)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock(compression: u8, flags: u16) -> [u8; 96] {
        let mut block = [0; 96];
        block[..4].copy_from_slice(b"hsqs");
        block[8..12].copy_from_slice(&[1, 2, 3, 4]);
        block[20] = compression;
        block[24..26].copy_from_slice(&flags.to_le_bytes());
        block[28] = 4;
        block
    }

    #[test]
    fn the_header_says_how_the_newer_file_was_packed() {
        let packing = Packing::parse(&superblock(4, 0x02d0)).unwrap();
        assert_eq!(packing.header()[..16], *b"sqpf\x01\x01\x01\0\x01\x02\x03\x04\x04\0\xd0\x02");
        assert_eq!(packing.header()[16..], [0; 16]);
        let said = packing.options().join(" ");
        assert_eq!(said, "-comp xz -no-fragments -exports -no-xattrs -mkfs-time 67305985");
        let said = Packing::parse(&superblock(6, 0)).unwrap().options().join(" ");
        assert_eq!(said, "-comp zstd -no-duplicates -mkfs-time 67305985");
    }

    #[test]
    fn what_devices_refuse_is_not_tried() {
        let mut old = superblock(4, 0);
        old[28] = 3;
        for wrong in
            [superblock(0, 0), superblock(7, 0), superblock(4, 0x0400), superblock(4, 0x0004), old, [7; 96]]
        {
            assert!(matches!(Packing::parse(&wrong), Err(MakeError::Unfit(_))), "{wrong:?}");
        }
    }

    #[test]
    fn versions_are_read_as_the_tools_write_them() {
        assert_eq!(version("mksquashfs version 4.7.5 (2026/03/01)\ncopyright"), Some([4, 7, 5]));
        assert_eq!(version("unsquashfs version 4.7 (2025/06/01)"), Some([4, 7, 0]));
        assert_eq!(version("unsquashfs: invalid option"), None);
    }
}
