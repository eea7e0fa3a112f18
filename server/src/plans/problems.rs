//! What `proxy status` finds wrong with what is held.

use schema::api::admin::Store;
use schema::assertion::{AssertionType, Details};
use schema::tls::{Expiry, Level};
use time::OffsetDateTime;

use crate::catalog::{Blob, Catalog};

/// Account keys that end soon, and what that means here; in the last seven days it is a problem.
pub(crate) fn ending_keys(
    catalog: &Catalog,
    strict: bool,
    now: OffsetDateTime,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) {
    for assertion in catalog.assertions.of_kind(AssertionType::AccountKey) {
        let Details::AccountKey(key) = assertion.details() else { continue };
        let Some(until) = key.until.filter(|until| now < *until) else { continue };
        let Expiry { days, level } = Expiry::of(until, now);
        let then = match strict {
            true => "documents that it signed are refused from then on (proxy.device-auth.strict-key-expiry)",
            false => "documents that it signed before stay good",
        };
        let text = format!(
            "Account key {} of {} ends in {days} days, on {}; {then}. Push its successor with `proxy push-account-keys`.",
            key.name.as_deref().unwrap_or(key.public_key.id()),
            key.account_id,
            until.date()
        );
        match level {
            Level::Fine => {}
            Level::Days90 | Level::Days30 => warnings.push(text),
            Level::Days7 | Level::Expired => problems.push(text),
        }
    }
}

/// What imports so far leave open; any order of imports is right, so none of this is an error.
pub(crate) fn unresolved(catalog: &Catalog, stores: &[Store], problems: &mut Vec<String>) {
    for store in stores {
        if !store.missing.is_empty() {
            let missing = store.missing.join(", ");
            problems.push(format!("Store {} grants snaps that were not pushed yet: {missing}.", store.id));
        }
        let source: &dyn schema::assertion::AssertionSource = &catalog.assertions;
        if source.keys_of(&store.brand_id).is_empty() {
            problems.push(format!(
                "No account key of brand {} was pushed: its devices cannot prove who they are (`proxy push-account-keys`).",
                store.brand_id
            ));
        }
    }
    for snap in catalog.snaps() {
        let damaged = |blob: &Blob| blob.checks.is_damaged();
        let revisions = snap.revisions.values().filter(|revision| damaged(&revision.blob));
        let revisions: Vec<String> = revisions.map(|revision| revision.number.to_string()).collect();
        let meanwhile: Vec<String> = snap.stand_ins().collect();
        let mut lost = Vec::new();
        if !revisions.is_empty() {
            lost.push(format!("revision {}", revisions.join(", ")));
        }
        let components = snap.components.iter().filter(|(_, blob)| damaged(blob));
        lost.extend(components.map(|((name, revision), _)| format!("component {name} {revision}")));
        if catalog.icon_of(snap).is_some_and(|blob| damaged(blob)) {
            lost.push("icon".into());
        }
        problems.extend(lost.iter().map(|lost| {
            format!("The file of {} {lost} is damaged: push it again (`proxy push-snap`).", snap.name)
        }));
        problems.extend(meanwhile);
    }
}
