//! The contents of the store: snaps, stores, keys, trust anchors. Answered from the catalog.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use schema::api::admin::{
    AccountKey, AccountKeys, ListedRevision, Snap, Snaps, Store, Stores, TrustAnchor, TrustAnchors,
};
use schema::assertion::{Anchors, AssertionType, Details};
use schema::store::StoreId;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Admin;
use crate::catalog::Catalog;
use crate::clock;
use crate::plans::overrides;

/// Answers `ListSnaps`.
pub(super) async fn snaps(State(admin): State<Admin>) -> Json<Snaps> {
    let catalog = admin.store.catalog();
    Json(Snaps { snaps: catalog.snaps().map(|snap| describe(snap, &catalog)).collect() })
}

fn describe(snap: &crate::catalog::Snap, catalog: &Catalog) -> Snap {
    let granting = catalog.granting(snap).map(|store| &store.store_id);
    let stores: BTreeSet<&StoreId> = snap.stores.iter().chain(granting).collect();
    let revisions = snap.revisions.values().map(|revision| {
        let here = snap.releases.iter().filter(|release| release.revision == revision.number);
        let channels: BTreeSet<String> = here.map(|release| release.channel.to_string()).collect();
        ListedRevision {
            revision: revision.number,
            version: revision.version.clone(),
            architectures: revision.architectures.iter().map(ToString::to_string).collect(),
            size: revision.blob.size,
            channels: channels.into_iter().collect(),
        }
    });
    Snap {
        name: snap.name.to_string(),
        snap_id: snap.id.to_string(),
        stores: stores.into_iter().map(ToString::to_string).collect(),
        revisions: revisions.collect(),
        closed: snap.closed.iter().map(overrides::written).collect(),
    }
}

/// Answers `ListStores`.
pub(super) async fn stores(State(admin): State<Admin>) -> Json<Stores> {
    Json(Stores { stores: stores_of(&admin.store.catalog()) })
}

pub(super) fn stores_of(catalog: &Catalog) -> Vec<Store> {
    let describe = |store: &crate::storage::records::StoreRecord| {
        let mut snaps: Vec<String> = store.grants.iter().map(|grant| grant.name.to_string()).collect();
        snaps.sort();
        let lacking = store.grants.iter().filter(|grant| catalog.snap_by_id(&grant.snap_id).is_none());
        let mut missing: Vec<String> = lacking.map(|grant| grant.name.to_string()).collect();
        missing.sort();
        Store {
            id: store.store_id.to_string(),
            name: store.name.clone(),
            brand_id: store.brand_id.clone(),
            parent: store.parent.as_ref().map(ToString::to_string),
            snaps,
            missing,
        }
    };
    catalog.stores().map(describe).collect()
}

/// Answers `ListAccountKeys`.
pub(super) async fn account_keys(State(admin): State<Admin>) -> Json<AccountKeys> {
    Json(AccountKeys { account_keys: keys_of(&admin.store.catalog()) })
}

pub(super) fn keys_of(catalog: &Catalog) -> Vec<AccountKey> {
    let now = clock::now();
    let held = catalog.assertions.of_kind(AssertionType::AccountKey);
    let mut keys: Vec<AccountKey> = held
        .filter_map(|assertion| match assertion.details() {
            Details::AccountKey(key) => Some(AccountKey {
                public_key_sha3_384: key.public_key.id().to_owned(),
                account_id: key.account_id.clone(),
                name: key.name.clone(),
                since: written(key.since),
                until: key.until.map(written),
                state: state(key.since, key.until, now).to_owned(),
            }),
            _ => None,
        })
        .collect();
    let order =
        |key: &AccountKey| (key.account_id.clone(), key.name.clone(), key.public_key_sha3_384.clone());
    keys.sort_by_key(order);
    keys
}

fn state(since: OffsetDateTime, until: Option<OffsetDateTime>, now: OffsetDateTime) -> &'static str {
    match until {
        Some(until) if until <= since => "revoked",
        Some(until) if until <= now => "expired",
        _ if now < since => "not yet valid",
        _ => "valid",
    }
}

pub(super) fn written(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

/// Answers `ListTrust`.
pub(super) async fn trust(State(admin): State<Admin>) -> Json<TrustAnchors> {
    Json(TrustAnchors { anchors: added_anchors(&admin.store.catalog().anchors) })
}

/// Anchors in addition to the built-in ones.
pub(super) fn added_anchors(anchors: &Anchors) -> Vec<TrustAnchor> {
    let built_in = Anchors::production();
    let mut added: Vec<TrustAnchor> = anchors
        .fingerprints()
        .iter()
        .filter(|one| built_in.fingerprints().iter().all(|known| known.key_id != one.key_id))
        .map(|one| TrustAnchor { fingerprint: one.key_id.clone(), account_id: one.account_id.clone() })
        .collect();
    added.sort();
    added
}
