//! The process as the kernel sees it, under the names that all Prometheus clients use.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::clock;
use crate::observe::text::Text;

/// Writes the kernel's values; unavailable ones are omitted.
pub(super) fn write(text: &mut Text, up: Duration) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    text.counter("process_cpu_seconds_total", "Processor time used.");
    text.sample(&[], format_args!("{}.{:06}", cpu.tv_sec, cpu.tv_nsec / 1000));
    let memory = |name: &str| {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    text.gauge("process_resident_memory_bytes", "Memory in use.");
    if let Some(kib) = memory("VmRSS:") {
        text.sample(&[], kib * 1024);
    }
    text.gauge("process_open_fds", "Open files and connections.");
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.sample(&[], open.count());
    }
    text.gauge("process_max_fds", "Most files and connections that may be open.");
    if let Some(most) = getrlimit(Resource::Nofile).current {
        text.sample(&[], most);
    }
    text.single(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        clock::seconds().saturating_sub(up.as_secs()),
    );
}
