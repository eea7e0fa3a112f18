//! The state of the store, for people and scripts.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use schema::api::admin::{CheckStatus, Counts, OldKey, Status};
use schema::causes::one_line;
use schema::config::RotatedSecret;
use schema::service_login::LoginKey;
use schema::session::SessionKey;
use time::OffsetDateTime;

use super::{Admin, report};
use crate::catalog::Catalog;
use crate::clock;
use crate::jobs::Job;
use crate::plans::fleet::written;
use crate::plans::problems::{ending_keys, unresolved};
use crate::sessions::AcceptedKey;
use crate::site::Site;

/// `GET /v1/status`
pub(super) async fn status(State(admin): State<Admin>) -> Json<Status> {
    let store = &admin.store;
    let (catalog, settings) = (store.catalog(), store.settings());
    let database = match store.health().await {
        Ok(()) => "ok".to_owned(),
        Err(failure) => one_line(&failure),
    };
    // If the database is down, not knowing this is the least problem.
    let audit_head = store.database().audit_head().await.ok().flatten();
    let engine = if settings.database.url.is_some() { "postgresql" } else { "sqlite" };
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
        let why = one_line(&*stale);
        problems.push(format!("The client CAs of before stay in use: {why}."));
    }
    let tls = crate::tls::check::check(store.tls(), store.data_dir()).await;
    problems.extend(tls.iter().flat_map(|tls| tls.problems.clone()));
    let acme = store.acme().status(&settings);
    if let Some(why) = &acme.last_error {
        problems.push(format!("No new certificate comes from the ACME authority: {why}."));
    }
    let stores = report::stores_of(&catalog);
    unresolved(&catalog, &stores, &mut problems);
    let mut warnings = Vec::new();
    ending_keys(&catalog, settings.device_auth.strict_key_expiry, clock::now(), &mut problems, &mut warnings);
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
        store_id: settings.identity.store_id.clone(),
        services,
        stores,
        account_keys: report::keys_of(&catalog),
        trust: report::added_anchors(&catalog.anchors),
        session_key: catalog.meta.get(crate::site::SESSION_KEY).cloned(),
        old_session_keys: keys_of(store, RotatedSecret::Sessions).1,
        login_key,
        old_login_keys,
        credentials: settings.credentials().map(str::to_owned).collect(),
        tls,
        acme: Some(acme).filter(|acme| acme.directory.is_some()),
        audit_head,
        check,
        jobs: admin.jobs.all().map(Job::status).into(),
        problems,
        warnings,
        counts: counts(&catalog),
    })
}

/// The key that signs, and those that sign no more and are still accepted.
pub(super) fn keys_of(store: &Site, which: RotatedSecret) -> (Option<String>, Vec<OldKey>) {
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

/// What the last check of all files found.
fn checked(store: &Site) -> CheckStatus {
    let (rounds, last) = (store.rounds(), store.rounds().last());
    CheckStatus {
        finished: last.as_ref().map(|last| written(last.at_micros)),
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
