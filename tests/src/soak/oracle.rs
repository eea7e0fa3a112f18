//! What may be answered: which revision of each snap was asked for, when, and when that was acknowledged.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How soon another server of the same database has to know: it looks every 5 seconds when no announcement reaches it, and
/// takes a moment to take over what it finds.
pub const SOON: Duration = Duration::from_secs(6);

/// One change of what a channel leads to.
#[derive(Debug, Clone, Copy)]
struct Change {
    revision: u32,
    server: usize,
    acknowledged: Option<Instant>,
}

/// What was done to the channel of one snap, by one operator, one change after another.
#[derive(Debug, Default)]
pub struct History {
    changes: Mutex<Vec<Change>>,
}

impl History {
    fn changes(&self) -> std::sync::MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A change begins at a server: from now on it may be seen.
    pub fn begin(&self, revision: u32, server: usize) {
        self.changes().push(Change { revision, server, acknowledged: None });
    }

    /// The change that began last was acknowledged: from now on nothing older may be seen.
    pub fn acknowledge(&self) {
        if let Some(last) = self.changes().last_mut() {
            last.acknowledged = Some(Instant::now());
        }
    }

    /// What a server may answer to a question that was asked at this time and is answered now; `calm` says whether servers
    /// could talk to their database all the while, for another server learns of a change only then.
    #[must_use]
    pub fn allowed(&self, server: usize, asked: Instant, calm: bool) -> BTreeSet<u32> {
        let changes = self.changes();
        let known = |change: &Change| match change.acknowledged {
            Some(time) if change.server == server => time <= asked,
            Some(time) => calm && time + SOON <= asked,
            None => false,
        };
        let first = changes.iter().rposition(known).unwrap_or_default();
        changes.iter().skip(first).map(|change| change.revision).collect()
    }

    /// How a change stands, for a message: at which server it was made, and how long ago it was acknowledged.
    #[must_use]
    pub fn told(&self, asked: Instant) -> String {
        let changes = self.changes();
        let told = changes.iter().rev().take(3).map(|change| {
            let since = change.acknowledged.map(|time| asked.checked_duration_since(time));
            format!("{} at server {}, acknowledged {since:?} before", change.revision, change.server)
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// Must a server have an answer to a question that was asked at this time?
    #[must_use]
    pub fn is_there(&self, server: usize, asked: Instant) -> bool {
        let lag = |change: &Change| if change.server == server { Duration::ZERO } else { SOON };
        self.changes()
            .iter()
            .any(|change| change.acknowledged.is_some_and(|time| time + lag(change) <= asked))
    }

    /// Every revision whose import was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> BTreeSet<u32> {
        self.changes()
            .iter()
            .filter(|change| change.acknowledged.is_some())
            .map(|change| change.revision)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_not_taken_back() {
        let history = History::default();
        let before = Instant::now();
        assert!(history.allowed(0, before, true).is_empty() && !history.is_there(0, before));
        history.begin(1, 0);
        history.acknowledge();
        history.begin(2, 0);
        let between = Instant::now();
        assert_eq!(history.allowed(0, between, true), [1, 2].into());
        history.acknowledge();
        let after = Instant::now();
        assert_eq!(history.allowed(0, between, true), [1, 2].into(), "asked before it was acknowledged");
        assert_eq!(history.allowed(0, after, true), [2].into());
        assert_eq!(history.allowed(1, after, true), [1, 2].into(), "the other server learns of it soon");
        assert_eq!(history.allowed(1, after + SOON, true), [2].into());
        assert_eq!(history.allowed(1, after + SOON, false), [1, 2].into(), "but not without a database");
        assert!(history.is_there(0, after) && !history.is_there(1, between));
        history.begin(3, 1);
        assert_eq!(history.acknowledged(), [1, 2].into());
    }
}
