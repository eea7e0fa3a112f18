//! Which devices got no serial since the server started, and why: by model and check, so that a flood takes no room.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::clock;

/// How many pairs of model and check are told apart; further models count as none.
const MOST: usize = 256;

/// Failed requests of the devices of a model by one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// `BRAND/MODEL`; empty where no signed model was shown.
    pub(crate) model: String,
    /// The check, or `unavailable`.
    pub(crate) check: &'static str,
    /// How often.
    pub(crate) times: u64,
    /// What the last device was told.
    pub(crate) why: String,
    /// When that was, in microseconds since 1970.
    pub(crate) at_micros: i64,
}

/// All of them.
#[derive(Default)]
pub(super) struct Refusals(Mutex<BTreeMap<(String, &'static str), Refused>>);

impl Refusals {
    /// Notes one.
    pub(super) fn note(&self, model: &str, check: &'static str, why: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.contains_key(&(model.to_owned(), check));
        let model = if known || all.len() < MOST { model.to_owned() } else { String::new() };
        let noted = all.entry((model.clone(), check));
        let noted = noted.or_insert(Refused { model, check, times: 0, why: String::new(), at_micros: 0 });
        (noted.times, noted.why, noted.at_micros) = (noted.times + 1, why, clock::micros());
    }

    /// Those since a moment, most frequent first.
    pub(super) fn since(&self, micros: i64) -> Vec<Refused> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = all.values().filter(|one| one.at_micros >= micros).cloned().collect();
        found.sort_by_key(|one| std::cmp::Reverse(one.times));
        found
    }

    /// Forgets refusals older than a moment, and returns how many there were.
    pub(super) fn forget(&self, before_micros: i64) -> u64 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut forgotten = 0;
        all.retain(|_, one| {
            let old = one.at_micros < before_micros;
            forgotten += if old { one.times } else { 0 };
            !old
        });
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_counted_by_model_and_check_in_bounded_room() {
        let refusals = Refusals::default();
        for (model, check) in
            [("acme/a", "policy"), ("acme/a", "policy"), ("acme/a", "api-key"), ("", "decode")]
        {
            refusals.note(model, check, format!("{check} fails"));
        }
        let shown = |all: Vec<Refused>| {
            all.into_iter().map(|one| (one.model, one.check, one.times)).collect::<Vec<_>>()
        };
        let all = shown(refusals.since(0));
        assert_eq!(all[0], ("acme/a".to_owned(), "policy", 2));
        assert_eq!(all.len(), 3);
        assert_eq!(refusals.since(i64::MAX), []);
        for number in 0..2 * MOST {
            refusals.note(&format!("acme/m{number}"), "policy", String::new());
        }
        assert!(refusals.since(0).len() <= MOST + 1);
        assert_eq!(shown(refusals.since(0))[0].0, "", "the rest is one line");
        assert_eq!(refusals.forget(0), 0);
        assert_eq!(refusals.forget(i64::MAX), 4 + 2 * MOST as u64);
        assert_eq!(refusals.since(0), []);
    }
}
