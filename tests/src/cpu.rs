//! The processor time of other processes, from their clocks and to the nanosecond.

use std::fs;
use std::io;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// What a process has spent so far.
///
/// # Errors
/// There is no such process.
pub fn of(pid: u32) -> io::Result<Duration> {
    let pid = Pid::from_raw(pid.try_into().map_err(io::Error::other)?);
    Ok(clock_gettime(clock_getcpuclockid(pid)?)?.into())
}

/// What a process and its children have spent so far.
///
/// # Errors
/// There is no such process.
pub fn of_family(pid: u32) -> io::Result<Duration> {
    let mut spent = of(pid)?;
    for entry in fs::read_dir("/proc")? {
        // Processes come and go meanwhile.
        let stat = fs::read_to_string(entry?.path().join("stat")).unwrap_or_default();
        if let Some((child, parent)) = lineage(&stat)
            && parent == pid
        {
            spent += of(child).unwrap_or_default();
        }
    }
    Ok(spent)
}

/// Process and parent of a line of `/proc/PID/stat`, whose name may hold spaces and brackets.
fn lineage(stat: &str) -> Option<(u32, u32)> {
    let (pid, _) = stat.split_once(' ')?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some((pid.parse().ok()?, fields.split_whitespace().nth(1)?.parse().ok()?))
}
