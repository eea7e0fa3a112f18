//! Builds the next catalog from the last one, and the first one from everything.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use schema::assertion::{Anchors, AssertionType};
use schema::store::{DeviceId, SERIES, SnapId};

use super::compile::SnapRows;
use super::hashed::HashedMap;
use super::sharing::Sharing;
use super::{Assertions, Blob, Catalog, CompileError, Held, Snap, shares};
use crate::storage::blobs::block_checks::BlockChecks;
use crate::storage::policies::TakenRecord;
use crate::storage::records::{BlobRecord, LoginRecord, Snapshot};
use crate::storage::{Increment, Touched};

/// The trust anchors: built-in and added ones.
pub(crate) fn anchors(snapshot: &Snapshot) -> Result<Anchors, CompileError> {
    snapshot.anchors.iter().try_fold(Anchors::production(), |anchors, (fingerprint, text)| {
        let added = anchors.with_stream(text.as_bytes());
        added.map_err(|error| CompileError::Anchor(fingerprint.clone(), error))
    })
}

/// The device that a serial was taken from, if a fact says so.
fn taken_from(fact: &str) -> Option<DeviceId> {
    fact.strip_prefix(TakenRecord::PREFIX)?.parse().ok()
}

impl Catalog {
    /// Compiles a catalog from everything. Links begin with `base_url`. Known facts about blobs that still exist,
    /// such as checked blocks and found damage, are taken from `before`.
    pub(crate) fn compile(
        snapshot: Snapshot,
        base_url: &str,
        before: Option<&Catalog>,
    ) -> Result<Self, CompileError> {
        let anchors = anchors(&snapshot)?;
        let mut roots = Assertions::default();
        anchors.iter().for_each(|root| roots.add(root.clone()));
        let mut next = Self {
            position: snapshot.position,
            anchors: Arc::new(anchors),
            roots,
            assertions: Assertions::default(),
            base_url: base_url.into(),
            meta: Default::default(),
            by_id: Default::default(),
            by_name: Default::default(),
            search: Default::default(),
            stores: Default::default(),
            sharing: Default::default(),
            blocked: Default::default(),
            logins: Default::default(),
            taken: Default::default(),
            rollouts: Default::default(),
            trains: Default::default(),
            blobs: Default::default(),
            icons: Default::default(),
            gates: Default::default(),
            publishers: Default::default(),
        };
        next.take(&Touched::default(), snapshot, before)?;
        Ok(next)
    }

    /// The catalog after an increment; this one stays unchanged. `None` if everything must be reread, because trust
    /// anchors affect every answer.
    pub(crate) fn advance(&self, increment: Increment) -> Result<Option<Self>, CompileError> {
        if increment.touched.anchors {
            return Ok(None);
        }
        let mut next = self.clone();
        next.take(&increment.touched, increment.rows, Some(self))?;
        Ok(Some(next))
    }

    /// Drops touched subjects and adds their rows again.
    fn take(
        &mut self,
        touched: &Touched,
        rows: Snapshot,
        before: Option<&Catalog>,
    ) -> Result<(), CompileError> {
        self.position = rows.position;
        for name in &touched.facts {
            self.meta.remove_mut(name);
            if let Some(login) = name.strip_prefix(LoginRecord::PREFIX) {
                self.logins.remove_mut(login);
            }
            if let Some(device) = taken_from(name) {
                self.taken.remove_mut(&device);
            }
        }
        self.take_tags(touched, &rows)?;
        for (name, value) in rows.meta {
            let unreadable =
                |_| CompileError::Unreadable { what: "value", whose: format!("the fact {name}") };
            if let Some(device) = taken_from(&name) {
                self.taken.insert_mut(device, serde_json::from_str(&value).map_err(unreadable)?);
            }
            if let Some(id) = name.strip_prefix(LoginRecord::PREFIX) {
                self.logins.insert_mut(id.to_owned(), serde_json::from_str(&value).map_err(unreadable)?);
            }
            self.meta.insert_mut(name, value);
        }
        for device in &touched.devices {
            self.blocked.remove_mut(device);
        }
        for device in rows.blocked {
            self.blocked.insert_mut(device);
        }
        for id in &touched.stores {
            self.stores.remove_mut(id.as_str());
        }
        let stores_changed = !touched.stores.is_empty() || !rows.stores.is_empty();
        for store in rows.stores {
            self.stores.insert_mut(store.store_id.clone(), Arc::new(store.into()));
        }
        if stores_changed {
            self.sharing = Arc::new(Sharing::among(self.stores()));
        }
        for digest in &touched.blobs {
            self.blobs.remove_mut(digest);
        }
        for record in &rows.blobs {
            self.blobs.insert_mut(record.digest, blob(record, before)?);
        }

        for (kind, key) in &touched.assertions {
            if let Ok(kind) = kind.parse() {
                self.assertions.forget(kind, key);
            }
        }
        // What takes time is shared among the processors: at a start everything is decoded and compiled.
        let mut parts: HashMap<SnapId, SnapRows> = HashMap::new();
        let held = shares::each(rows.assertions, |record| {
            let assertion = record.decode()?;
            let needed_again = assertion.kind() == AssertionType::SnapDeclaration;
            Ok((assertion.reference(), Held::from(Arc::clone(&assertion)), needed_again.then_some(assertion)))
        });
        for held in held {
            let (at, held, declaration) = held.map_err(CompileError::Assertion)?;
            self.assertions.hold(&at, held);
            if let Some(declaration) = declaration
                && let Some(Ok(id)) = declaration.text("snap-id").map(str::parse::<SnapId>)
            {
                parts.entry(id).or_default().declared_by(declaration);
            }
        }
        for row in rows.revisions {
            parts.entry(row.snap_id.clone()).or_default().revisions.push(row);
        }
        for row in rows.components {
            parts.entry(row.snap_id.clone()).or_default().components.push(row);
        }
        for row in rows.pairs {
            parts.entry(row.snap_id.clone()).or_default().pairs.push(row);
        }
        for row in rows.releases {
            parts.entry(row.snap_id.clone()).or_default().releases.push(row);
        }
        for id in &touched.snaps {
            self.drop_snap(id);
        }
        let snaps = rows.snaps.into_iter().map(|record| {
            let parts = parts.remove(&record.snap_id).unwrap_or_default();
            (record, parts)
        });
        for snap in shares::each(snaps.collect(), |(record, parts)| self.compile_snap(record, parts)) {
            self.put_snap(snap?);
        }
        self.follow_documents(touched);
        self.take_rollouts(touched);
        self.take_trains(touched)?;
        Ok(())
    }

    /// Applies changed assertions to snaps whose rows did not change.
    fn follow_documents(&mut self, touched: &Touched) {
        for (kind, key) in &touched.assertions {
            match kind.parse() {
                Ok(AssertionType::SnapDeclaration) => {
                    let id = key.strip_prefix(SERIES).and_then(|rest| rest.strip_prefix('/'));
                    let Some(snap) = id.and_then(|id| self.by_id.get(id)) else { continue };
                    let mut snap = Snap::clone(snap);
                    self.declare(&mut snap, None);
                    self.drop_snap(&snap.id.clone());
                    self.put_snap(snap);
                }
                Ok(AssertionType::Account) if self.publishers.contains_key(key) => {
                    self.publishers.insert_mut(key.clone(), self.publisher(key).into());
                }
                _ => {}
            }
        }
    }

    fn drop_snap(&mut self, id: &str) {
        let Some(snap) = self.by_id.get(id).cloned() else { return };
        self.by_id.remove_mut(id);
        self.search.remove(&snap);
        let left: Vec<_> =
            self.snaps_named(&snap.name).iter().filter(|same| same.id != id).cloned().collect();
        match left.is_empty() {
            true => drop(self.by_name.remove_mut(&snap.name)),
            false => self.by_name.insert_mut(snap.name.clone(), left.into()),
        }
        if let Some(icon) = &snap.icon {
            leave(&mut self.icons, &icon.digest, id);
        }
        for gated in &snap.gates {
            leave(&mut self.gates, gated, id);
        }
    }

    fn put_snap(&mut self, snap: Snap) {
        if let Some(id) = &snap.publisher_id
            && !self.publishers.contains_key(id)
        {
            self.publishers.insert_mut(id.clone(), self.publisher(id).into());
        }
        if let Some(icon) = &snap.icon {
            join(&mut self.icons, &icon.digest, &snap.id);
        }
        for gated in &snap.gates {
            join(&mut self.gates, gated, &snap.id);
        }
        let snap = Arc::new(snap);
        let mut same = self.snaps_named(&snap.name).to_vec();
        same.push(snap.clone());
        same.sort_by(|one, other| one.id.cmp(&other.id));
        self.by_name.insert_mut(snap.name.clone(), same.into());
        self.search.put(Arc::clone(&snap));
        self.by_id.insert_mut(snap.id.clone(), snap);
    }
}

/// Adds a snap to those that are listed under a key, by their ids.
fn join<K: Clone + Eq + Hash>(lists: &mut HashedMap<K, Vec<SnapId>>, key: &K, id: &SnapId) {
    let mut list = lists.get(key).cloned().unwrap_or_default();
    if let Err(at) = list.binary_search(id) {
        list.insert(at, id.clone());
        lists.insert_mut(key.clone(), list);
    }
}

/// Removes a snap from those that are listed under a key.
fn leave<K: Clone + Eq + Hash>(lists: &mut HashedMap<K, Vec<SnapId>>, key: &K, id: &str) {
    let left = lists.get(key).map(|list| list.iter().filter(|one| **one != *id).cloned().collect());
    match left {
        None => {}
        Some(left) if Vec::is_empty(&left) => drop(lists.remove_mut(key)),
        Some(left) => lists.insert_mut(key.clone(), left),
    }
}

fn blob(record: &BlobRecord, before: Option<&Catalog>) -> Result<Arc<Blob>, CompileError> {
    if let Some(known) = before.and_then(|catalog| catalog.blob(&record.digest)) {
        return Ok(known.clone());
    }
    let unreadable =
        || CompileError::Unreadable { what: "blocks", whose: format!("blob {}", record.digest.to_hex()) };
    let checks = BlockChecks::new(&record.blocks, record.size).ok_or_else(unreadable)?;
    Ok(Arc::new(Blob {
        digest: record.digest,
        size: record.size,
        etag: format!("\"{}\"", record.digest.to_hex()),
        checks: Arc::new(checks),
    }))
}
