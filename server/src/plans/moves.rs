//! How a change moves the channels of snaps.

use std::collections::BTreeSet;

use schema::api::admin::{ChannelMove, SnapMove};
use schema::store::{Architecture, SnapId};

use super::overrides::written;
use crate::catalog::{Catalog, Snap};
use crate::storage::records::{Change, Origin, ReleaseRecord};

/// What a change does to channels, by snap, channel and architecture. An override moves what devices get, whatever was
/// imported; everything else moves the imported map.
pub(crate) fn moves(catalog: &Catalog, change: &Change) -> Vec<SnapMove> {
    let opened = change.releases.iter().map(|row| (&row.snap_id, row.origin));
    let closed = change.releases_closed.iter().map(|row| (&row.snap_id, row.origin));
    let touched: BTreeSet<(&SnapId, bool)> =
        opened.chain(closed).map(|(id, origin)| (id, origin == Origin::Override)).collect();
    let mut moves = Vec::new();
    for (id, overrides) in touched {
        let Some(snap) = catalog.snap_by_id(id) else { continue };
        let before = rows(snap, overrides);
        let replaced = |row: &ReleaseRecord| {
            let key = row.key();
            change.releases_closed.contains(&key) || change.releases.iter().any(|new| new.key() == key)
        };
        let new = change.releases.iter().filter(|row| {
            row.snap_id == snap.id
                && row.origin == (if overrides { Origin::Override } else { Origin::Imported })
        });
        let mut after: Vec<&ReleaseRecord> = new.collect();
        after.extend(before.iter().copied().filter(|row| !replaced(row)));
        moves.extend(differences(snap, &before, &after));
    }
    moves
}

/// The rows that decide about a snap's channels.
fn rows(snap: &Snap, overrides: bool) -> Vec<&ReleaseRecord> {
    let above: &[ReleaseRecord] = if overrides { &snap.overrides } else { &[] };
    above.iter().chain(&snap.imported).collect()
}

fn differences(snap: &Snap, before: &[&ReleaseRecord], after: &[&ReleaseRecord]) -> Vec<SnapMove> {
    let place = |row: &&ReleaseRecord| (written(row), row.architecture.clone());
    let places: BTreeSet<(String, Architecture)> = before.iter().chain(after).map(place).collect();
    let moved = places.into_iter().filter_map(|(channel, architecture)| {
        let [from, to] = [before, after].map(|rows| revision_of(rows, &channel, architecture.as_str()));
        (from != to).then(|| SnapMove {
            snap: snap.name.to_string(),
            moved: ChannelMove { channel, architecture: architecture.to_string(), before: from, after: to },
        })
    });
    moved.collect()
}

/// An override comes before an imported row, and the architecture itself before all.
fn revision_of(rows: &[&ReleaseRecord], channel: &str, architecture: &str) -> Option<u32> {
    let origins = [Origin::Override, Origin::Imported];
    let ways = origins.iter().flat_map(|origin| [architecture, Architecture::ALL].map(|of| (*origin, of)));
    let mut found = ways.filter_map(|(origin, of)| {
        rows.iter().find(|row| row.origin == origin && row.architecture == of && written(row) == channel)
    });
    found.next().map(|row| row.revision)
}
