//! Named points where a test can end the process, as a power cut would: at once, with nothing flushed or unwound.
//!
//! `failpoint!("blob.synced")` is nothing unless the cargo feature `failpoints` is on. With it, the environment variable
//! `AIRLOCK_FAILPOINT` names the point to die at: `blob.synced` the first time it is reached, `blob.synced:3` the third time.

/// Ends the process here when `AIRLOCK_FAILPOINT` says so; compiled to nothing without the feature `failpoints`.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::reached($name);
    };
}

/// Counts one pass of `name` and aborts the process when it is the one that was asked for.
#[cfg(feature = "failpoints")]
pub(crate) fn reached(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("AIRLOCK_FAILPOINT").ok()?;
        Some(match text.rsplit_once(':') {
            Some((name, count)) => (name.to_owned(), count.parse().unwrap_or(1)),
            None => (text, 1),
        })
    });
    if let Some((wanted, count)) = wanted
        && wanted == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count
    {
        std::process::abort();
    }
}
