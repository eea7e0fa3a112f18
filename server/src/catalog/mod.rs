//! Everything that devices may ask about, compiled once per change and then immutable.
//!
//! A request loads the current [`Catalog`] through an atomic pointer and queries it through a [`View`], which carries
//! the request's [`Scope`]: a snap cannot be looked up without saying who asks. Nothing here waits, locks or reads
//! the database.
//!
//! A change makes the next catalog from the last one ([`Catalog::advance`]): the maps are persistent, so both share
//! everything that did not change.

mod advance;
mod assertions;
mod cohorts;
mod compile;
mod hashed;
mod links;
mod resolve;
mod rollouts;
mod scope;
mod search;
mod shares;
mod sharing;
mod snaps;
mod stores;
mod texts;
mod trains;

pub(crate) use advance::anchors;
pub(crate) use assertions::{Assertions, Held};
pub(crate) use cohorts::KeptMap;
pub(crate) use compile::CompileError;
pub(crate) use resolve::{Ask, Layer, NotOffered, Offer, Step, Target, Unfit, unheard};
pub(crate) use rollouts::{Rollout, Who};
pub(crate) use scope::{NotAdmitted, Principal, Scope, Seen, View};
pub(crate) use search::Query;
pub(crate) use sharing::{Listed, hands_out, shares};
pub(crate) use snaps::{Blob, CatalogRevision, Release, Snap};
pub(crate) use trains::Departed;

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use schema::assertion::{Anchors, AssertionType, Ref};
use schema::digest::Sha3_384;
use schema::store::{DeviceId, SnapId, SnapName, StoreId};

use self::hashed::{HashedMap, HashedSet};
use self::rollouts::Rollouts;
use self::search::Index;
use self::sharing::Sharing;
use self::stores::Store;
use self::trains::Train;
use crate::storage::Position;
use crate::storage::blobs::block_checks::BlockChecks;
use crate::storage::policies::TakenRecord;
use crate::storage::records::{LoginRecord, StoreRecord};

/// One complete state of the store.
#[derive(Clone)]
pub(crate) struct Catalog {
    /// The database's position when this was compiled.
    pub(crate) position: Position,
    /// The trust anchors.
    pub(crate) anchors: Arc<Anchors>,
    /// The anchors' assertions, which devices may request like any other.
    roots: Assertions,
    /// Every assertion held.
    pub(crate) assertions: Assertions,
    /// `scheme://host[:port]`, the base of every link.
    pub(crate) base_url: Arc<str>,
    /// Facts about the store itself, such as its registration.
    pub(crate) meta: RedBlackTreeMapSync<String, String>,
    by_id: HashedMap<SnapId, Arc<Snap>>,
    /// The snaps of each name, by their ids.
    by_name: RedBlackTreeMapSync<SnapName, Arc<[Arc<Snap>]>>,
    /// The snaps as searches find them.
    search: Index,
    /// Stores whose metadata was imported, by their ids.
    pub(crate) stores: RedBlackTreeMapSync<StoreId, Arc<Store>>,
    sharing: Arc<Sharing>,
    blocked: HashedSet<DeviceId>,
    logins: RedBlackTreeMapSync<String, LoginRecord>,
    taken: HashedMap<DeviceId, TakenRecord>,
    rollouts: Rollouts,
    /// By set, `ACCOUNT/NAME`.
    trains: RedBlackTreeMapSync<String, Arc<Train>>,
    blobs: HashedMap<Sha3_384, Arc<Blob>>,
    /// The snaps that use a file as their icon.
    icons: HashedMap<Sha3_384, Vec<SnapId>>,
    /// The snaps that must approve revisions of a snap, by its id.
    gates: HashedMap<String, Vec<SnapId>>,
    /// The `publisher` object of every account that publishes a snap, as JSON.
    publishers: HashedMap<String, Arc<str>>,
}

impl Catalog {
    /// Keeps devices from what was set aside, and from nothing else.
    pub(crate) fn mark_damaged(&self, damaged: &[Sha3_384]) {
        // Nearly always nothing is damaged, and a change elsewhere must not cost a look at every blob.
        if BlockChecks::is_any_damaged() {
            let whole = self.blobs().filter(|blob| !damaged.contains(&blob.digest));
            whole.for_each(|blob| blob.checks.look_anew());
        }
        for blob in damaged.iter().filter_map(|digest| self.blob(digest)) {
            blob.checks.mark_damaged();
        }
    }

    /// The catalog as `scope` may see it.
    pub(crate) fn view(&self, scope: Scope) -> View<'_> {
        View::new(self, scope)
    }

    /// The assertion stream that points devices here: the registered store, each assertion after its prerequisites.
    pub(crate) fn registration(&self) -> Option<Vec<u8>> {
        let id = self.meta.get("internal.store.id")?;
        let closure = self.assertions.closure(Ref { kind: AssertionType::Store, key: vec![id.clone()] });
        let texts: Vec<&[u8]> = closure.iter().map(|assertion| assertion.bytes()).collect();
        Some(texts.join(&b'\n')).filter(|stream| !stream.is_empty())
    }

    /// Every snap by name, for the operator.
    pub(crate) fn snaps(&self) -> impl Iterator<Item = &Arc<Snap>> {
        self.by_name.values().flat_map(|same| same.iter())
    }

    /// How many snaps there are.
    pub(crate) fn count_snaps(&self) -> usize {
        self.by_id.size()
    }

    /// A snap by its id, for the operator and for imports.
    pub(crate) fn snap_by_id(&self, id: &str) -> Option<&Arc<Snap>> {
        self.by_id.get(id)
    }

    /// The snaps of a name, for the operator and for imports: several brands may use it.
    pub(crate) fn snaps_named(&self, name: &str) -> &[Arc<Snap>] {
        self.by_name.get(name).map(|same| &**same).unwrap_or_default()
    }

    /// The name of the snap of this id, if it is held or a store's metadata lists it.
    pub(crate) fn name_of(&self, id: &str) -> Option<&str> {
        let listed = || self.stores.values().find_map(|store| Some(&*store.grants_of(id).first()?.name));
        self.snap_by_id(id).map(|snap| &*snap.name).or_else(listed)
    }

    /// The stores whose metadata was imported.
    pub(crate) fn stores(&self) -> impl Iterator<Item = &StoreRecord> {
        self.stores.values().map(|store| &*store.record)
    }

    /// The store of this id, if its metadata was imported.
    pub(crate) fn store(&self, id: &str) -> Option<&StoreRecord> {
        self.stores.get(id).map(|store| &*store.record)
    }

    /// Whether the metadata of this brand's store was imported.
    pub(crate) fn knows_store(&self, brand: &str, id: &str) -> bool {
        self.store(id).is_some_and(|store| store.brand_id == brand)
    }

    /// The stores that grant a snap.
    pub(crate) fn granting<'a>(&'a self, snap: &'a Snap) -> impl Iterator<Item = &'a StoreRecord> {
        self.stores.values().filter(move |store| self.hands_out(store, snap)).map(|store| &*store.record)
    }

    /// Whether a store lists a snap, and this counts.
    fn hands_out(&self, store: &Store, snap: &Snap) -> bool {
        let shares = |home: &str| self.sharing.shares(home, &store.record.store_id);
        let is_held = |id: &str| self.stores.contains_key(id);
        let mut grants = store.grants_of(&snap.id).iter();
        grants.any(|grant| hands_out(&store.record, grant, snap.into(), is_held, shares))
    }

    /// Whether a store of this brand was imported.
    pub(crate) fn knows_brand(&self, brand: &str) -> bool {
        self.sharing.knows_brand(brand)
    }

    /// Blocked devices.
    pub(crate) fn blocked(&self) -> &HashedSet<DeviceId> {
        &self.blocked
    }

    /// Whether the operator took the serial from a device that had it.
    pub(crate) fn taken(&self, device: &DeviceId) -> Option<&TakenRecord> {
        // Every request of a device asks, and most often nothing was taken.
        if self.taken.is_empty() { None } else { self.taken.get(device) }
    }

    /// Issued service logins, by id.
    pub(crate) fn logins(&self) -> &RedBlackTreeMapSync<String, LoginRecord> {
        &self.logins
    }

    /// A snap's icon; no other blob can be found this way.
    pub(crate) fn icon(&self, digest: &Sha3_384, format: &str) -> Option<&Arc<Blob>> {
        let has_format =
            |id: &SnapId| self.snap_by_id(id)?.icon.as_ref().filter(|icon| icon.format == format).map(drop);
        self.icons.get(digest)?.iter().find_map(has_format)?;
        self.blobs.get(digest)
    }

    /// The icon of a snap, if one was imported.
    pub(crate) fn icon_of(&self, snap: &Snap) -> Option<&Arc<Blob>> {
        self.blobs.get(&snap.icon.as_ref()?.digest)
    }

    /// Writes the members of the `snap` object of info, find and refresh, without braces.
    pub(crate) fn push_about(&self, snap: &Snap, out: &mut String) {
        let publisher = snap.publisher_id.as_ref().and_then(|id| self.publishers.get(id));
        out.push_str(&snap.about);
        out.push_str(",\"publisher\":");
        out.push_str(publisher.map_or("null", |publisher| publisher));
        out.push_str(",\"media\":[");
        if let Some(icon) = snap.icon.as_ref().filter(|icon| self.blobs.contains_key(&icon.digest)) {
            out.push_str(&icon.media);
        }
        out.push(']');
    }

    /// All blobs held.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Arc<Blob>> {
        self.blobs.values()
    }

    /// The blobs held, by digest.
    pub(crate) fn blob(&self, digest: &Sha3_384) -> Option<&Arc<Blob>> {
        self.blobs.get(digest)
    }
}
