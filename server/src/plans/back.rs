//! The way back to the channel map of an earlier generation.
//!
//! Releases and overrides become those of then. What moves counts as decided now, so that a later import of an older
//! file does not take it back. A channel that is closed on the way stays closed to imports, as one that the operator closes.

use std::collections::{BTreeMap, BTreeSet};

use schema::store::{Architecture, Channel, SnapId};

use super::history::{differences, name_of};
use super::overrides::snap_of;
use super::upkeep::{UpkeepError, Work};
use crate::catalog::Snap;
use crate::imports::rfc3339;
use crate::storage::records::{Origin, ReleaseKey, ReleaseRecord};

/// The releases of an earlier generation.
#[derive(Debug, Default)]
pub(crate) struct Then {
    /// The generation.
    pub(crate) generation: i64,
    /// Its releases.
    pub(crate) releases: Vec<ReleaseRecord>,
}

impl Work<'_> {
    /// Plans the way back, for one snap or for all.
    pub(super) fn back(&mut self, then: &Then, only: Option<&str>) -> Result<(), UpkeepError> {
        let only = only.map(|name| snap_of(self.catalog, name)).transpose()?;
        let mut maps: BTreeMap<&SnapId, Vec<&ReleaseRecord>> = BTreeMap::new();
        for row in &then.releases {
            maps.entry(&row.snap_id).or_default().push(row);
        }
        for snap in self.catalog.snaps() {
            maps.entry(&snap.id).or_default();
        }
        let mut gone = Vec::new();
        for (id, wanted) in maps.into_iter().filter(|(id, _)| only.is_none_or(|only| only.id == **id)) {
            match self.catalog.snap_by_id(id) {
                Some(snap) => self.back_of(snap, &wanted, &mut gone),
                None => {
                    let name = name_of(self.catalog, id);
                    let lost = wanted.iter().filter(|row| row.origin != Origin::Closed);
                    gone.extend(lost.map(|row| (name.clone(), row.revision)));
                }
            }
        }
        match gone.is_empty() {
            true => Ok(()),
            false => Err(UpkeepError::gone(then.generation, gone)),
        }
    }

    fn back_of(&mut self, snap: &Snap, wanted: &[&ReleaseRecord], gone: &mut Vec<(String, u32)>) {
        let held: Vec<&ReleaseRecord> =
            snap.imported.iter().chain(&snap.overrides).chain(&snap.closed).collect();
        let now: BTreeMap<ReleaseKey, u32> = held.iter().map(|row| (row.key(), row.revision)).collect();
        let (shut, released): (Vec<&ReleaseRecord>, Vec<_>) =
            wanted.iter().copied().partition(|row| row.origin == Origin::Closed);
        let mut after: Vec<ReleaseRecord> = Vec::with_capacity(released.len());
        for row in released {
            if now.get(&row.key()) != Some(&row.revision)
                && snap.revisions.get(&row.revision).is_none_or(|held| held.is_damaged())
            {
                gone.push((snap.name.clone(), row.revision));
            }
            after.push(ReleaseRecord { released_at: rfc3339(self.now), ..row.clone() });
        }
        let open: BTreeSet<Channel> = of(&after, Origin::Imported).map(|row| row.channel.clone()).collect();
        let closed = (snap.closed.iter().chain(of(held.iter().copied(), Origin::Imported)).chain(shut))
            .map(|row| &row.channel)
            .filter(|channel| !open.contains(channel))
            .collect::<BTreeSet<_>>();
        if let Some(revision) = snap.revisions.keys().next_back() {
            after.extend(closed.into_iter().map(|channel| ReleaseRecord {
                snap_id: snap.id.clone(),
                channel: channel.clone(),
                architecture: Architecture::all(),
                revision: *revision,
                released_at: rfc3339(self.now),
                origin: Origin::Closed,
            }));
        }
        let moves = differences(self.catalog, held.iter().copied(), &after);
        let stays: BTreeSet<ReleaseKey> = after.iter().map(ReleaseRecord::key).collect();
        self.change.releases_closed.extend(now.keys().filter(|key| !stays.contains(key)).cloned());
        self.change.releases.extend(after.into_iter().filter(|row| match row.origin {
            Origin::Closed => !now.contains_key(&row.key()),
            _ => now.get(&row.key()) != Some(&row.revision),
        }));
        self.report.steps.extend(moves.iter().map(ToString::to_string));
        self.report
            .moves
            .extend(moves.into_iter().map(|one| one.moved).filter(|one| one.moved.before != one.moved.after));
    }
}

fn of<'a>(
    rows: impl IntoIterator<Item = &'a ReleaseRecord>,
    origin: Origin,
) -> impl Iterator<Item = &'a ReleaseRecord> {
    rows.into_iter().filter(move |row| row.origin == origin)
}
