//! What devices asked for and did not get: what to carry in next.

use std::collections::BTreeMap;

use schema::api::admin::FleetMiss;

use super::written;
use crate::catalog::Catalog;
use crate::storage::devices::{DeviceRecord, Missed};

/// What devices asked for and did not get, most wanted first.
pub(super) fn wishes(seen: &[DeviceRecord], catalog: &Catalog) -> Vec<FleetMiss> {
    let held = |name: &str| !catalog.snaps_named(name).is_empty() || catalog.snap_by_id(name).is_some();
    let mut wishes: BTreeMap<[&str; 3], FleetMiss> = BTreeMap::new();
    for record in seen {
        let model = format!("{}/{}", record.last.device.brand, record.last.device.model);
        for Missed { name, wanted, code, at_micros } in record.last.missed.iter().flatten() {
            let wish = wishes.entry([name, wanted, code]).or_insert_with(|| FleetMiss {
                held: held(name),
                name: name.clone(),
                wanted: wanted.clone(),
                code: code.clone(),
                devices: 0,
                models: Vec::new(),
                last_asked: String::new(),
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
