//! Plans the import of a store archive: snaps, assertions and brand store metadata as one change.

use schema::api::admin::PushedArchive;
use serde_json::json;

use super::after::After;
use super::receive::Bundle;
use super::snaps::plan_contents;
use super::stores::plan_metadata;
use super::visibility::settle;
use super::{Context, ImportError, KnownState, SnapOptions};
use crate::storage::records::{Change, ImportRecord};

/// Plans the import, all or nothing.
pub(crate) fn plan_archive(
    known: &dyn KnownState,
    bundle: &Bundle,
    options: &SnapOptions,
    cx: &Context,
) -> Result<(Change, PushedArchive), ImportError> {
    let metadata = bundle.stores.as_deref().ok_or(ImportError::NotArchive)?;
    let (contents, snaps) = plan_contents(known, bundle, options, cx)?;
    // The stores are judged with the snaps and keys in the same archive, and against the previous state.
    let (stores, pushed) = plan_metadata(&After { known, change: &contents }, metadata, cx)?;
    let detail = json!({ "snaps": contents.audit.detail, "stores": stores.audit.detail });
    let audit = cx.change("push-store", stores.audit.subject, detail).audit;
    let mut change = Change { stores: stores.stores, audit, ..contents };
    let visibility = settle(known, &mut change, &options.views)?;
    let report = PushedArchive {
        snaps: snaps.snaps,
        stores: pushed.stores,
        assertions: change.assertions.len(),
        visibility,
        warnings: [snaps.warnings, pushed.warnings].concat(),
        waits: None,
    };
    let import = ImportRecord {
        file_digest: bundle.file_digest.clone(),
        kind: "archive".into(),
        summary: json!(report),
    };
    Ok((Change { import: Some(import), ..change }, report))
}
