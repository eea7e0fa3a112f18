//! Why devices would pass a sequence of a validation set over, which they do without a word, or could not follow it.

use std::collections::{BTreeMap, BTreeSet};

use schema::assertion::{AssertionType, Details, Model, ValidationSet, ValidationSetSnap};
use schema::store::Architecture;

use crate::catalog::{Catalog, CatalogRevision, Snap};
use crate::fleet::progress::on;
use crate::fleet::scope_of;
use crate::storage::devices::DeviceRecord;

/// What a sequence is asked of: models that name the set, and devices that follow it and have said what they run.
struct Readers<'a> {
    models: Vec<Model>,
    devices: Vec<&'a DeviceRecord>,
}

impl<'a> Readers<'a> {
    fn of(catalog: &Catalog, set: &str, seen: &'a [DeviceRecord]) -> Self {
        let models = catalog.assertions.of_kind(AssertionType::Model);
        let models = models.filter_map(|held| match held.details() {
            Details::Model(model) => Some((**model).clone()),
            _ => None,
        });
        let models = models.filter(|model| names(model, set)).collect();
        Self {
            models,
            devices: seen
                .iter()
                .filter(|record| record.last.snaps.is_some() && on(record, set).is_some())
                .collect(),
        }
    }

    /// Their architectures, each with one who has it.
    fn architectures(&self) -> BTreeMap<Architecture, String> {
        let devices = self.devices.iter().filter_map(|record| {
            let whose = format!("{}, which follows the set", record.last.device);
            Some((record.last.architecture.clone()?, whose))
        });
        let models = self.models.iter().filter_map(|model| {
            let whose = format!("model {}/{}, which names the set", model.brand_id, model.model);
            Some((model.architecture.as_deref()?.parse().ok()?, whose))
        });
        devices.chain(models).collect()
    }
}

/// Whether a model names a set, `ACCOUNT/NAME`.
fn names(model: &Model, set: &str) -> bool {
    let mut named = model.validation_sets.iter();
    named.any(|named| set.split_once('/') == Some((&*named.account_id, &*named.name)))
}

/// Why devices would not take a sequence, or could not; `seen` are those that follow its set.
pub(crate) fn problems(catalog: &Catalog, set: &ValidationSet, seen: &[DeviceRecord]) -> Vec<String> {
    let named = format!("{}/{}", set.account_id, set.name);
    let readers = Readers::of(catalog, &named, seen);
    let mut found = Vec::new();
    for entry in &set.snaps {
        found.extend(unheld(catalog, set, entry, &readers));
        found.extend(unlike(catalog, entry, &readers));
    }
    found.extend(conflicts(catalog, set, &named, &readers));
    found
}

/// What of an entry is not here, or not for everybody who reads it: the revision, and the base that it needs.
fn unheld(
    catalog: &Catalog,
    set: &ValidationSet,
    entry: &ValidationSetSnap,
    readers: &Readers<'_>,
) -> Vec<String> {
    let name = &entry.name;
    let Some(snap) = catalog.snap_by_id(&entry.id) else {
        let needed = entry.presence == "required" || entry.revision.is_some();
        return needed
            .then(|| format!("snap {name} is not held: `proxy push-snap` brings it"))
            .into_iter()
            .collect();
    };
    let mut found = Vec::new();
    let hidden = readers.devices.iter().find(|record| {
        scope_of(&record.last, catalog).is_ok_and(|scope| catalog.view(scope).snap(&entry.id).is_none())
    });
    if let Some(record) = hidden.filter(|_| entry.presence != "invalid") {
        found.push(format!("{} follows the set and does not see {name}", record.last.device));
    }
    let Some(number) = entry.revision else { return found };
    let Some(revision) = snap.revisions.get(&number) else {
        found.push(format!("revision {number} of {name} is not held: `proxy push-snap` brings it"));
        return found;
    };
    if revision.is_damaged() {
        found.push(format!("the file of revision {number} of {name} is damaged: push it again"));
    }
    for (architecture, whose) in readers.architectures() {
        if !revision.runs_on(Some(architecture.as_str())) {
            found.push(format!(
                "revision {number} of {name} does not run on {architecture}, as needed by {whose}"
            ));
        } else if let Some(base) = unbased(catalog, set, revision, &architecture) {
            found.push(format!(
                "revision {number} of {name} needs base {base}, which is not here for {architecture}: `proxy push-snap` brings it"
            ));
        }
    }
    if readers.architectures().is_empty() {
        // Nobody is known yet: the base has to be here at all.
        found.extend(revision.base.as_deref().filter(|base| *base != "none").and_then(|base| {
            catalog.snaps_named(base).is_empty().then(|| {
                format!("revision {number} of {name} needs base {base}, which is not here: `proxy push-snap` brings it")
            })
        }));
    }
    found
}

/// The base of a revision, if no device of this architecture gets it: neither the set names it, nor a channel has it.
fn unbased<'a>(
    catalog: &Catalog,
    set: &ValidationSet,
    revision: &'a CatalogRevision,
    architecture: &Architecture,
) -> Option<&'a str> {
    let base = revision.base.as_deref().filter(|base| *base != "none")?;
    let place = Some(architecture.as_str());
    let runs = |snap: &Snap, number: u32| {
        snap.revisions.get(&number).is_some_and(|held| held.runs_on(place) && !held.is_damaged())
    };
    let is_here = |snap: &Snap| {
        let pinned = set.snaps.iter().find(|entry| entry.id == *snap.id).and_then(|entry| entry.revision);
        match pinned {
            Some(number) => runs(snap, number),
            None => snap.releases.iter().any(|release| release.is_for(place) && runs(snap, release.revision)),
        }
    };
    (!catalog.snaps_named(base).iter().any(|snap| is_here(snap))).then_some(base)
}

/// Why devices that follow the set would pass an entry over, as they are.
fn unlike(catalog: &Catalog, entry: &ValidationSetSnap, readers: &Readers<'_>) -> Vec<String> {
    let name = &entry.name;
    let runs = |record: &DeviceRecord| {
        record
            .last
            .snaps
            .iter()
            .flatten()
            .find(|own| own.snap_id == entry.id)
            .map(|own| (own.revision, own.epoch.clone()))
    };
    let mut found = Vec::new();
    let has = readers.devices.iter().filter(|record| runs(record).is_some()).count();
    let lacking = readers.devices.len() - has;
    if entry.presence == "required" && lacking > 0 {
        found
            .push(format!("{lacking} devices that follow the set do not run {name}, and would pass it over"));
    }
    if entry.presence == "invalid" && has > 0 {
        found.push(format!(
            "{has} devices that follow the set run {name}, which it forbids, and would pass it over"
        ));
    }
    let held = catalog.snap_by_id(&entry.id).zip(entry.revision);
    let Some(wanted) = held.and_then(|(snap, number)| snap.revisions.get(&number)) else { return found };
    let stuck = readers.devices.iter().filter(|record| {
        runs(record).is_some_and(|(own, epoch)| {
            own != i64::from(wanted.number) && !wanted.epoch.can_follow(&epoch.unwrap_or_default())
        })
    });
    let stuck = stuck.count();
    if stuck > 0 {
        found.push(format!(
            "revision {} of {name} does not read the data of what {stuck} devices that follow the set run",
            wanted.number
        ));
    }
    found
}

/// What other sets say otherwise: those of the account that have a train, and all that a model or a device has beside this one.
fn conflicts(catalog: &Catalog, set: &ValidationSet, named: &str, readers: &Readers<'_>) -> Vec<String> {
    let says = |of: &ValidationSetSnap| (of.presence == "invalid", of.revision);
    let mine: BTreeMap<&str, &ValidationSetSnap> = set.snaps.iter().map(|snap| (&*snap.id, snap)).collect();
    let mut found = Vec::new();
    for other in others(catalog, named) {
        let beside: BTreeSet<u32> = readers.devices.iter().filter_map(|record| on(record, &other)).collect();
        let of_model = |model: &Model| names(model, &other);
        let is_own = other.strip_prefix(&*set.account_id).is_some_and(|rest| rest.starts_with('/'));
        let moves = is_own && catalog.train(&other).is_some();
        if !moves && beside.is_empty() && !readers.models.iter().any(of_model) {
            continue;
        }
        // What devices have, and what they are answered.
        let answered = match catalog.train(&other) {
            Some(train) => train.departed.as_ref().map_or(train.arrived, |departed| departed.sequence),
            None => catalog.sequences(&other).last().copied().unwrap_or_default(),
        };
        for sequence in beside.into_iter().chain([answered]).collect::<BTreeSet<u32>>() {
            let Some(theirs) = catalog.validation_set(&other, sequence) else { continue };
            for snap in &theirs.snaps {
                let Some(own) = mine.get(&*snap.id) else { continue };
                let ((no, here), (not, there)) = (says(own), says(snap));
                let differ = here.is_some() && there.is_some() && here != there;
                let refuse = no != not && (own.presence == "required" || snap.presence == "required");
                if differ || refuse {
                    found.push(format!("{other}={sequence} says otherwise of {}", snap.name));
                }
            }
        }
    }
    found
}

/// All other sets that are held, as `ACCOUNT/NAME`.
fn others(catalog: &Catalog, named: &str) -> BTreeSet<String> {
    let sets = catalog.assertions.of_kind(AssertionType::ValidationSet);
    let names = sets.filter_map(|held| match held.details() {
        Details::ValidationSet(set) => Some(format!("{}/{}", set.account_id, set.name)),
        _ => None,
    });
    names.filter(|other| other != named).collect()
}
