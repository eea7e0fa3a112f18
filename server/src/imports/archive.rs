//! Plans the import of a store archive: snaps, assertions and brand store metadata as one change.

use std::sync::Arc;

use schema::api::admin::PushedArchive;
use schema::assertion::{Anchors, Assertion, AssertionSource, Details, Ref};
use serde_json::json;

use super::receive::Bundle;
use super::snaps::plan_contents;
use super::stores::plan_stores;
use super::{Context, ImportError, KnownState, KnownStores, SnapOptions};
use crate::storage::records::{Change, ImportRecord, SnapRecord, StoreRecord};

/// Plans the import, all or nothing.
pub(crate) fn plan_archive(
    known: &dyn KnownState,
    bundle: &Bundle,
    options: &SnapOptions,
    cx: &Context,
) -> Result<(Change, PushedArchive), ImportError> {
    let metadata = bundle.stores.as_deref().ok_or(ImportError::NotArchive)?;
    let (contents, snaps) = plan_contents(known, bundle, options, cx)?;
    // The stores are judged with the snaps and keys that come along with them.
    let (stores, pushed) = plan_stores(&After { known, change: &contents }, metadata, cx)?;
    let report = PushedArchive {
        snaps: snaps.snaps,
        stores: pushed.stores,
        assertions: contents.assertions.len(),
        warnings: [snaps.warnings, pushed.warnings].concat(),
    };
    let detail = json!({ "snaps": contents.audit.detail, "stores": stores.audit.detail });
    let audit = cx.change("push-store", stores.audit.subject, detail).audit;
    let import = ImportRecord {
        file_digest: bundle.file_digest.clone(),
        kind: "archive".into(),
        summary: json!(report),
    };
    Ok((Change { stores: stores.stores, audit, import: Some(import), ..contents }, report))
}

/// What is known once a change is made that brings snaps and assertions.
struct After<'a> {
    known: &'a dyn KnownState,
    change: &'a Change,
}

impl After<'_> {
    fn brought(&self) -> impl Iterator<Item = &Arc<Assertion>> {
        self.change.assertions.iter().map(|verified| verified.assertion())
    }
}

impl AssertionSource for After<'_> {
    fn find(&self, wanted: &Ref) -> Option<Arc<Assertion>> {
        let brought = self.brought().filter(|assertion| assertion.reference() == *wanted);
        brought.max_by_key(|assertion| assertion.revision()).cloned().or_else(|| self.known.find(wanted))
    }

    fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>> {
        let of_account = |assertion: &&Arc<Assertion>| match assertion.details() {
            Details::AccountKey(key) => key.account_id == account_id,
            _ => false,
        };
        let mut keys: Vec<_> = self.brought().filter(of_account).cloned().collect();
        let held = self.known.keys_of(account_id);
        keys.extend(
            held.into_iter().filter(|held| self.brought().all(|new| new.reference() != held.reference())),
        );
        keys
    }
}

impl KnownStores for After<'_> {
    fn anchors(&self) -> &Anchors {
        self.known.anchors()
    }

    fn snap(&self, snap_id: &str) -> Option<SnapRecord> {
        let brought = self.change.snaps.iter().find(|snap| snap.snap_id == snap_id);
        brought.cloned().or_else(|| self.known.snap(snap_id))
    }

    fn store(&self, store_id: &str) -> Option<StoreRecord> {
        self.known.store(store_id)
    }
}
