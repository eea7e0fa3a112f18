//! Messages that a flood must not multiply.

use std::time::Duration;

use tokio::time::Instant;

/// How long one message is enough.
const PAUSE: Duration = Duration::from_secs(10);

/// Lets a message through once in ten seconds.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    said: Option<Instant>,
    times: u64,
}

impl Seldom {
    /// How often it happened since the last message, when it is time for another one.
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
