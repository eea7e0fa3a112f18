//! Folders in memory, for what does not have to survive the machine: no disk is waited for.

use std::path::Path;

use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

/// The least room that counts: databases and copies of whole stores lie there, of several tests at a time.
const ROOM: u64 = 4 << 30;

/// A folder of the test's own, in the temporary directory where memory has no room.
///
/// # Panics
/// When neither has room for a folder.
#[must_use]
pub fn folder(prefix: &str) -> TempDir {
    let memory = Path::new("/dev/shm");
    let room = statvfs(memory).map_or(0, |volume| volume.blocks_available() * volume.fragment_size());
    let made = match room >= ROOM {
        true => TempDir::with_prefix_in(prefix, memory),
        false => TempDir::with_prefix(prefix),
    };
    made.expect("there is room for temporary files")
}
