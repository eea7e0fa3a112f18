//! What devices asked for and did not get: what to carry in next.

use std::collections::BTreeMap;

use schema::api::admin::{Doubt, FleetMiss};

use super::explain::explain;
use super::written;
use crate::catalog::Catalog;
use crate::storage::devices::{DeviceRecord, Missed};

/// What devices asked for and did not get, most wanted first. What a device would get by now says so.
pub(crate) fn wishes(seen: &[DeviceRecord], catalog: &Catalog, answers: bool) -> Vec<FleetMiss> {
    let held = |name: &str| !catalog.snaps_named(name).is_empty() || catalog.snap_by_id(name).is_some();
    let mut wishes: BTreeMap<([&str; 3], Option<String>), FleetMiss> = BTreeMap::new();
    for record in seen {
        let model = format!("{}/{}", record.last.device.brand, record.last.device.model);
        for missed in record.last.missed.iter().flatten() {
            let answered_by = answer(record, missed, catalog, answers);
            let Missed { name, wanted, code, at_micros } = missed;
            let key = ([&**name, wanted, code], answered_by.clone());
            let wish = wishes.entry(key).or_insert_with(|| FleetMiss {
                held: held(name),
                name: name.clone(),
                wanted: wanted.clone(),
                code: code.clone(),
                devices: 0,
                models: Vec::new(),
                last_asked: String::new(),
                answered_by,
            });
            wish.devices += 1;
            if let Err(at) = wish.models.binary_search(&model) {
                wish.models.insert(at, model.clone());
            }
            // Written alike, later is greater.
            wish.last_asked = written(*at_micros).max(std::mem::take(&mut wish.last_asked));
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
