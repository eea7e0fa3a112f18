//! Named points where a test can end the process as a power cut would, at once and with nothing flushed or unwound, or
//! where it can make a write fail.
//!
//! In a release `failpoint!("blob.synced")` and `failpoint_io!("blob.write")?` are nothing. In a build with debug
//! assertions the environment variable `AIRLOCK_FAILPOINT` says what happens:
//!
//! | Value | Effect |
//! |---|---|
//! | `NAME` or `NAME:N` | dies at the first, or the N-th, pass of this point |
//! | `step:N` | dies at the N-th step, whatever its name |
//! | `fail:N` | the N-th fallible point passed answers an I/O error instead of doing its work |
//! | `fail-from:N` | so do all after it |
//! | `stop` | stops the process (SIGSTOP) at every point, so that its volume can be copied |
//! | `stop:NAME` | stops it at the first pass of this point |
//! | `trace` | writes the name of every point passed to stderr |
//! | `@FILE` | whatever FILE says, from the moment it is there; points passed before do not count |
//!
//! A step is a point since whose predecessor something was done that a death may leave half done: a write, a flush, a
//! statement that changes, a commit. Of points with nothing but reading between them only the first is one.
//! To die is to be killed by signal 9.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Kills the process here if `AIRLOCK_FAILPOINT` says so.
macro_rules! failpoint {
    ($name:literal) => {
        if cfg!(debug_assertions) {
            $crate::failpoint::reached($name);
        }
    };
}

/// Kills the process, or returns an error, if `AIRLOCK_FAILPOINT` says so: an `io::Result<()>`, which is always `Ok`
/// in a release.
macro_rules! failpoint_io {
    ($name:expr) => {
        if cfg!(debug_assertions) { $crate::failpoint::fallible($name) } else { Ok(()) }
    };
}

/// What a test asks of this process in an environment variable; nothing in a release.
pub(crate) fn asked(variable: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "only in builds for tests")]
    let asked = || std::env::var(variable).ok();
    if cfg!(debug_assertions) { asked() } else { None }
}

/// Fallible points before a read, or after something was done.
const IDLE: [&str; 4] = ["sql.read", "sql.look", "sql.begin", "sql.committed"];

/// The requested fault.
enum Armed {
    Die { name: Option<String>, at: u64 },
    Fail { at: u64, and_after: bool },
    Stop { name: Option<String> },
    Trace,
}

impl Armed {
    fn parse(text: &str) -> Self {
        if let Some(name) = text.trim().strip_prefix("stop:") {
            return Self::Stop { name: Some(name.to_owned()) };
        }
        let (name, count) = match text.trim().rsplit_once(':') {
            Some((name, count)) => (name, count.parse().unwrap_or(1)),
            None => (text.trim(), 1),
        };
        match name {
            "stop" => Self::Stop { name: None },
            "trace" => Self::Trace,
            "step" => Self::Die { name: None, at: count },
            "fail" => Self::Fail { at: count, and_after: false },
            "fail-from" => Self::Fail { at: count, and_after: true },
            name => Self::Die { name: Some(name.to_owned()), at: count },
        }
    }
}

fn wanted() -> Option<&'static Armed> {
    static ASKED: OnceLock<Option<String>> = OnceLock::new();
    static WANTED: OnceLock<Armed> = OnceLock::new();
    if let Some(wanted) = WANTED.get() {
        return Some(wanted);
    }
    let asked = ASKED.get_or_init(|| asked("AIRLOCK_FAILPOINT")).as_ref()?;
    let text = match asked.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).ok()?,
        None => asked.clone(),
    };
    Some(WANTED.get_or_init(|| Armed::parse(&text)))
}

/// Counts one pass of an infallible point.
pub(crate) fn reached(name: &str) {
    // `fail` only counts fallible points.
    if let Some(wanted) = wanted().filter(|wanted| !matches!(wanted, Armed::Fail { .. })) {
        let _ = pass(name, wanted, false);
    }
}

/// Counts one pass of a fallible point.
pub(crate) fn fallible(name: &str) -> io::Result<()> {
    wanted().map_or(Ok(()), |wanted| pass(name, wanted, !IDLE.contains(&name)))
}

/// Counts one pass; `done` says whether something was done since the last one.
fn pass(name: &str, wanted: &Armed, done: bool) -> io::Result<()> {
    static PASSED: AtomicU64 = AtomicU64::new(0);
    static DONE_SINCE: AtomicBool = AtomicBool::new(true);
    let is_step = DONE_SINCE.swap(done, Ordering::SeqCst);
    let count = |only: Option<&String>| match only {
        Some(only) if only != name => 0,
        None if !is_step && matches!(wanted, Armed::Die { .. }) => 0,
        _ => PASSED.fetch_add(1, Ordering::SeqCst) + 1,
    };
    match wanted {
        Armed::Die { name: only, at } if count(only.as_ref()) == *at => {
            eprintln!("failpoint {name}: dies");
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            std::process::abort();
        }
        Armed::Fail { at, and_after } => {
            let passed = count(None);
            if passed == *at || (*and_after && passed > *at) {
                eprintln!("failpoint {name}: fails");
                return Err(io::Error::other(format!("injected at {name}")));
            }
        }
        Armed::Stop { name: only } if only.is_none() || count(only.as_ref()) == 1 => {
            eprintln!("failpoint {name}: stops");
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
            // The signal reaches the other threads at once and this one soon: it must not reach the next point
            // first.
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Armed::Trace => eprintln!("failpoint {name}: passed{}", if is_step { ", a step" } else { "" }),
        Armed::Die { .. } | Armed::Stop { .. } => {}
    }
    Ok(())
}
