//! The state of the store, for people and scripts.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use schema::api::admin::{CheckStatus, Counts, OldKey, Status};
use schema::assertion::{AssertionType, Details};
use schema::config::RotatedSecret;
use schema::service_login::LoginKey;
use schema::session::SessionKey;
use schema::tls::{Expiry, Level};
use time::OffsetDateTime;

use super::{Admin, report};
use crate::catalog::{Blob, Catalog};
use crate::clock;
use crate::sessions::AcceptedKey;
use crate::store::Store;

/// `GET /v1/status`
pub(super) async fn status(State(admin): State<Admin>) -> Json<Status> {
    let store = &admin.store;
    let (catalog, settings) = (store.catalog(), store.settings());
    let database = match store.health().await {
        Ok(()) => "ok".to_owned(),
        Err(failure) => super::error::one_line(&failure),
    };
    // If the database is down, not knowing this is the least problem.
    let audit_head = store.database().audit_head().await.ok().flatten();
    let engine = match settings.value("proxy.db.connection") {
        "" => "sqlite",
        _ => "postgresql",
    };
    let part = |well: bool, why: &str| match well {
        true => "running".to_owned(),
        false => format!("not running: {why}"),
    };
    let serves = store.serves_devices();
    let services = BTreeMap::from([
        ("admin".to_owned(), part(true, "")),
        ("database".to_owned(), part(database == "ok", &database)),
        ("devices".to_owned(), part(serves, "air-gapped mode is off")),
    ]);
    let registered = settings.value("internal.store.id");
    let mut problems = Vec::new();
    if !serves {
        problems.push("Devices are not served yet: run `proxy enable-airgap-mode`.".to_owned());
    }
    if database != "ok" {
        problems
            .push(format!("No new device session can begin: the database is not available ({database})."));
    }
    problems.extend(store.tls().problems(&settings));
    if let Some(stale) = store.tls().stale() {
        let why = super::error::one_line(&*stale);
        problems.push(format!("The client CAs of before stay in use: {why}."));
    }
    let tls = crate::tls::check::check(store.tls(), store.data_dir()).await;
    problems.extend(tls.iter().flat_map(|tls| tls.problems.clone()));
    let acme = store.acme().status(&settings);
    if let Some(why) = &acme.last_error {
        problems.push(format!("No new certificate comes from the ACME authority: {why}."));
    }
    unresolved(&catalog, &mut problems);
    let mut warnings = Vec::new();
    ending_keys(
        &catalog,
        settings.is_on("proxy.device-auth.strict-key-expiry"),
        &mut problems,
        &mut warnings,
    );
    let (login_key, old_login_keys) = keys_of(store, RotatedSecret::Logins);
    let check = checked(store);
    if let Some(others) = store.rounds().last().map(|last| last.others).filter(|others| *others > 0) {
        let at = check.finished.as_deref().unwrap_or_default();
        problems.push(format!(
            "The check that ended {at} found {others} problems that are no damaged files: run `proxy verify`."
        ));
    }
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store_url: catalog.base_url.to_string(),
        listening: store.tls().listening(),
        admin_address: store.tls().admin_address().map(|bound| format!("https://{bound}")),
        metrics: store.tls().metrics(),
        database,
        database_engine: engine.to_owned(),
        airgap_mode: serves,
        store_id: Some(registered.to_owned()).filter(|id| !id.is_empty()),
        services,
        stores: report::stores_of(&catalog),
        account_keys: report::keys_of(&catalog),
        trust: report::added_anchors(&catalog.anchors),
        session_key: catalog.meta.get(crate::store::SESSION_KEY).cloned(),
        old_session_keys: keys_of(store, RotatedSecret::Sessions).1,
        login_key,
        old_login_keys,
        credentials: settings.credentials().map(str::to_owned).collect(),
        tls,
        acme: Some(acme).filter(|acme| acme.directory.is_some()),
        audit_head,
        check,
        problems,
        warnings,
        counts: counts(&catalog),
    })
}

/// The signing key, and old keys that are still accepted.
pub(super) fn keys_of(store: &Store, which: RotatedSecret) -> (Option<String>, Vec<OldKey>) {
    match which {
        RotatedSecret::Sessions => told(&store.sessions().accepted_keys(), SessionKey::id),
        RotatedSecret::Logins => told(&store.logins().accepted_keys(), LoginKey::id),
    }
}

fn told<K>(keys: &[AcceptedKey<K>], id: fn(&K) -> &str) -> (Option<String>, Vec<OldKey>) {
    let in_force = keys.iter().find(|accepted| accepted.until.is_none());
    let old = |accepted: &AcceptedKey<K>| {
        let until = OffsetDateTime::from_unix_timestamp(i64::try_from(accepted.until?).ok()?).ok()?;
        Some(OldKey { id: id(&accepted.key).to_owned(), until: report::written(until) })
    };
    (in_force.map(|accepted| id(&accepted.key).to_owned()), keys.iter().filter_map(old).collect())
}

/// The result of the last check of all files.
fn checked(store: &Store) -> CheckStatus {
    let (rounds, last) = (store.rounds(), store.rounds().last());
    CheckStatus {
        finished: last.as_ref().map(|last| super::devices::written(last.at_micros)),
        blobs: last.as_ref().map_or(0, |last| last.blobs),
        bytes: last.as_ref().map_or(0, |last| last.bytes),
        problems: last.as_ref().map_or(0, |last| last.problems),
        read_so_far: rounds.read_so_far(),
    }
}

/// How much the catalog holds.
pub(super) fn counts(catalog: &Catalog) -> Counts {
    Counts {
        snaps: catalog.count_snaps(),
        revisions: catalog.snaps().map(|snap| snap.revisions.len()).sum(),
        assertions: catalog.assertions.len(),
        blocked_devices: catalog.blocked().size(),
    }
}

/// Account keys that expire soon, and the consequences; a problem in the last seven days.
fn ending_keys(catalog: &Catalog, strict: bool, problems: &mut Vec<String>, warnings: &mut Vec<String>) {
    let now = clock::now();
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

/// What is still missing after the imports so far. Imports may come in any order, so none of this is an error.
fn unresolved(catalog: &Catalog, problems: &mut Vec<String>) {
    for store in report::stores_of(catalog) {
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
