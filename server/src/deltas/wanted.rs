//! Which deltas somebody could use.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::Pair;
use crate::catalog::{Catalog, CatalogRevision, Snap};

/// A delta that somebody could use.
pub(crate) struct Wanted {
    /// The snap.
    pub(crate) snap: Arc<Snap>,
    /// What a device has.
    pub(crate) source: Arc<CatalogRevision>,
    /// What it gets.
    pub(crate) target: Arc<CatalogRevision>,
}

impl Wanted {
    /// The delta between two revisions of a snap, if both are held and differ.
    pub(crate) fn of(snap: &Arc<Snap>, source: u32, target: u32) -> Option<Self> {
        let (source, target) = (snap.revisions.get(&source)?, snap.revisions.get(&target)?);
        let differ = source.blob.digest != target.blob.digest;
        differ.then(|| Self {
            snap: Arc::clone(snap),
            source: Arc::clone(source),
            target: Arc::clone(target),
        })
    }

    /// Its name among the deltas.
    pub(crate) fn pair(&self) -> Pair {
        (self.source.blob.digest, self.target.blob.digest)
    }
}

/// All of them, most wanted first: what operators asked for, what devices will download (a snap's id, the revision that they run and the
/// one that they get), and the step to each release from the revision before it.
pub(crate) fn wanted<'a>(
    catalog: &Catalog,
    asked: &BTreeSet<Pair>,
    updates: impl IntoIterator<Item = (&'a str, u32, u32)>,
) -> Vec<Wanted> {
    let number = |snap: &Snap, digest| {
        snap.revisions
            .values()
            .find(|revision| revision.blob.digest == digest)
            .map(|revision| revision.number)
    };
    let asked = asked.iter().flat_map(|pair| {
        let of = move |snap: &Arc<Snap>| Wanted::of(snap, number(snap, pair.0)?, number(snap, pair.1)?);
        catalog.snaps().filter_map(of)
    });
    let updates =
        updates.into_iter().filter_map(|(id, from, to)| Wanted::of(catalog.snap_by_id(id)?, from, to));
    let steps = catalog.snaps().flat_map(|snap| {
        let targets: BTreeSet<u32> = snap.releases.iter().map(|release| release.revision).collect();
        targets.into_iter().rev().filter_map(|target| Wanted::of(snap, before(snap, target)?, target))
    });
    let mut seen = HashSet::new();
    let all = asked.chain(updates).chain(steps);
    all.filter(|one| !one.source.is_damaged() && !one.target.is_damaged() && seen.insert(one.pair()))
        .collect()
}

/// The revision before another one that some device could run as well.
fn before(snap: &Snap, number: u32) -> Option<u32> {
    let own = &snap.revisions.get(&number)?.architectures;
    let below = snap.revisions.range(..number).rev();
    let shares = |older: &CatalogRevision| older.architectures.iter().any(|one| own.contains(one));
    below.into_iter().find(|(_, older)| shares(older)).map(|(number, _)| *number)
}
