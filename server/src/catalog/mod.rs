//! Everything that devices may ask about, compiled once per import and never changed after.
//!
//! A request takes the current [`Catalog`] through an atomic pointer and asks it through a [`View`], which
//! carries the request's [`Scope`]: there is no way to look for a snap without saying who asks. Nothing
//! here waits, locks or reads the database.

mod assertions;
mod compile;
mod known;
mod refresh;
mod scope;
mod search;
mod sharing;
mod snaps;

pub(crate) use assertions::Assertions;
pub(crate) use compile::{CompileError, anchors};
pub(crate) use refresh::{Answer, Refusal};
pub(crate) use scope::{Principal, Scope, View};
pub(crate) use search::Query;
pub(crate) use sharing::{hands_out, shares};
pub(crate) use snaps::{Blob, Release, Revision, Snap};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use schema::assertion::{Anchors, AssertionType, Ref};
use schema::digest::Sha3_384;
use schema::store::DeviceId;

use crate::storage::records::{LoginRecord, StoreRecord};

/// One state of the store, whole.
pub(crate) struct Catalog {
    /// The database's count of changes that this was compiled from.
    pub(crate) generation: i64,
    /// What signatures end at.
    pub(crate) anchors: Anchors,
    /// Every assertion held.
    pub(crate) assertions: Assertions,
    /// `scheme://host[:port]`, the beginning of every link.
    pub(crate) base_url: String,
    /// Facts about the store itself, such as its registration.
    pub(crate) meta: BTreeMap<String, String>,
    snaps: Vec<Arc<Snap>>,
    by_id: HashMap<String, usize>,
    by_name: HashMap<String, Vec<usize>>,
    stores: BTreeMap<String, StoreRecord>,
    blocked: HashSet<DeviceId>,
    logins: BTreeMap<String, LoginRecord>,
    blobs: HashMap<Sha3_384, Arc<Blob>>,
}

impl Catalog {
    /// The catalog as `scope` may see it.
    pub(crate) fn view(&self, scope: Scope) -> View<'_> {
        View::new(self, scope)
    }

    /// The assertion stream that points devices here: the registered store with everything it depends on, each
    /// behind what it needs.
    pub(crate) fn registration(&self) -> Option<Vec<u8>> {
        let id = self.meta.get("internal.store.id")?;
        let closure = self.assertions.closure(Ref { kind: AssertionType::Store, key: vec![id.clone()] });
        let texts: Vec<&[u8]> = closure.iter().map(|assertion| assertion.bytes()).collect();
        Some(texts.join(&b'\n')).filter(|stream| !stream.is_empty())
    }

    /// Every snap, for the operator.
    pub(crate) fn snaps(&self) -> &[Arc<Snap>] {
        &self.snaps
    }

    /// A snap by its id, for the operator and for imports.
    pub(crate) fn snap_by_id(&self, id: &str) -> Option<&Arc<Snap>> {
        self.by_id.get(id).map(|at| &self.snaps[*at])
    }

    /// The stores whose metadata was imported, by id.
    pub(crate) fn stores(&self) -> &BTreeMap<String, StoreRecord> {
        &self.stores
    }

    /// Was a store of this brand imported?
    pub(crate) fn knows_brand(&self, brand: &str) -> bool {
        self.stores.values().any(|store| store.brand_id == brand)
    }

    /// Devices that are refused.
    pub(crate) fn blocked(&self) -> &HashSet<DeviceId> {
        &self.blocked
    }

    /// Service logins that were given out, by id.
    pub(crate) fn logins(&self) -> &BTreeMap<String, LoginRecord> {
        &self.logins
    }

    /// A picture of a snap; no other blob is found this way.
    pub(crate) fn icon(&self, digest: &Sha3_384, format: &str) -> Option<&Arc<Blob>> {
        let hex = digest.to_hex();
        let named = |snap: &Arc<Snap>| {
            let part = |name: &str| snap.record.text.get("icon")?.get(name)?.as_str();
            part("format") == Some(format) && part("sha3-384") == Some(hex.as_str())
        };
        self.snaps.iter().any(named).then(|| self.blobs.get(digest))?
    }

    /// The picture of a snap, where one was carried in.
    pub(crate) fn icon_of(&self, snap: &Snap) -> Option<&Arc<Blob>> {
        let digest = snap.record.text.get("icon")?.get("sha3-384")?.as_str()?;
        self.blobs.get(&Sha3_384::from_hex(digest).ok()?)
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
