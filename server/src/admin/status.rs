//! The state of the store, for people and scripts.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use schema::api::admin::{BackupStatus, CheckStatus, Counts, OldKey, RetentionStatus, Status, Urgency};
use schema::causes::one_line;
use schema::config::{Retention, RotatedSecret, Settings};
use schema::service_login::LoginKey;
use schema::session::SessionKey;
use time::OffsetDateTime;

use super::{Admin, deltas, doctor, report};
use crate::catalog::Catalog;
use crate::doctor::examine;
use crate::fleet::written;
use crate::jobs::Job;
use crate::sessions::AcceptedKey;
use crate::site::Site;

/// Answers `ShowStatus`.
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
    let acme = store.acme().status(&settings);
    let backup = backups(store).await;
    let (login_key, old_login_keys) = keys_of(store, RotatedSecret::Logins);
    let deltas = deltas::used(store, database == "ok").await;
    let check = checked(store);
    let (facts, tls) = doctor::gather(store).await;
    let findings = examine(&facts).findings;
    let told = |urgency| {
        let these = findings.iter().filter(move |finding| finding.urgency == urgency);
        these.map(ToString::to_string).collect()
    };
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store_url: catalog.base_url.to_string(),
        listening: store.tls().listening(),
        admin_address: store.tls().admin_address().map(|bound| format!("https://{bound}")),
        metrics: store.tls().metrics(),
        database,
        storage: facts.host.storage.clone().unwrap_or_else(|| "ok".to_owned()),
        database_engine: engine.to_owned(),
        airgap_mode: serves,
        store_id: settings.identity.store_id.clone(),
        services,
        stores: report::stores_of(&catalog),
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
        backup,
        waiting_imports: admin.waiting().await.map_or(0, |waiting| waiting.len()),
        retention: retention(store, &settings),
        deltas,
        jobs: admin.jobs.all().map(Job::status).into(),
        problems: told(Urgency::Now),
        warnings: told(Urgency::Soon),
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

/// What may go, while that is asked for.
fn retention(store: &Site, settings: &Settings) -> Option<RetentionStatus> {
    let Retention { keep, apply } = settings.retention;
    let spare = store.spare().load();
    let (revisions, bytes) = spare.as_ref().map_or((0, 0), |spare| (spare.revisions, spare.bytes));
    (keep > 0).then_some(RetentionStatus { keep, apply, revisions, bytes })
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

/// The last backup and rehearsal; none while the database does not answer.
async fn backups(store: &Site) -> Option<BackupStatus> {
    let last = async |what| store.database().last_event_of(what).await.ok();
    let (backup, rehearsal) = (last("backup").await?, last("rehearse").await?);
    Some(BackupStatus {
        last: backup.map(|event| written(event.at_micros)),
        rehearsed: rehearsal.as_ref().map(|event| written(event.at_micros)),
        rehearsed_backup: rehearsal
            .and_then(|event| Some(event.event.detail["backup-of"].as_str()?.to_owned())),
    })
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
