//! The facts that the doctor judges, gathered from all over the store.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use axum::Json;
use axum::extract::State;
use rustix::fs::statvfs;
use schema::api::admin::{Findings, TlsStatus};
use schema::assertion::{AccountKey, Assertion, AssertionSource, AssertionType, Details};
use schema::causes::one_line;
use schema::config::Settings;
use schema::store::DeltaFormat;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::spawn_blocking;

use super::{Admin, report};
use crate::catalog::{Blob, Catalog, Snap};
use crate::deltas::Encoder;
use crate::doctor::{self, Desk, Disk, Facts, Holdings, Host, KeyFacts, Locked, Mode, Network, StoreFacts};
use crate::fleet::Fleet;
use crate::signing::KeyState;
use crate::site::Site;
use crate::tls::check::Outside;
use crate::{clock, signing, tls};

/// In microseconds.
const A_DAY: i64 = 86_400_000_000;
/// In microseconds.
const A_MONTH: i64 = 30 * A_DAY;
/// Stores that are named at most because devices name them.
const MOST_STORES: usize = 5;

/// Types whose documents say when they were made.
const DATED: [AssertionType; 3] =
    [AssertionType::SnapRevision, AssertionType::SnapDeclaration, AssertionType::Store];

/// Answers `ShowDoctor`.
pub(super) async fn doctor(State(admin): State<Admin>) -> Json<Findings> {
    let store = &*admin.store;
    let (mut facts, _) = gather(store).await;
    let catalog = store.catalog();
    facts.holdings.newest =
        DATED.iter().flat_map(|kind| catalog.assertions.of_kind(*kind)).filter_map(made).max();
    facts.desk = desk(store).await;
    Json(doctor::examine(&facts))
}

/// What is known without a long look, and how HTTPS looks from outside.
pub(super) async fn gather(store: &Site) -> (Facts, Option<TlsStatus>) {
    let (catalog, settings) = (store.catalog(), store.settings());
    let mut holdings = holdings(&catalog, &settings);
    holdings.stores_not_imported = stores_not_imported(store, &catalog).await;
    let Outside { tls, objections } = tls::check::check(store.tls(), store.data_dir()).await;
    let mut facts = Facts {
        now: clock::now(),
        network: network(store, &settings, &catalog, objections, tls.as_ref()),
        host: host(store, &settings).await,
        holdings,
        desk: Desk::default(),
    };
    if facts.host.storage.is_none() {
        match store.absent().await {
            Ok(absent) => {
                (facts.holdings.absent, facts.holdings.place) = (absent, store.place().to_owned());
            }
            Err(failure) => facts.host.storage = Some(one_line(&failure)),
        }
    }
    (facts, tls)
}

/// What keeps devices from a serial. Nothing is said of what the database does not tell.
async fn desk(store: &Site) -> Desk {
    let mut desk = Desk::default();
    let today = store.database().signed_on(signing::today()).await.unwrap_or_default();
    for key in signing::keys(&store.catalog()).into_iter().filter(|key| key.retired.is_none()) {
        let name = key.label.name.clone();
        if let Err(failure) = store.signing().prove(&key).await {
            let (purpose, why) = (key.label.purpose, one_line(&failure));
            desk.locked.push(Locked { key: name.clone(), purpose, why, mend: failure.next() });
        }
        let used_up = |most: &u32| today.get(&name).is_some_and(|signed| *signed >= u64::from(*most));
        desk.at_limit.extend(key.per_day.filter(used_up).map(|most| (name.clone(), most)));
    }
    let catalog = store.catalog();
    let keys = signing::keys(&catalog);
    for policy in signing::policies(&catalog) {
        if policy.is_restored() {
            desk.restored.push((format!("{}/{}", policy.brand, policy.model), policy.again()));
        }
        if policy.closed.is_some() {
            continue;
        }
        let key = keys.iter().find(|key| key.label.name == policy.key);
        let state = key.map(|key| KeyState::of(key, &catalog, clock::now()));
        if let Some(state) = state.filter(|state| !matches!(state, KeyState::Ready { .. })) {
            let model = format!("{}/{}", policy.brand, policy.model);
            desk.not_ready.push((policy.key, state.as_str(), model));
        }
    }
    let refused = store.signing().refused_since(clock::micros() - A_DAY);
    desk.refused =
        refused.into_iter().map(|one| (one.model, one.check.to_owned(), one.times, one.why)).collect();
    desk
}

fn network(
    store: &Site,
    settings: &Settings,
    catalog: &Catalog,
    objections: Vec<tls::check::Objection>,
    seen: Option<&TlsStatus>,
) -> Network {
    Network {
        base_url: catalog.base_url.to_string(),
        fronted: settings.site.public_url.is_some(),
        listening: store.tls().listening(),
        registered: (settings.identity.store_id.clone())
            .map(|id| (id, settings.identity.store_url.clone().unwrap_or_default())),
        objections,
        ending: seen.and_then(|tls| tls.warning.clone()),
        settings: store.tls().problems(settings),
        stale_clients: store.tls().stale().map(|stale| one_line(&*stale)),
        files: settings.tls.files.clone().map(|files| (files, store.tls().files_trouble())),
        acme: store.acme().status(settings).last_error,
        renews: settings.acme.directory.is_some(),
        own_ca: store.data_dir().join("ca/ca.key").exists(),
        closed_to_readers: closed_to_readers(store, settings),
    }
}

/// Why the socket for reading is not open.
fn closed_to_readers(store: &Site, settings: &Settings) -> Option<String> {
    let path = settings.listen.read_socket.as_ref()?;
    let not_yet = || (!path.exists()).then(|| "it was named after the server started".to_owned());
    store.closed_to_readers.get().cloned().or_else(not_yet)
}

async fn host(store: &Site, settings: &Settings) -> Host {
    let database = store.health().await.err().map(|failure| one_line(&failure));
    let troubles = store.readiness().troubles(store).await;
    let part = |name: &str| troubles.iter().find(|trouble| trouble.part == name);
    let folder = settings.storage.path.clone().unwrap_or_else(|| store.data_dir().to_owned());
    // The database that does not answer is a finding already.
    let last = async |what| time(store.database().last_event_of(what).await.ok().flatten()?.at_micros);
    let makes_deltas = settings.deltas.budget > 0;
    let encoder = match makes_deltas {
        true => spawn_blocking(Encoder::find).await.ok().flatten(),
        false => None,
    };
    let unsound = store.rounds().last().filter(|last| last.others > 0);
    Host {
        serves: store.serves_devices(),
        foreign_schema: part("schema").is_some(),
        storage: part("storage").map(|trouble| trouble.why.clone()),
        storage_folder: (!store.blobs().is_remote()).then(|| folder.clone()),
        secret: store.secret_trouble().filter(|_| store.serves_devices()),
        disks: disks(store.data_dir(), &folder),
        modes: modes(store.data_dir(), &folder, settings),
        last_event: store.database().latest_event().await.ok().flatten().and_then(time),
        lacks_xdelta3: makes_deltas && encoder.is_none(),
        lacks_squashfs_tools: settings.deltas.formats.contains(&DeltaFormat::Contents)
            && encoder.is_some_and(|encoder| !encoder.makes(DeltaFormat::Contents)),
        last_backup: last("backup").await,
        last_rehearsal: last("rehearse").await,
        log_read: database.is_none(),
        spare: store.spare().load().as_deref().cloned(),
        unsound: unsound.map(|last| (last.others, crate::fleet::written(last.at_micros))),
        database,
    }
}

/// A moment of the database.
fn time(micros: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()
}

/// What is full or not: the folders' file systems, each once where they answer alike.
fn disks(data_dir: &Path, folder: &Path) -> Vec<Disk> {
    let both = [data_dir, folder];
    let folders = if data_dir == folder { &both[..1] } else { &both[..] };
    let about = |folder: &&Path| {
        let about = statvfs(*folder).ok()?;
        Some(Disk {
            folder: folder.to_path_buf(),
            bytes: (about.f_bavail * about.f_frsize, about.f_blocks * about.f_frsize),
            inodes: (about.f_favail, about.f_files),
        })
    };
    folders.iter().filter_map(about).collect()
}

/// What others could read or write.
fn modes(data_dir: &Path, folder: &Path, settings: &Settings) -> Vec<Mode> {
    let key = settings.tls.files.as_ref().map(|files| (files.key.clone(), 0o007));
    let wanted = [
        (data_dir.to_owned(), 0o002),
        (data_dir.join("airlock.yaml"), 0o077),
        (data_dir.join("airlock.db"), 0o007),
        (data_dir.join("ca"), 0o022),
        (data_dir.join("ca/ca.key"), 0o077),
        (folder.join("blobs"), 0o002),
    ];
    let about = |(path, forbidden): (PathBuf, u32)| {
        let mode = std::fs::metadata(&path).ok()?.permissions().mode();
        Some(Mode { path, mode, forbidden })
    };
    wanted.into_iter().chain(key).filter_map(about).collect()
}

fn holdings(catalog: &Catalog, settings: &Settings) -> Holdings {
    let mut held = Holdings {
        strict: settings.device_auth.strict_key_expiry,
        revisions: catalog.snaps().map(|snap| snap.revisions.len()).sum(),
        ..Holdings::default()
    };
    let source: &dyn AssertionSource = &catalog.assertions;
    for store in report::stores_of(catalog) {
        held.stores.push(StoreFacts {
            has_keys: !source.keys_of(&store.brand_id).is_empty(),
            is_empty: store.snaps.is_empty() && store.parent.is_none(),
            id: store.id,
            brand: store.brand_id,
            missing: store.missing,
        });
    }
    for assertion in catalog.assertions.of_kind(AssertionType::AccountKey) {
        let Details::AccountKey(key) = assertion.details() else { continue };
        let Some(until) = key.until else { continue };
        let name = |key: &AccountKey| key.name.as_deref().unwrap_or(key.public_key.id()).to_owned();
        let follows =
            |other: &&AccountKey| other.since > key.since && other.until.is_none_or(|longer| longer > until);
        let of_account = source.keys_of(&key.account_id);
        let mut keys = of_account.iter().filter_map(|held| match held.details() {
            Details::AccountKey(key) => Some(&**key),
            _ => None,
        });
        let successor = keys.find(follows).map(name);
        held.keys.push(KeyFacts { name: name(key), account: key.account_id.clone(), until, successor });
    }
    let mut bases: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for snap in catalog.snaps() {
        held.damaged.extend(lost(snap, catalog).into_iter().map(|lost| (snap.name.to_string(), lost)));
        held.stand_ins.extend(catalog.stand_ins(snap, clock::micros()));
        if !snap.is_public() && catalog.granting(snap).next().is_none() {
            held.unseen.push((snap.name.to_string(), snap.stores.iter().map(ToString::to_string).collect()));
        }
        let newest = snap.revisions.values().next_back().and_then(|revision| revision.base.as_deref());
        if let Some(base) = newest.filter(|base| *base != "none" && catalog.snaps_named(base).is_empty()) {
            bases.entry(base).or_default().push(snap.name.to_string());
        }
    }
    held.bases = bases.into_iter().map(|(base, snaps)| (base.to_owned(), snaps)).collect();
    for (store, view) in catalog.views_of_stores() {
        let mut bases: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for snap in view.snaps() {
            let newest = snap.revisions.values().next_back();
            let base = newest.and_then(|revision| view.unseen_base(revision));
            if let Some(base) = base.filter(|base| !catalog.snaps_named(base).is_empty()) {
                bases.entry(base).or_default().push(snap.name.to_string());
            }
        }
        let of_store = |(base, snaps): (&str, _)| (base.to_owned(), store.store_id.to_string(), snaps);
        held.bases_not_granted.extend(bases.into_iter().map(of_store));
    }
    held
}

/// Stores that models of devices name and that are not here. Nothing is said of what the database does not tell.
async fn stores_not_imported(store: &Site, catalog: &Catalog) -> Vec<(String, String, usize)> {
    let (database, sightings) = (store.database(), store.sightings());
    let fleet = Fleet { database, sightings, catalog, answers: store.serves_devices() };
    let mut named = fleet.stores_not_imported(clock::micros() - A_MONTH).await.unwrap_or_default();
    // Whoever is not verified may claim any store.
    named.truncate(MOST_STORES);
    named
}

/// What of a snap is damaged.
fn lost(snap: &Snap, catalog: &Catalog) -> Vec<String> {
    let damaged = |blob: &Blob| blob.checks.is_damaged();
    let revisions = snap.revisions.values().filter(|revision| damaged(&revision.blob));
    let revisions: Vec<String> = revisions.map(|revision| revision.number.to_string()).collect();
    let mut lost = Vec::new();
    if !revisions.is_empty() {
        lost.push(format!("revision {}", revisions.join(", ")));
    }
    let components = snap.components.iter().filter(|(_, blob)| damaged(blob));
    lost.extend(components.map(|((name, revision), _)| format!("component {name} {revision}")));
    if catalog.icon_of(snap).is_some_and(|blob| damaged(blob)) {
        lost.push("icon".into());
    }
    lost
}

/// When a document was made.
fn made(assertion: impl std::ops::Deref<Target = Assertion>) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(assertion.text("timestamp")?, &Rfc3339).ok()
}
