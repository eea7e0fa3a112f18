//! The caller of a request, and what it may see.
//!
//! Only this file creates a [`Scope`], from a verified session or login and imported metadata. Nothing that a request
//! claims widens it.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use schema::assertion::{Assertion, AssertionType, Ref};
use schema::service_login::{Acl, ServiceLogin};
use schema::session::Session;
use schema::store::{DeviceId, StoreId};
use smol_str::SmolStr;

use super::assertions::Readers;
use super::stores::Store;
use super::{Catalog, CatalogRevision, Held, Snap, Target};
use crate::storage::records::StoreRecord;

/// Snaps that every store includes: snapd and the boot bases, by their well-known ids.
const INCLUDED_EVERYWHERE: [&str; 6] = [
    "PMrrV4ml8uWuEUDBT8dSGnKUYbevVhc4",
    "99T7MUlRhtI3U0QFgl5mXXESAiSwt776",
    "CSO04Jhav2yK0uz97cr0ipQRyqg0qQL6",
    "DLqre5XGLbDqg9jPtiAhRRjDuPVa5X1q",
    "amcUKQILKXHHTlmSa7NMdnXSx02dNeeT",
    "dwTAh7MZZ01zyriOZErqd1JynQLiOGvM",
];

/// What a request may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    reach: Reach,
    login: Option<Login>,
}

/// What the holder of a service login may read about the store itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Login {
    store: StoreId,
    brand: SmolStr,
    admin: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reach {
    /// The global store's public snaps.
    Global,
    /// What the brand's store grants.
    Store { store: StoreId, brand: SmolStr },
    /// A device of a known brand whose model names no store: the global store, and its brand's documents.
    Brand { brand: SmolStr },
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub(crate) enum Principal {
    /// No device session was presented.
    Anonymous,
    /// A device with a session from this store.
    Device(Arc<Session>),
    /// The holder of a valid login from this store.
    Service(Arc<ServiceLogin>),
}

/// Why a device that has a session is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    /// The operator blocked it.
    #[error("this device is blocked in this store")]
    Blocked,
    /// The session was issued under other circumstances: the device must get a new one.
    #[error("the device's brand is known by now: get a new session")]
    Stale,
    /// The serial was taken from a device since: whichever has it now gets a new session.
    #[error("the serial was issued anew since: get a new session")]
    Reissued,
}

impl NotAdmitted {
    /// A stable word for programs.
    pub(crate) fn code(self) -> &'static str {
        match self {
            NotAdmitted::Blocked => "device-blocked",
            NotAdmitted::Stale | NotAdmitted::Reissued => "session-stale",
        }
    }
}

/// Why a scope may know of a snap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen<'a> {
    /// The global store shows it to those without a brand store.
    Public,
    /// This store, the scope's own or the one it builds on, grants it.
    Granted(&'a str),
    /// Every store includes it.
    Included,
}

impl Scope {
    /// The scope of requests without a session.
    pub(crate) fn anonymous() -> Self {
        Self { reach: Reach::Global, login: None }
    }

    /// The scope of a caller that is answered at all.
    pub(crate) fn admit(principal: &Principal, catalog: &Catalog) -> Result<Self, NotAdmitted> {
        match principal.device().is_some_and(|device| catalog.blocked().contains(device)) {
            true => Err(NotAdmitted::Blocked),
            false => Self::of(principal, catalog),
        }
    }

    /// The scope of a session's device or a login's holder. A store's metadata counts only for models of that store's
    /// brand.
    fn of(principal: &Principal, catalog: &Catalog) -> Result<Self, NotAdmitted> {
        let session = match principal {
            Principal::Anonymous => return Ok(Self::anonymous()),
            Principal::Service(login) => return Ok(Self::of_login(login, catalog)),
            Principal::Device(session) => session,
        };
        let brand = &session.device.brand;
        if !catalog.knows_brand(brand) {
            return Ok(Self::anonymous());
        }
        if !session.verified {
            // The brand was unknown when the session began, so model and serial were not verified.
            return Err(NotAdmitted::Stale);
        }
        if catalog.taken(&session.device).is_some_and(|taken| session.issued <= taken.at) {
            return Err(NotAdmitted::Reissued);
        }
        let reach = match &session.store {
            None => Reach::Brand { brand: brand.into() },
            Some(store) if store.is_global() => Reach::Brand { brand: brand.into() },
            Some(store) => Reach::Store { store: store.clone(), brand: brand.into() },
        };
        Ok(Self { reach, login: None })
    }

    /// A login sees what its store's devices see. Without `package_access`, or a store, it sees what everybody sees.
    fn of_login(login: &ServiceLogin, catalog: &Catalog) -> Self {
        let store = login.store.as_ref().and_then(|id| Some((id, catalog.store(id.as_str())?)));
        let Some((id, store)) = store else { return Self::anonymous() };
        let (id, brand) = (id.clone(), SmolStr::from(&store.brand_id));
        let reach = match login.acls.contains(&Acl::PackageAccess) {
            true => Reach::Store { store: id.clone(), brand: brand.clone() },
            false => Reach::Global,
        };
        let admin = login.acls.contains(&Acl::StoreAdmin);
        Self { reach, login: Some(Login { store: id, brand, admin }) }
    }

    /// The brand whose documents it may read.
    pub(crate) fn brand(&self) -> Option<&str> {
        match &self.reach {
            Reach::Global => None,
            Reach::Store { brand, .. } | Reach::Brand { brand } => Some(brand),
        }
    }

    /// The store whose grants it sees.
    pub(crate) fn store(&self) -> Option<&str> {
        match &self.reach {
            Reach::Store { store, .. } => Some(store.as_str()),
            Reach::Global | Reach::Brand { .. } => None,
        }
    }
}

impl Principal {
    /// The session, if it is a device.
    pub(crate) fn session(&self) -> Option<&Session> {
        match self {
            Principal::Anonymous | Principal::Service(_) => None,
            Principal::Device(session) => Some(session),
        }
    }

    /// The device, if it is one.
    pub(crate) fn device(&self) -> Option<&DeviceId> {
        self.session().map(|session| &session.device)
    }
}

impl Catalog {
    /// The stores whose metadata was imported, each with what its devices see.
    pub(crate) fn views_of_stores(&self) -> impl Iterator<Item = (&StoreRecord, View<'_>)> {
        self.stores().map(|store| {
            let (id, brand) = (store.store_id.clone(), SmolStr::from(&store.brand_id));
            let scope = Scope { reach: Reach::Store { store: id, brand }, login: None };
            (store, self.view(scope))
        })
    }
}

/// The catalog as one scope sees it: the only way to query it for a device.
pub(crate) struct View<'a> {
    pub(super) catalog: &'a Catalog,
    scope: Scope,
    /// The scope's store and the one that it builds on, as far as they are the brand's.
    stores: [Option<&'a Store>; 2],
}

impl<'a> View<'a> {
    pub(super) fn new(catalog: &'a Catalog, scope: Scope) -> Self {
        let stores = match &scope.reach {
            Reach::Global | Reach::Brand { .. } => [None; 2],
            Reach::Store { store, brand } => {
                let held = |id: &str| catalog.stores.get(id).map(Arc::as_ref);
                let own = held(store.as_str());
                let parent = own.and_then(|own| held(own.record.parent.as_deref()?));
                [own, parent].map(|store| store.filter(|store| store.record.brand_id == brand.as_str()))
            }
        };
        Self { catalog, scope, stores }
    }

    /// Whether this scope may know of the snap.
    fn sees(&self, snap: &Snap) -> bool {
        self.seen(snap).is_some()
    }

    /// Why this scope may know of the snap, if it may.
    pub(crate) fn seen(&self, snap: &Snap) -> Option<Seen<'a>> {
        match &self.scope.reach {
            Reach::Global | Reach::Brand { .. } => snap.is_public().then_some(Seen::Public),
            Reach::Store { .. } => {
                let granting = self.stores.iter().flatten().find(|store| self.catalog.hands_out(store, snap));
                let included = || snap.is_public() && INCLUDED_EVERYWHERE.contains(&snap.id.as_str());
                let granted = granting.map(|store| Seen::Granted(&store.record.store_id));
                granted.or_else(|| included().then_some(Seen::Included))
            }
        }
    }

    /// The base that a revision needs, if this scope does not see it.
    pub(crate) fn unseen_base<'r>(&self, revision: &'r CatalogRevision) -> Option<&'r str> {
        revision.base.as_deref().filter(|base| *base != "none" && self.snap_named(base).is_none())
    }

    /// The ids of all snaps that this scope may see and some that it may not, if lists name them and they are fewer than this.
    pub(super) fn listed(&self, fewer_than: usize) -> Option<Vec<&'a str>> {
        self.scope.store()?;
        let lists = || self.stores.iter().flatten().map(|store| &store.record.grants);
        if lists().map(Vec::len).sum::<usize>() + INCLUDED_EVERYWHERE.len() >= fewer_than {
            return None;
        }
        let granted = lists().flatten().map(|grant| grant.snap_id.as_str());
        Some(granted.chain(INCLUDED_EVERYWHERE).collect())
    }

    /// Every visible snap, by name.
    pub(crate) fn snaps(&self) -> impl Iterator<Item = &'a Snap> {
        self.catalog.snaps().map(Arc::as_ref).filter(|snap| self.sees(snap))
    }

    /// The snap of this id.
    pub(crate) fn snap(&self, id: &str) -> Option<&'a Snap> {
        self.catalog.snap_by_id(id).map(Arc::as_ref).filter(|snap| self.sees(snap))
    }

    /// The snap of this name.
    pub(crate) fn snap_named(&self, name: &str) -> Option<&'a Snap> {
        self.catalog.snaps_named(name).iter().map(Arc::as_ref).find(|snap| self.sees(snap))
    }

    /// The store that the caller's login is for.
    pub(crate) fn own_store(&self) -> Option<&'a StoreRecord> {
        self.catalog.store(self.scope.login.as_ref()?.store.as_str())
    }

    /// The metadata of a store that the caller's login administers: its own, or the one it builds on.
    pub(crate) fn administered(&self, id: &str) -> Option<&'a StoreRecord> {
        let login = self.scope.login.as_ref().filter(|login| login.admin)?;
        let own = self.own_store()?;
        let mine = own.store_id == id || own.parent.as_deref() == Some(id);
        self.catalog.store(id).filter(|store| mine && store.brand_id == login.brand.as_str())
    }

    /// The keys of the login's brand.
    pub(crate) fn own_keys(&self) -> &'a [Arc<Assertion>] {
        self.scope.login.as_ref().map_or(&[], |login| self.catalog.assertions.keys_held(&login.brand))
    }

    /// The newest revision of an assertion whose format is at most `max_format`.
    pub(crate) fn assertion(&self, wanted: &Ref, max_format: u32) -> Option<&'a Held> {
        let built_in = || self.catalog.roots.newest(wanted, max_format);
        let found = self.catalog.assertions.newest(wanted, max_format).or_else(built_in)?;
        Some(found).filter(|found| self.may_read(found))
    }

    /// The latest point of a sequence, at least `from`, whose format is at most `max_format`. Of a validation set it is the
    /// latest one that a train brings to the target, or the one that it has: snapd never takes a lower one.
    pub(crate) fn latest_in_sequence(
        &self,
        target: &Target<'_>,
        kind: AssertionType,
        sequence_key: &[String],
        from: u32,
        max_format: u32,
    ) -> Option<&'a Held> {
        let highest = match kind {
            AssertionType::ValidationSet => self.catalog.highest_for(sequence_key, target),
            _ => u32::MAX,
        };
        let highest = if from > 1 { highest.max(from) } else { highest };
        let found =
            self.catalog.assertions.latest_in_sequence(kind, sequence_key, from..=highest, max_format)?;
        Some(found).filter(|found| self.may_read(found))
    }

    /// An assertion about a snap is visible to those who see the snap; one about a brand whose store is here to that
    /// brand's devices; all others, keys and accounts first, to everybody.
    fn may_read(&self, assertion: &Held) -> bool {
        let of_snap = |id: &str| self.snap(id).is_some();
        match assertion.readers() {
            Readers::All => true,
            Readers::OfSnap(id) => of_snap(id),
            Readers::OfSnaps(id, approved) => of_snap(id) && of_snap(approved),
            Readers::OfStoreOrAll(brand) => {
                !self.catalog.knows_brand(brand) || self.scope.brand() == Some(brand)
            }
            Readers::OfBrand(brand) => self.scope.brand() == Some(brand),
            Readers::Nobody => false,
        }
    }

    /// Writes the members of the `snap` object of info, find and refresh, without braces.
    pub(crate) fn push_about(&self, snap: &Snap, out: &mut String) {
        self.catalog.push_about(snap, out);
    }
}
