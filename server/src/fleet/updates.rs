//! What devices will download at their next refresh, as far as it is known what they run.

use std::collections::HashSet;

use schema::store::Architecture;
use smol_str::SmolStr;

use super::explain::{installed, scope_of};
use crate::catalog::{Ask, Catalog, Target, unheard};
use crate::storage::devices::DeviceRecord;

/// A step from one revision of a snap to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Update {
    /// The snap's id.
    pub(crate) snap_id: SmolStr,
    /// What a device runs.
    pub(crate) from: u32,
    /// What it is offered.
    pub(crate) to: u32,
}

/// The steps before these devices, each once, in the order of the first device that takes it. What is offered is what the device would be
/// answered.
pub(crate) fn updates(devices: &[DeviceRecord], catalog: &Catalog) -> Vec<Update> {
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    for DeviceRecord { last, .. } in devices {
        let Ok(scope) = scope_of(last, catalog) else { continue };
        let (view, installed) = (catalog.view(scope), installed(last, catalog));
        let architecture = last.architecture.as_ref().map(Architecture::as_str);
        let target = Target {
            device: Some(&last.device),
            store: last.store.as_deref(),
            architecture,
            installed: &installed,
            now_micros: crate::clock::micros(),
        };
        for own in &installed {
            let ask = Ask { snap_id: Some(&own.snap_id), own: Some(own), ..Ask::default() };
            let Ok(offer) = view.resolve(&target, &ask, &mut unheard) else { continue };
            let Ok(from) = u32::try_from(own.revision) else { continue };
            let update = Update { snap_id: offer.snap.id.as_str().into(), from, to: offer.revision.number };
            if update.from != update.to && seen.insert(update.clone()) {
                found.push(update);
            }
        }
    }
    found
}
