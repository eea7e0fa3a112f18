//! What devices asked for and did not get: what to carry in next.

use std::collections::{BTreeMap, BTreeSet};

use schema::api::admin::{DeviceMiss, Doubt, FleetMiss};

use super::explain::explain;
use super::miss;
use crate::catalog::Catalog;
use crate::storage::devices::{DeviceRecord, Missed, Sighting};

/// What requests have in common that count as one: the snap, what was wanted of it, and the answer. A device may ask for a snap by its
/// name and by its id, and is told by another code then that there is none.
type Kind<'a> = (&'a str, &'a str, &'a str);

fn kind<'a>(missed: &'a Missed, catalog: &'a Catalog) -> Kind<'a> {
    let Missed { name, wanted, code, .. } = missed;
    let code = if code == "id-not-found" { "name-not-found" } else { code };
    (catalog.name_of(name).unwrap_or(name), wanted, code)
}

/// What a device asked for and did not get, newest first.
pub(super) fn misses(last: &Sighting, catalog: &Catalog) -> Vec<DeviceMiss> {
    let mut kinds = BTreeSet::new();
    let newest = last.missed.iter().flatten().filter(|missed| kinds.insert(kind(missed, catalog)));
    newest.map(|missed| miss(missed, catalog)).collect()
}

/// What devices asked for and did not get, most wanted first. What a device would get by now says so.
pub(crate) fn wishes(seen: &[DeviceRecord], catalog: &Catalog, answers: bool) -> Vec<FleetMiss> {
    let held = |name: &str| !catalog.snaps_named(name).is_empty() || catalog.snap_by_id(name).is_some();
    let mut wishes: BTreeMap<(Kind<'_>, Option<String>), FleetMiss> = BTreeMap::new();
    for record in seen {
        let mut own = BTreeSet::new();
        let model = format!("{}/{}", record.last.device.brand, record.last.device.model);
        for missed in record.last.missed.iter().flatten() {
            let answered_by = answer(record, missed, catalog, answers);
            let key = (kind(missed, catalog), answered_by.clone());
            let DeviceMiss { name, snap_id, wanted, code, last_asked } = miss(missed, catalog);
            let is_first = own.insert(key.clone());
            let wish = wishes.entry(key).or_insert_with(|| FleetMiss {
                held: held(&missed.name),
                name,
                snap_id: None,
                wanted,
                code: String::new(),
                devices: 0,
                models: Vec::new(),
                last_asked: String::new(),
                answered_by,
            });
            wish.snap_id = wish.snap_id.take().or(snap_id);
            wish.devices += usize::from(is_first);
            if let Err(at) = wish.models.binary_search(&model) {
                wish.models.insert(at, model.clone());
            }
            // Written alike, later is greater.
            if wish.last_asked < last_asked {
                (wish.last_asked, wish.code) = (last_asked, code);
            }
        }
    }
    let mut misses: Vec<FleetMiss> = wishes.into_values().collect();
    misses.sort_by_key(|miss| std::cmp::Reverse(miss.devices));
    misses
}

/// What the device would get by now for what it asked.
fn answer(record: &DeviceRecord, missed: &Missed, catalog: &Catalog, answers: bool) -> Option<String> {
    let revision = missed.wanted.strip_prefix("revision ").and_then(|number| number.parse().ok());
    let doubt = Doubt {
        device: record.last.device.clone(),
        snap: missed.name.clone(),
        channel: Some(missed.wanted.clone()).filter(|_| revision.is_none()),
        revision,
    };
    let gets = explain(&doubt, Some(record), catalog, answers, None).gets?;
    Some(format!("revision {} from {}", gets.revision, gets.channel))
}
