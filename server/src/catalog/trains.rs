//! Trains as devices meet them: which sequence of a validation set is the latest one for whom.

use schema::assertion::{AssertionType, Details, Ref, ValidationSet};
use schema::rollout::place;
use schema::store::SERIES;

use super::rollouts::{Who, first_wave};
use super::{Catalog, Held};
use crate::storage::Touched;
use crate::storage::trains::{Departure, TRAIN, TrainRecord};

impl Departure {
    /// The first wave that takes a device.
    pub(crate) fn wave_of(&self, set: &str, who: &Who<'_>) -> Option<usize> {
        first_wave(&self.waves, &self.rules, who, |device| place(set, &self.salt, device))
    }
}

impl Catalog {
    /// The train of a set, `ACCOUNT/NAME`.
    pub(crate) fn train(&self, set: &str) -> Option<&TrainRecord> {
        self.trains.get(set)
    }

    /// All trains, by set.
    pub(crate) fn trains(&self) -> impl Iterator<Item = (&String, &TrainRecord)> {
        self.trains.iter()
    }

    /// The highest sequence of a set that a device is answered. One decision for every route.
    pub(super) fn highest_for(&self, sequence_key: &[String], who: &Who<'_>) -> u32 {
        let set = sequence_key.iter().skip(1).map(String::as_str).collect::<Vec<_>>().join("/");
        let Some(train) = self.trains.get(&set) else { return u32::MAX };
        let is_open = |departed: &&Departure| {
            departed.wave_of(&set, who).is_some_and(|wave| wave < departed.opened.len())
        };
        train.departed.as_ref().filter(is_open).map_or(train.arrived, |departed| departed.sequence)
    }

    /// The sequences of a set that are held, in rising order.
    pub(crate) fn sequences(&self, set: &str) -> Vec<u32> {
        self.assertions.points(AssertionType::ValidationSet, &format!("{SERIES}/{set}"))
    }

    /// One sequence of a set.
    pub(crate) fn validation_set(&self, set: &str, sequence: u32) -> Option<ValidationSet> {
        let (account, name) = set.split_once('/')?;
        let key = vec![SERIES.into(), account.into(), name.into(), sequence.to_string()];
        let wanted = Ref { kind: AssertionType::ValidationSet, key };
        let found = self.assertions.newest(&wanted, AssertionType::ValidationSet.max_format())?;
        match Held::decode(found)?.details() {
            Details::ValidationSet(set) => Some(set.clone()),
            _ => None,
        }
    }

    /// Takes over trains.
    pub(super) fn take_trains(&mut self, touched: &Touched) {
        let whole = *touched == Touched::default();
        if !whole && !touched.facts.iter().any(|name| name.starts_with(TRAIN)) {
            return;
        }
        let trains = self.meta.range(TRAIN.to_owned()..).map_while(|(name, fact)| {
            Some((name.strip_prefix(TRAIN)?.to_owned(), serde_json::from_str::<TrainRecord>(fact).ok()))
        });
        self.trains = trains.filter_map(|(set, record)| Some((set, record?))).collect();
    }
}
