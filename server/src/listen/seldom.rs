//! Rate-limited log messages, so that a flood does not fill the log.

use std::time::Duration;

use tokio::time::Instant;

/// The pause between messages.
const PAUSE: Duration = Duration::from_secs(10);

/// Allows one message per ten seconds.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    said: Option<Instant>,
    times: u64,
}

impl Seldom {
    /// How often it happened since the last message, if another one is due.
    pub(super) fn now(&mut self) -> Option<u64> {
        self.times += 1;
        let now = Instant::now();
        if self.said.is_some_and(|said| now - said < PAUSE) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.times))
    }
}
