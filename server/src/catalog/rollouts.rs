//! Rollouts as devices meet them: who is in which wave, and what that leads to.
//!
//! While a rollout is live, its channel keeps the revision that it has, and devices of open waves are lifted to the
//! rollout's. What decides it is in the catalog and in the device's identity alone, so every server decides the same.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use schema::api::device::Installed;
use schema::rollout::{GroupRules, Share, Wave, place};
use schema::store::{Architecture, ChannelRequest, DeviceId, SnapId};

use super::hashed::HashedMap;
use super::resolve::{Target, unheard};
use super::{Catalog, CompileError, Release, Snap, View};
use crate::storage::Touched;
use crate::storage::devices::Running;
use crate::storage::records::{Origin, Snapshot};
use crate::storage::rollouts::{Contact, GROUP, ROLLOUT, RolloutRecord, TAGS};

/// Tags and live rollouts.
#[derive(Clone, Default)]
pub(super) struct Rollouts {
    tags: HashedMap<DeviceId, Arc<BTreeSet<String>>>,
    live: HashedMap<SnapId, Arc<Rollout>>,
}

/// A rollout, with what it needs of the rest of the catalog.
pub(crate) struct Rollout {
    /// Its name.
    pub(crate) name: String,
    /// What is stored of it.
    pub(crate) record: RolloutRecord,
    /// The rules of each wave's group; `None` for a wave without one.
    rules: Vec<Option<GroupRules>>,
    /// What devices of open waves are lifted to, by architecture.
    releases: Vec<Release>,
}

/// A device as rollouts tell it from others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    /// Which one; `None` for a caller without a session.
    pub(crate) device: Option<&'a DeviceId>,
    /// The store that its model names.
    pub(crate) store: Option<&'a str>,
    /// The tags that operators gave it.
    pub(crate) tags: Option<&'a BTreeSet<String>>,
}

impl Rollout {
    fn new(name: &str, record: RolloutRecord, catalog: &Catalog) -> Self {
        let rules = record.course.waves.iter().map(|wave| {
            // A group that is gone takes nobody.
            let nobody = || GroupRules { devices: Some(BTreeSet::new()), ..GroupRules::default() };
            wave.group.as_ref().map(|group| catalog.group(group).unwrap_or_else(nobody))
        });
        let (rules, held) = (rules.collect(), catalog.snap_by_id(&record.snap_id));
        let architectures = held.and_then(|snap| snap.revisions.get(&record.revision));
        let release = |architecture: &Architecture| Release {
            channel: record.channel.clone(),
            architecture: architecture.clone(),
            revision: record.revision,
            released_at: record.released_at.clone(),
            origin: Origin::Imported,
        };
        let releases = architectures.iter().flat_map(|held| &held.architectures).map(release).collect();
        Self { name: name.to_owned(), record, rules, releases }
    }

    /// The first wave that takes a device.
    pub(crate) fn wave_of(&self, who: &Who<'_>) -> Option<usize> {
        first_wave(&self.record.course.waves, &self.rules, who, |device| self.place(device))
    }

    /// A device's place among all.
    pub(crate) fn place(&self, device: &DeviceId) -> u64 {
        place(&self.name, &self.record.course.salt, device)
    }

    /// Whether a wave that takes the device is open.
    fn is_open_to(&self, who: &Who<'_>) -> bool {
        self.record.course.is_open(self.wave_of(who))
    }

    /// The release that leads a target from this place of the channel map to the rollout's revision. Paused, outside its
    /// windows, or with a damaged file, it only keeps devices that have the revision already.
    pub(super) fn lifts<'a>(
        &'a self,
        catalog: &'a Catalog,
        snap: &Snap,
        place: &[Release],
        target: &Target<'_>,
        own: Option<i64>,
    ) -> Option<&'a Release> {
        let channel = &place.first()?.channel;
        if *channel != self.record.channel || !self.is_open_to(&catalog.who(target)) {
            return None;
        }
        let sound = snap.revisions.get(&self.record.revision).is_some_and(|held| !held.is_damaged());
        let offers = sound && self.record.course.offers(target.now_micros);
        if !offers && own != Some(self.record.revision.into()) {
            return None;
        }
        let here = |release: &&Release| {
            let beside = |other: &Release| {
                other.architecture == release.architecture
                    || other.architecture.is_all()
                    || release.architecture.is_all()
            };
            place.iter().any(beside) && snap.offered(release, target.architecture).is_some()
        };
        self.releases.iter().filter(here).min_by_key(|release| release.architecture.is_all())
    }

    /// Whether it is for a device that runs this: its snap, from its channel, on an architecture of its revision.
    pub(crate) fn concerns(&self, snap: &Snap, running: &Running, architecture: Option<&str>) -> bool {
        // Of the many snaps of many devices, nearly none is meant.
        if *running.snap_id != *self.record.snap_id {
            return false;
        }
        let request = match &*running.channel {
            "" => Ok(ChannelRequest::default()),
            text => text.parse::<ChannelRequest>(),
        };
        let ends = |request: ChannelRequest| {
            let place = snap.place(&request.on(&snap.default_track), architecture, &mut unheard);
            place.first().is_some_and(|release| release.channel == self.record.channel)
        };
        let runs = self.releases.iter().any(|release| snap.offered(release, architecture).is_some());
        runs && request.is_ok_and(ends)
    }
}

/// The first wave that takes a device with this place among all; `rules` are those of each wave's group. Callers without a
/// session are taken by a wave of everybody only.
pub(super) fn first_wave(
    waves: &[Wave],
    rules: &[Option<GroupRules>],
    who: &Who<'_>,
    place: impl Fn(&DeviceId) -> u64,
) -> Option<usize> {
    let Some(device) = who.device else {
        return waves.iter().position(Wave::takes_all);
    };
    let place = LazyCell::new(|| place(device));
    let mut waves = waves.iter().zip(rules);
    waves.position(|(wave, rules)| {
        rules.as_ref().is_none_or(|rules| rules.take(device, who.store, who.tags))
            && (wave.share == Share::ALL || wave.share.takes(*place))
    })
}

impl Rollouts {
    /// The live rollout of a snap. Each snap of each answer asks, and mostly none is live.
    pub(super) fn of(&self, snap: &SnapId) -> Option<&Arc<Rollout>> {
        (!self.live.is_empty()).then(|| self.live.get(snap)).flatten()
    }
}

impl View<'_> {
    /// What a target's contact says about live rollouts, and trains on their way, with an open wave for it; `offered` are
    /// the snaps of which a rollout's revision was offered.
    pub(crate) fn contacts(&self, target: &Target<'_>, offered: &[SnapId]) -> Vec<Contact> {
        let at_micros = target.now_micros;
        let live = &self.catalog.rollouts.live;
        let installed = if live.is_empty() { &[][..] } else { target.installed };
        let contact = |(at, own): (usize, &Installed<'_>)| {
            let rollout = live.get(&*own.snap_id)?;
            // Of parallel instances, the first one tells.
            if installed[..at].iter().any(|earlier| earlier.snap_id == own.snap_id) {
                return None;
            }
            let has = own.revision == i64::from(rollout.record.revision);
            let held = own.held.as_ref().is_some_and(|held| !held.by.is_empty());
            // What was offered was offered in an open wave.
            let offered = offered.contains(&rollout.record.snap_id);
            if !offered && !rollout.is_open_to(&self.catalog.who(target)) {
                return None;
            }
            let offered = offered && !has && !held;
            Some(Contact { rollout: rollout.name.clone(), at_micros, has, offered, held })
        };
        let trains =
            self.catalog.all_departed().filter_map(|departed| departed.contact(self.catalog, target));
        installed.iter().enumerate().filter_map(contact).chain(trains).collect()
    }
}

impl Catalog {
    /// The rules of a group.
    pub(crate) fn group(&self, name: &str) -> Option<GroupRules> {
        let fact = self.meta.get(&format!("{GROUP}{name}"))?;
        serde_json::from_str::<Option<GroupRules>>(fact).ok()?
    }

    /// All groups, by name.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&str, GroupRules)> {
        self.facts(GROUP).filter_map(|(name, _)| Some((name, self.group(name)?)))
    }

    /// The facts whose names begin so, without that beginning.
    fn facts(&self, prefix: &'static str) -> impl Iterator<Item = (&str, &str)> {
        let from = self.meta.range(prefix.to_owned()..);
        from.map_while(move |(name, fact)| Some((name.strip_prefix(prefix)?, &**fact)))
    }

    /// The tags of a device.
    pub(crate) fn tags_of(&self, device: &DeviceId) -> Option<&BTreeSet<String>> {
        self.rollouts.tags.get(device).map(|tags| &**tags)
    }

    /// A rollout, whatever its state.
    pub(crate) fn rollout(&self, name: &str) -> Option<Rollout> {
        let record = serde_json::from_str(self.meta.get(&format!("{ROLLOUT}{name}"))?).ok()?;
        Some(self.rollout_as(name, record))
    }

    /// A rollout as it would be.
    pub(crate) fn rollout_as(&self, name: &str, record: RolloutRecord) -> Rollout {
        Rollout::new(name, record, self)
    }

    /// All rollouts, by name.
    pub(crate) fn all_rollouts(&self) -> impl Iterator<Item = Rollout> {
        self.facts(ROLLOUT).filter_map(|(name, _)| self.rollout(name))
    }

    /// The live rollout of a snap.
    pub(crate) fn live_rollout(&self, snap: &SnapId) -> Option<&Rollout> {
        self.rollouts.of(snap).map(|rollout| &**rollout)
    }

    /// All live rollouts.
    pub(crate) fn live_rollouts(&self) -> impl Iterator<Item = &Arc<Rollout>> {
        self.rollouts.live.values()
    }

    /// A target as rollouts tell it from others.
    pub(crate) fn who<'a>(&'a self, target: &Target<'a>) -> Who<'a> {
        let tags = target.device.and_then(|device| self.tags_of(device));
        Who { device: target.device, store: target.store, tags }
    }

    /// Takes over tags, before anything that depends on them.
    pub(super) fn take_tags(&mut self, touched: &Touched, rows: &Snapshot) -> Result<(), CompileError> {
        let device = |name: &str| name.strip_prefix(TAGS).and_then(|device| device.parse::<DeviceId>().ok());
        for device in touched.facts.iter().filter_map(|name| device(name)) {
            self.rollouts.tags.remove_mut(&device);
        }
        for (name, value) in &rows.meta {
            if let Some(device) = device(name) {
                let unreadable =
                    |_| CompileError::Unreadable { what: "value", whose: format!("the fact {name}") };
                let tags: BTreeSet<String> = serde_json::from_str(value).map_err(unreadable)?;
                self.rollouts.tags.insert_mut(device, Arc::new(tags));
            }
        }
        Ok(())
    }

    /// Compiles live rollouts anew if anything that they depend on is among these names of facts, or touched.
    pub(super) fn take_rollouts(&mut self, touched: &Touched) {
        let named = |name: &String| name.starts_with(ROLLOUT) || name.starts_with(GROUP);
        let moved = |id: &String| self.rollouts.live.contains_key(id.as_str());
        let whole = *touched == Touched::default();
        if !whole && !touched.facts.iter().any(named) && !touched.snaps.iter().any(moved) {
            return;
        }
        let live = self.all_rollouts().filter(|rollout| rollout.record.course.state.is_live());
        let live = live.map(|rollout| (rollout.record.snap_id.clone(), Arc::new(rollout)));
        self.rollouts.live = live.collect();
    }
}
