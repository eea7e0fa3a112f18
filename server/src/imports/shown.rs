//! What an import changes, for people who decide whether it may.

use std::collections::BTreeSet;

use schema::api::admin::{ImportPlan, PlannedGrants, PlannedRevision, PushedSnap, ViewChange};
use schema::assertion::Details;
use schema::bundle::asked_of_device;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::catalog::{Catalog, CatalogRevision};
use crate::storage::records::{Change, RevisionRecord, StoreRecord};

/// What a planned change changes, next to what is held.
pub(crate) fn shown(on: &Catalog, change: &Change) -> ImportPlan {
    let mut revisions: Vec<PlannedRevision> =
        change.revisions.iter().map(|new| revision(on, change, new)).collect();
    revisions.extend(change.components.iter().filter_map(|new| {
        let held = on.snap_by_id(&new.snap_id);
        let known = held.is_some_and(|snap| snap.components.contains_key(&(new.name.clone(), new.revision)));
        (!known).then(|| PlannedRevision {
            name: format!("{}+{}", name_of(on, change, &new.snap_id), new.name),
            snap_id: new.snap_id.to_string(),
            revision: new.revision,
            version: new.version.clone(),
            size: new.size,
            sha3_384: new.blob.to_hex(),
            before: None,
            size_before: None,
            new: Vec::new(),
            gone: Vec::new(),
        })
    }));
    revisions.sort_by(|one, other| (&one.name, one.revision).cmp(&(&other.name, other.revision)));
    let new_blobs = change.blobs.iter().filter(|blob| on.blob(&blob.digest).is_none());
    let (mut keys, mut assertions) = (Vec::new(), Vec::new());
    for verified in &change.assertions {
        let assertion = verified.assertion();
        match assertion.details() {
            Details::AccountKey(key) => keys.push(format!(
                "{} {} ({})",
                key.account_id,
                key.public_key.id(),
                key.name.as_deref().unwrap_or("without a name")
            )),
            _ => assertions.push(format!("{} ({})", assertion.reference(), assertion.revision())),
        }
    }
    keys.sort();
    assertions.sort();
    let summary = change.import.as_ref().map_or(&Value::Null, |import| &import.summary);
    let moves = parts::<PushedSnap>(summary, "snaps").flat_map(|snap| {
        let moves = snap.moves.iter().map(ToString::to_string).collect::<Vec<_>>().into_iter();
        let track = snap.default_track.iter().map(ToString::to_string).collect::<Vec<_>>();
        let name = snap.name;
        moves.chain(track).map(move |moved| format!("{name} {moved}"))
    });
    ImportPlan {
        revisions,
        bytes: new_blobs.map(|blob| blob.size).sum(),
        channels: moves.collect(),
        grants: change.stores.iter().filter_map(|store| grants(on, store)).collect(),
        keys,
        assertions,
        removed: change.removed.assertions.iter().map(ToString::to_string).collect(),
        visibility: parts::<ViewChange>(summary, "visibility").map(|change| change.to_string()).collect(),
    }
}

fn name_of(on: &Catalog, change: &Change, snap_id: &str) -> String {
    let brought = change.snaps.iter().find(|snap| snap.snap_id == *snap_id).map(|snap| snap.name.to_string());
    brought.or_else(|| on.snap_by_id(snap_id).map(|snap| snap.name.to_string())).unwrap_or_default()
}

fn revision(on: &Catalog, change: &Change, new: &RevisionRecord) -> PlannedRevision {
    let held = on.snap_by_id(&new.snap_id);
    let below = held.iter().flat_map(|snap| snap.revisions.range(..new.revision).rev());
    let runs_there = |held: &&CatalogRevision| {
        held.architectures.iter().any(|architecture| new.architectures.contains(architecture))
    };
    let before = below.map(|(_, held)| &**held).find(runs_there);
    let asked = asked_of_device(&new.snap_yaml);
    let asked_before = before.map(|before| asked_of_device(&before.snap_yaml())).unwrap_or_default();
    let lacking_in = |all: &BTreeSet<String>, other| all.difference(other).cloned().collect();
    PlannedRevision {
        name: name_of(on, change, &new.snap_id),
        snap_id: new.snap_id.to_string(),
        revision: new.revision,
        version: new.version.clone(),
        size: new.size,
        sha3_384: new.blob.to_hex(),
        before: before.map(|before| before.number),
        size_before: before.map(|before| before.blob.size),
        new: lacking_in(&asked, &asked_before),
        gone: lacking_in(&asked_before, &asked),
    }
}

fn grants(on: &Catalog, store: &StoreRecord) -> Option<PlannedGrants> {
    let names = |store: &StoreRecord| -> BTreeSet<String> {
        store.grants.iter().map(|grant| grant.name.to_string()).collect()
    };
    let before = on.store(&store.store_id).map(names);
    let is_new = before.is_none();
    let (before, after) = (before.unwrap_or_default(), names(store));
    let added: Vec<String> = after.difference(&before).cloned().collect();
    let removed: Vec<String> = before.difference(&after).cloned().collect();
    (is_new || !added.is_empty() || !removed.is_empty()).then(|| PlannedGrants {
        store: store.store_id.to_string(),
        added,
        removed,
    })
}

/// A list of an import's summary. What an older release wrote differently is left out.
pub(crate) fn parts<T: DeserializeOwned>(summary: &Value, name: &str) -> impl Iterator<Item = T> {
    let values = summary[name].as_array().into_iter().flatten();
    values.filter_map(|value| T::deserialize(value).ok()).collect::<Vec<_>>().into_iter()
}
