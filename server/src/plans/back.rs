//! The way back to the channel map of an earlier generation.
//!
//! Releases and overrides become those of then. What moves counts as decided now, so that a later import of an older
//! file does not take it back. A channel that is closed on the way stays closed to imports, as one that the operator closes.

use std::collections::{BTreeMap, BTreeSet};

use schema::api::admin::HistoryMove;
use schema::store::{Architecture, Channel, SnapId};
use time::OffsetDateTime;

use super::history::differences;
use super::overrides::name_of;
use crate::catalog::{Catalog, Snap};
use crate::imports::rfc3339;
use crate::storage::records::{Origin, ReleaseKey, ReleaseRecord};

/// The releases of an earlier generation.
#[derive(Debug, Default)]
pub(crate) struct Then {
    /// The generation.
    pub(crate) generation: i64,
    /// Its releases.
    pub(crate) releases: Vec<ReleaseRecord>,
    /// Whether grants are others now. They stay: what was imported last decides who sees what.
    pub(crate) grants_differ: bool,
}

/// What leads back.
#[derive(Debug, Default)]
pub(super) struct Back {
    /// Releases to add or replace.
    pub(super) releases: Vec<ReleaseRecord>,
    /// Releases to close before.
    pub(super) closed: Vec<ReleaseKey>,
    /// How the map moves.
    pub(super) moves: Vec<HistoryMove>,
    /// Revisions that would have to be released and are not here: name and number.
    pub(super) gone: BTreeSet<(String, u32)>,
}

/// Plans the way back, for one snap or for all.
pub(super) fn back(catalog: &Catalog, then: &Then, only: Option<&Snap>, now: OffsetDateTime) -> Back {
    let mut maps: BTreeMap<&SnapId, Vec<&ReleaseRecord>> = BTreeMap::new();
    for row in &then.releases {
        maps.entry(&row.snap_id).or_default().push(row);
    }
    for snap in catalog.snaps() {
        maps.entry(&snap.id).or_default();
    }
    let mut back = Back::default();
    for (id, wanted) in maps.into_iter().filter(|(id, _)| only.is_none_or(|only| only.id == **id)) {
        match catalog.snap_by_id(id) {
            Some(snap) => back.add(catalog, snap, &wanted, now),
            None => {
                let name = name_of(catalog, id);
                let lost = wanted.iter().filter(|row| row.origin != Origin::Closed);
                back.gone.extend(lost.map(|row| (name.clone(), row.revision)));
            }
        }
    }
    back
}

impl Back {
    fn add(&mut self, catalog: &Catalog, snap: &Snap, wanted: &[&ReleaseRecord], now: OffsetDateTime) {
        let held = || snap.imported.iter().chain(&snap.overrides).chain(&snap.closed);
        let before: BTreeMap<ReleaseKey, u32> = held().map(|row| (row.key(), row.revision)).collect();
        let moves = |row: &ReleaseRecord| before.get(&row.key()) != Some(&row.revision);
        let (shut, released): (Vec<&ReleaseRecord>, Vec<&ReleaseRecord>) =
            wanted.iter().copied().partition(|row| row.origin == Origin::Closed);
        let is_here =
            |row: &ReleaseRecord| snap.revisions.get(&row.revision).is_some_and(|held| !held.is_damaged());
        let lost = released.iter().filter(|row| moves(row) && !is_here(row));
        self.gone.extend(lost.map(|row| (snap.name.to_string(), row.revision)));

        let open: BTreeSet<&Channel> =
            released.iter().filter(|row| row.origin == Origin::Imported).map(|row| &row.channel).collect();
        let closed: BTreeSet<&Channel> = (snap.imported.iter().chain(&snap.closed).chain(shut))
            .map(|row| &row.channel)
            .filter(|channel| !open.contains(channel))
            .collect();
        let closed = snap.revisions.keys().next_back().into_iter().flat_map(|revision| {
            closed.iter().map(|channel| ReleaseRecord {
                snap_id: snap.id.clone(),
                channel: (*channel).clone(),
                architecture: Architecture::all(),
                revision: *revision,
                released_at: rfc3339(now),
                origin: Origin::Closed,
            })
        });
        let decided = |row: &&ReleaseRecord| ReleaseRecord { released_at: rfc3339(now), ..(*row).clone() };
        let after: BTreeMap<ReleaseKey, ReleaseRecord> =
            released.iter().map(decided).chain(closed).map(|row| (row.key(), row)).collect();

        self.moves.extend(differences(catalog, held(), after.values()));
        self.closed.extend(before.keys().filter(|key| !after.contains_key(key)).cloned());
        self.releases.extend(after.into_values().filter(|row| match row.origin {
            // Which revision it names means nothing.
            Origin::Closed => !before.contains_key(&row.key()),
            Origin::Imported | Origin::Override => moves(row),
        }));
    }
}
