//! Plans the return of one assertion, named by the operator, to a lower revision: the way out if a revision is too
//! high to ever be exceeded.

use aws_lc_rs::digest::{SHA256, digest};
use schema::api::admin::PushedAssertions;
use schema::assertion::{Assertion, Checker, check_batch};
use serde_json::json;

use super::receive::decode;
use super::visibility::{Views, settle};
use super::{Context, ImportError, KnownStores as _};
use crate::catalog::{Catalog, Held};
use crate::storage::records::{Change, ImportRecord};

/// Plans it together with the rest of the file. The lower revision must verify without the higher one, and everything
/// stored that verified with the higher one must verify with it.
pub(crate) fn plan_replacement(
    catalog: &Catalog,
    bytes: &[u8],
    name: &str,
    views: &Views,
    cx: &Context,
) -> Result<(Change, PushedAssertions), ImportError> {
    let brought = decode(bytes, "the file")?;
    let named = brought.iter().filter(|one| one.reference().to_string() == name);
    let lower = named.max_by_key(|one| one.revision()).ok_or_else(|| ImportError::NotBrought(name.into()))?;
    let (at, revision) = (lower.reference(), lower.revision());
    let held = catalog.assertions.newest(&at, u32::MAX).map(|held| held.revision());
    let higher = held.filter(|held| *held > revision).ok_or_else(|| ImportError::NotHigher {
        name: name.into(),
        revision,
        held: held.map_or_else(|| "none".into(), |held| held.to_string()),
    })?;

    let mut known = catalog.assertions.clone();
    known.forget(at.kind, &at.key_text());
    let checker = Checker { anchors: catalog.anchors(), source: &known, time: cx.keys };
    let outcome = check_batch(brought, &checker)
        .map_err(|error| ImportError::Unverified { what: "the file", source: Box::new(error.cause) })?;
    for verified in &outcome.verified {
        known.add(verified.assertion().clone());
    }
    let good_before = |one: &Assertion| {
        Checker { anchors: catalog.anchors(), source: catalog, time: cx.keys }.check(one).is_ok()
    };
    let good_after = |one: &Assertion| {
        Checker { anchors: catalog.anchors(), source: &known, time: cx.keys }.check(one).is_ok()
    };
    let depends = |one: &Assertion| one.reference() != at && one.needed_to_check().contains(&at);
    let broken = catalog
        .assertions
        .all()
        .filter_map(Held::decode)
        .find(|one| depends(one) && good_before(one) && !good_after(one));
    if let Some(broken) = broken {
        return Err(ImportError::Needed {
            name: name.into(),
            revision: higher,
            by: broken.reference().to_string(),
        });
    }

    let mut report = PushedAssertions {
        added: outcome.verified.iter().map(|verified| verified.reference().to_string()).collect(),
        already_held: outcome.already_held.iter().map(ToString::to_string).collect(),
        warnings: vec![format!(
            "{name} is of revision {revision} now, no longer {higher}; a device that has fetched revision {higher} keeps it"
        )],
        ..PushedAssertions::default()
    };
    let file_digest = super::file_digest(&digest(&SHA256, bytes));
    let detail = json!({ "file": file_digest, "from": higher, "to": revision, "added": report.added });
    let mut change = cx.change("replace-assertion", name.into(), detail);
    change.removed.assertions.push(at);
    change.assertions = outcome.verified;
    report.visibility = settle(catalog, &mut change, views)?;
    change.import =
        Some(ImportRecord { file_digest, kind: "push-assertions".into(), summary: json!(report) });
    Ok((change, report))
}
