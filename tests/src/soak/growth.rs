//! What the servers hold: memory and descriptors after the warm-up of each process, and when it ends.

use std::fmt::Write as _;
use std::fs;

/// Memory may grow after the warm-up by this part of it in hundredths, and by [`MEMORY_SLACK`].
pub const MEMORY_GROWTH: u64 = 50;
/// Growth of memory that says nothing, in KiB.
pub const MEMORY_SLACK: u64 = 32 * 1024;
/// Descriptors that may come on top after the warm-up.
pub const DESCRIPTOR_SLACK: usize = 64;

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Resident memory in KiB.
    pub memory: u64,
    /// Open descriptors.
    pub descriptors: usize,
}

impl Held {
    /// What a process holds now; none when it has ended.
    #[must_use]
    pub fn by(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let memory = line.split_whitespace().next()?.parse().ok()?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Self { memory, descriptors })
    }

    /// The most of both.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        Self { memory: self.memory.max(other.memory), descriptors: self.descriptors.max(other.descriptors) }
    }
}

/// One process from its start to its end.
#[derive(Debug, Clone)]
pub struct Life {
    /// Which server it was.
    pub server: usize,
    /// How long it ran, in seconds.
    pub seconds: u64,
    /// The most that it held while it warmed up; none when it ended before that was over.
    pub warm: Option<Held>,
    /// What it held at last.
    pub end: Held,
    /// What ended it.
    pub ended_by: &'static str,
}

impl Life {
    /// What grew beyond the bound.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let warm = self.warm?;
        let most = warm.memory + warm.memory * MEMORY_GROWTH / 100 + MEMORY_SLACK;
        if self.end.memory > most {
            return Some(format!(
                "server {}: {} KiB after the warm-up, {} KiB in the end, more than {most}",
                self.server, warm.memory, self.end.memory
            ));
        }
        let most = warm.descriptors + DESCRIPTOR_SLACK;
        (self.end.descriptors > most).then(|| {
            format!(
                "server {}: {} descriptors after the warm-up, {} in the end, more than {most}",
                self.server, warm.descriptors, self.end.descriptors
            )
        })
    }
}

/// The lives as a table.
#[must_use]
pub fn table(lives: &[Life]) -> String {
    let mut text = format!(
        "{:<7}{:>8}{:>14}{:>14}{:>11}{:>11}  ended by\n",
        "server", "seconds", "warm KiB", "end KiB", "warm fds", "end fds"
    );
    for life in lives {
        let warm = |pick: fn(Held) -> String| life.warm.map_or_else(|| "-".to_owned(), pick);
        let _ = writeln!(
            text,
            "{:<7}{:>8}{:>14}{:>14}{:>11}{:>11}  {}",
            life.server,
            life.seconds,
            warm(|held| held.memory.to_string()),
            life.end.memory,
            warm(|held| held.descriptors.to_string()),
            life.end.descriptors,
            life.ended_by
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_beyond_the_bound_is_told() {
        let warm = Held { memory: 40_000, descriptors: 50 };
        let life = |end| Life { server: 1, seconds: 60, warm: Some(warm), end, ended_by: "kill -9" };
        assert_eq!(life(warm).complaint(), None);
        assert!(life(Held { memory: 140_000, ..warm }).complaint().is_some_and(|why| why.contains("140000")));
        assert!(life(Held { descriptors: 200, ..warm }).complaint().is_some_and(|why| why.contains("200")));
        assert!(Held::by(std::process::id()).is_some_and(|held| held.memory > 0 && held.descriptors > 2));
        assert!(table(&[life(warm)]).contains("kill -9"));
    }
}
