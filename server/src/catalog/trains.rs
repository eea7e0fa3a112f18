//! Trains as devices meet them: which sequence of a validation set is the latest one for whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use schema::assertion::{AssertionType, Details, Ref, ValidationSet};
use schema::rollout::place;
use schema::store::SERIES;

use super::resolve::Target;
use super::rollouts::{Who, first_wave};
use super::{Catalog, CompileError, Held};
use crate::storage::Touched;
use crate::storage::rollouts::Contact;
use crate::storage::trains::{Departure, TRAIN, TrainRecord};

/// A train, with what it needs of the rest of the catalog.
pub(super) struct Train {
    record: TrainRecord,
    /// The revisions that the sequence on its way names, by the ids of their snaps.
    pins: BTreeMap<String, u32>,
}

/// A sequence on its way.
#[derive(Clone, Copy)]
pub(crate) struct Departed<'a> {
    /// The validation set, `ACCOUNT/NAME`.
    pub(crate) set: &'a str,
    /// What is stored of it.
    pub(crate) departure: &'a Departure,
    /// The revisions that it names, by the ids of their snaps.
    pub(crate) pins: &'a BTreeMap<String, u32>,
}

impl Departed<'_> {
    /// What contacts with it are recorded under; no rollout is called so.
    pub(crate) fn log(&self) -> String {
        format!("{}={}", self.set, self.departure.sequence)
    }

    /// The first wave that takes a device.
    pub(crate) fn wave_of(&self, who: &Who<'_>) -> Option<usize> {
        let Departure { rules, course, .. } = self.departure;
        first_wave(&course.waves, rules, who, |device| place(self.set, &course.salt, device))
    }

    /// Whether a device that runs these revisions runs what it names.
    pub(crate) fn is_run<'s>(&self, running: impl Iterator<Item = (&'s str, i64)>) -> bool {
        // Of parallel instances, one is under the set.
        let mut has: BTreeMap<&str, bool> = BTreeMap::new();
        for (snap_id, revision) in running {
            if let Some(pin) = self.pins.get(snap_id) {
                *has.entry(snap_id).or_default() |= revision == i64::from(*pin);
            }
        }
        has.into_values().all(|has| has)
    }

    /// What a target's contact says of it, if its wave is open. Which sets the target follows it says apart from what it runs,
    /// so this is kept of whoever runs any of it, and counts for followers only.
    pub(super) fn contact(&self, catalog: &Catalog, target: &Target<'_>) -> Option<Contact> {
        let pinned = || target.installed.iter().filter(|own| self.pins.contains_key(&*own.snap_id));
        let Departure { course, .. } = self.departure;
        if pinned().next().is_none() || !course.is_open(self.wave_of(&catalog.who(target))) {
            return None;
        }
        let has = self.is_run(pinned().map(|own| (&*own.snap_id, own.revision)));
        let held = !has && pinned().any(|own| own.held.as_ref().is_some_and(|held| !held.by.is_empty()));
        let at_micros = target.now_micros;
        let offered = !has && !held && course.offers(at_micros);
        Some(Contact { rollout: self.log(), at_micros, has, offered, held })
    }
}

impl Catalog {
    /// The train of a set, `ACCOUNT/NAME`.
    pub(crate) fn train(&self, set: &str) -> Option<&TrainRecord> {
        self.trains.get(set).map(|train| &train.record)
    }

    /// All trains, by set.
    pub(crate) fn trains(&self) -> impl Iterator<Item = (&String, &TrainRecord)> {
        self.trains.iter().map(|(set, train)| (set, &train.record))
    }

    /// The sequence of a set that is on its way.
    pub(crate) fn departed<'a>(&'a self, set: &'a str) -> Option<Departed<'a>> {
        let train = self.trains.get(set)?;
        Some(Departed { set, departure: train.record.departed.as_ref()?, pins: &train.pins })
    }

    /// All sequences that are on their way.
    pub(crate) fn all_departed(&self) -> impl Iterator<Item = Departed<'_>> {
        self.trains.keys().filter_map(|set| self.departed(set))
    }

    /// The highest sequence of a set that a device is answered. One decision for every route.
    pub(super) fn highest_for(&self, sequence_key: &[String], target: &Target<'_>) -> u32 {
        let set = sequence_key.iter().skip(1).map(String::as_str).collect::<Vec<_>>().join("/");
        let Some(train) = self.train(&set) else { return u32::MAX };
        let is_open = |departed: &Departed<'_>| {
            let course = &departed.departure.course;
            course.offers(target.now_micros) && course.is_open(departed.wave_of(&self.who(target)))
        };
        let open = self.departed(&set).filter(is_open);
        open.map_or(train.arrived, |departed| departed.departure.sequence)
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

    /// The revisions that a sequence names, by the ids of their snaps.
    pub(crate) fn pins(&self, set: &str, sequence: u32) -> BTreeMap<String, u32> {
        let names = self.validation_set(set, sequence);
        let pins = names.into_iter().flat_map(|names| names.snaps);
        pins.filter_map(|snap| Some((snap.id, snap.revision?))).collect()
    }

    /// Takes over trains, after the assertions. One that cannot be read keeps nothing from devices, so it is no train to
    /// leave out.
    pub(super) fn take_trains(&mut self, touched: &Touched) -> Result<(), CompileError> {
        let whole = *touched == Touched::default();
        if !whole && !touched.facts.iter().any(|name| name.starts_with(TRAIN)) {
            return Ok(());
        }
        let facts = self.meta.range(TRAIN.to_owned()..);
        let facts = facts.map_while(|(name, fact)| Some((name.strip_prefix(TRAIN)?, fact)));
        let train = |(set, fact): (&str, &String)| {
            let whose = || format!("the fact {TRAIN}{set}");
            let unreadable = |_| CompileError::Unreadable { what: "value", whose: whose() };
            let record: TrainRecord = serde_json::from_str(fact).map_err(unreadable)?;
            let departed = record.departed.as_ref();
            let pins = departed.map(|departed| self.pins(set, departed.sequence)).unwrap_or_default();
            Ok((set.to_owned(), Arc::new(Train { record, pins })))
        };
        self.trains = facts.map(train).collect::<Result<_, _>>()?;
        Ok(())
    }
}
