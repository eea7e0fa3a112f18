//! Receipts, the senders of parcels, and parcels on their way in.

use std::io;
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use axum::Json;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::api::admin::{
    ImportKind, ImportOptions, ParcelImport, ParcelStatus, Parcels, PushedArchive, ReceiptRequest, Sender,
    Senders, SiteCode,
};
use schema::bundle::Limits;
use schema::config::Settings;
use schema::parcel::{Accepted, Parcel, ParcelKind, Receipt, SecretKey, SenderFile, code_of};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::io::SyncIoBridge;
use zeroize::Zeroizing;

use super::devices::misses_of;
use super::error::AdminError;
use super::given::{Given, Query};
use super::maintain::Streamed;
use super::push::{document, reader};
use super::report::stores_of;
use super::waiting::{seen, snap_options};
use super::{Admin, Operator};
use crate::catalog::Catalog;
use crate::clock;
use crate::imports::{
    Bundle, Context, ImportError, SnapOptions, plan_archive, plan_snaps, receive_from, rfc3339,
};
use crate::parcels::{
    KeepError, Refusal, SenderRecord, accept, admit, channel_map, names, plan_removal, plan_sender, senders,
};
use crate::storage::error::CommitError;
use crate::storage::records::Change;
use crate::store::off_thread;

/// The configuration key of the secret that receipts are signed with.
const SECRET: &str = "proxy.receipt.secret";
/// Refusals that the operator can mend, so that the parts stay; after any other, nothing of a parcel does.
const MENDED: [&str; 4] = ["wider-view", "missing-assertion", "lacking-parts", "no-base"];
/// How many names of snaps a receipt has in each of its lists.
const MOST: usize = 50;

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
enum ReceiptError {
    #[error("cannot get random bytes from the system")]
    NoRandom,
}

impl From<Refusal> for AdminError {
    fn from(error: Refusal) -> Self {
        Self::refused(error.code(), &error)
    }
}

impl From<Refusal> for ImportError {
    fn from(error: Refusal) -> Self {
        Self::Parcel { code: error.code(), cause: error.into() }
    }
}

impl From<KeepError> for AdminError {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Refused(refusal) => refusal.into(),
            KeepError::Io(_, ref source) if source.kind() == io::ErrorKind::StorageFull => {
                Self::failed("disk-full", &error)
            }
            KeepError::Io(..) => Self::failed("unavailable", &error),
        }
    }
}

/// Why a fact about senders was not changed.
#[derive(Debug, thiserror::Error)]
enum LedgerError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<LedgerError> for AdminError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Refused(refusal) => refusal.into(),
            LedgerError::Commit(failure) => ImportError::from(failure).into(),
        }
    }
}

/// The key of this site, once it was made.
fn site_key(settings: &Settings) -> Option<SecretKey> {
    let bytes = Zeroizing::new(STANDARD.decode(settings.value(SECRET)).ok()?);
    let secret = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?);
    Some(SecretKey::of(&secret))
}

impl Admin {
    async fn own_key(&self, who: &str) -> Result<SecretKey, AdminError> {
        if let Some(key) = site_key(&self.store.settings()) {
            return Ok(key);
        }
        let mut fresh = Zeroizing::new([0; 32]);
        let random = SystemRandom::new().fill(&mut *fresh);
        random.map_err(|_| AdminError::failed("no-random", &ReceiptError::NoRandom))?;
        let fresh = Zeroizing::new(STANDARD.encode(*fresh));
        // Another operator may make the key at this very moment.
        let first = |settings: &mut Settings| match settings.value(SECRET).is_empty() {
            true => settings.set(SECRET, &fresh),
            false => Ok(()),
        };
        let (_, settings) = self.store.configure(who, first).await.map_err(AdminError::settings)?;
        site_key(&settings).ok_or_else(|| AdminError::failed("no-random", &ReceiptError::NoRandom))
    }

    /// Whether a parcel may be imported here, and whether it was before.
    fn admitted(&self, catalog: &Catalog, parcel: &Parcel) -> Result<(SenderRecord, bool), Refusal> {
        let site = site_key(&self.store.settings()).map(|key| key.public());
        admit(catalog, site.as_ref(), parcel)
    }

    async fn parcel_status(&self, parcel: Parcel) -> Result<ParcelStatus, AdminError> {
        let catalog = self.store.catalog();
        let known = senders(&catalog).into_iter().find(|known| known.key == parcel.sender);
        let imported = known.as_ref().and_then(|known| known.accepted.as_ref());
        let imported = imported.is_some_and(|last| last.parcel == parcel.id());
        let sender = known.map_or_else(|| parcel.sender.to_string(), |known| known.name);
        let store = Arc::clone(&self.store);
        let (lacking, parcel) = off_thread(move || (store.parcels().lacking(&parcel), parcel)).await;
        Ok(ParcelStatus {
            id: parcel.id(),
            sender,
            size: parcel.size(),
            name: parcel.name,
            sequence: parcel.sequence,
            time: parcel.time,
            kind: parcel.kind,
            files: parcel.files,
            lacking,
            imported,
        })
    }

    pub(super) async fn opened(&self, id: String) -> Result<Parcel, AdminError> {
        let store = Arc::clone(&self.store);
        Ok(off_thread(move || store.parcels().open(&id)).await?)
    }
}

/// Answers `WriteReceipt`.
pub(super) async fn receipt(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(_): Given<ReceiptRequest>,
) -> Result<Streamed, AdminError> {
    let key = admin.own_key(&who).await?;
    let catalog = admin.store.catalog();
    let missed = misses_of(&admin).await?;
    let free = admin.room().await.map(|(free, _)| free);
    let file = off_thread(move || {
        let generation = catalog.position.generation;
        let store = catalog.meta.get("internal.store.id").cloned();
        let store = store.unwrap_or_else(|| catalog.base_url.to_string());
        let mut wanted: Vec<String> =
            stores_of(&catalog).into_iter().flat_map(|store| store.missing).collect();
        wanted.sort();
        wanted.dedup();
        wanted.truncate(MOST);
        let mut missed: Vec<String> =
            missed.into_iter().filter(|miss| !miss.held).map(|miss| miss.name).collect();
        missed.sort();
        missed.dedup();
        missed.truncate(MOST);
        let revisions = catalog.snaps().map(|snap| snap.revisions.len() as u64).sum();
        let mut receipt = Receipt::new(key.public(), store, generation, rfc3339(clock::now()));
        receipt.revisions = revisions;
        receipt.channel_map = channel_map(&catalog);
        receipt.free = free;
        receipt.accepted = accepted(&catalog);
        receipt.missed = missed;
        receipt.wanted = wanted;
        receipt.write(&key, &names(&catalog))
    });
    Ok(Streamed(Response::new(Body::from(file.await)).into_response()))
}

/// The last parcels of trusted senders, the latest one last.
fn accepted(catalog: &Catalog) -> Vec<Accepted> {
    let mut accepted: Vec<_> =
        senders(catalog).into_iter().filter_map(|sender| Some((sender.key, sender.accepted?))).collect();
    accepted.sort_by_key(|(_, last)| last.at);
    let shown = |(sender, last): (_, crate::parcels::AcceptedRecord)| Accepted {
        sender,
        sequence: last.sequence,
        parcel: last.parcel,
    };
    accepted.into_iter().map(shown).collect()
}

/// Answers `ShowSiteCode`.
pub(super) async fn code(State(admin): State<Admin>) -> Json<SiteCode> {
    let key = site_key(&admin.store.settings());
    let last = accepted(&admin.store.catalog()).pop();
    Json(SiteCode { code: key.zip(last).map(|(key, last)| code_of(&key.public(), &last.parcel)) })
}

fn shown(catalog: &Catalog) -> Senders {
    let shown = |sender: SenderRecord| Sender {
        name: sender.name,
        key: sender.key,
        sequence: sender.accepted.map(|last| last.sequence),
    };
    Senders { senders: senders(catalog).into_iter().map(shown).collect() }
}

/// Answers `ListSenders`.
pub(super) async fn list_senders(State(admin): State<Admin>) -> Json<Senders> {
    Json(shown(&admin.store.catalog()))
}

/// Answers `AddSender`.
pub(super) async fn add_sender(
    State(admin): State<Admin>,
    Operator(who): Operator,
    body: Body,
) -> Result<Json<Senders>, AdminError> {
    let file = SenderFile::parse(&document(body).await?).map_err(Refusal::from)?;
    admin
        .store
        .change(|catalog| Ok::<_, LedgerError>((plan_sender(catalog, &file, &who, clock::micros())?, ())))
        .await?;
    Ok(Json(shown(&admin.store.catalog())))
}

/// Answers `RemoveSender`.
pub(super) async fn remove_sender(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Path(name): Path<String>,
) -> Result<Json<Senders>, AdminError> {
    admin
        .store
        .change(|catalog| Ok::<_, LedgerError>((plan_removal(catalog, &name, &who, clock::micros())?, ())))
        .await?;
    Ok(Json(shown(&admin.store.catalog())))
}

/// Answers `ListParcels`.
pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Parcels>, AdminError> {
    let store = Arc::clone(&admin.store);
    let begun = off_thread(move || store.parcels().list()).await?;
    let mut parcels = Vec::with_capacity(begun.len());
    for parcel in begun {
        parcels.push(admin.parcel_status(parcel).await?);
    }
    Ok(Json(Parcels { parcels }))
}

/// How a parcel is begun.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ManifestQuery {
    /// The name of the file.
    #[serde(default)]
    file: String,
    /// Whether to begin it once more if it was imported.
    #[serde(default)]
    again: bool,
}

/// Answers `BeginParcel`. A parcel that may not be imported leaves nothing.
pub(super) async fn begin(
    State(admin): State<Admin>,
    Query(query): Query<ManifestQuery>,
    body: Body,
) -> Result<Json<ParcelStatus>, AdminError> {
    let manifest = document(body).await?;
    let parcel = Parcel::read(&manifest).map_err(Refusal::from)?;
    tracing::debug!(file = query.file, parcel = parcel.id(), "Begins a parcel");
    let admitted = admin.admitted(&admin.store.catalog(), &parcel);
    let subject = || format!("{} {}", parcel.name, parcel.id());
    let (_, before) =
        admitted.map_err(|refusal| AdminError::from(refusal).of(true, "push-parcel", subject()))?;
    if before && !query.again {
        // A server that died right after the import has left its parts.
        let (store, read) = (Arc::clone(&admin.store), parcel.clone());
        off_thread(move || store.parcels().drop_up_to(&read)).await?;
        return Ok(Json(admin.parcel_status(parcel).await?));
    }
    let store = Arc::clone(&admin.store);
    let (begun, parcel) = off_thread(move || (store.parcels().begin(&parcel, &manifest), parcel)).await;
    begun?;
    Ok(Json(admin.parcel_status(parcel).await?))
}

/// Which part it is.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct PartQuery {
    /// The name of the file.
    #[serde(default)]
    file: String,
    /// The id of the parcel.
    parcel: String,
    /// The number of the part.
    part: usize,
}

/// Answers `PushPart`.
pub(super) async fn part(
    State(admin): State<Admin>,
    Query(query): Query<PartQuery>,
    body: Body,
) -> Result<Json<ParcelStatus>, AdminError> {
    let parcel = admin.opened(query.parcel).await?;
    tracing::debug!(file = query.file, part = query.part, "Takes in a part of a parcel");
    admin.has_room(body.size_hint().lower()).await?;
    let content = SyncIoBridge::new(reader(body));
    let store = Arc::clone(&admin.store);
    let (taken, parcel) =
        off_thread(move || (store.parcels().take(&parcel, query.part, content), parcel)).await;
    taken?;
    Ok(Json(admin.parcel_status(parcel).await?))
}

/// Answers `ImportParcel`.
pub(super) async fn import(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<ParcelImport>,
) -> Result<Json<PushedArchive>, AdminError> {
    let subject = wanted.parcel.chars().take(80).collect();
    let (id, dry_run) = (wanted.parcel.clone(), wanted.dry_run);
    let done = admin.take_in_parcel(who, wanted).await;
    if let Err(error) = &done
        && !dry_run
        && error.is_final(&MENDED)
        && let Ok(parcel) = admin.opened(id).await
    {
        let store = Arc::clone(&admin.store);
        off_thread(move || store.parcels().drop(&parcel)).await?;
    }
    done.map(Json).map_err(|error| error.of(true, "push-parcel", subject))
}

impl Admin {
    async fn take_in_parcel(&self, who: String, wanted: ParcelImport) -> Result<PushedArchive, AdminError> {
        let parcel = self.opened(wanted.parcel).await?;
        let cx = self.context(who, Some(&parcel.name));
        let (push_channel_map, widen) = (wanted.push_channel_map, wanted.widen);
        let options = ImportOptions { push_channel_map, widen, ..ImportOptions::default() };
        if wanted.dry_run || !self.quarantines(ImportKind::Parcel) {
            let planned = |_: &Catalog, planned| Ok(planned);
            let report =
                self.import_parcel(&parcel, cx, (&options, wanted.dry_run), !wanted.dry_run, planned).await?;
            if !wanted.dry_run {
                let store = Arc::clone(&self.store);
                off_thread(move || store.parcels().drop_up_to(&parcel)).await?;
            }
            return Ok(report);
        }
        let look = |on: &Catalog, planned| Ok(seen(on, planned));
        let planned = self.import_parcel(&parcel, cx.clone(), (&options, false), false, look).await?;
        self.hold(ImportKind::Parcel, (cx, options), Err(parcel.id()), planned).await
    }

    /// Plans the import of a parcel whose parts are here, and commits it as `judge` allows.
    pub(super) async fn import_parcel<T: Send + 'static>(
        &self,
        parcel: &Parcel,
        cx: Context,
        (options, dry_run): (&ImportOptions, bool),
        commits: bool,
        judge: impl Fn(&Catalog, (Change, PushedArchive)) -> Result<(Change, T), ImportError>
        + Send
        + Sync
        + 'static,
    ) -> Result<T, AdminError> {
        let parcel = Arc::new(parcel.clone());
        self.admitted(&self.store.catalog(), &parcel)?;
        let (store, read) = (Arc::clone(&self.store), Arc::clone(&parcel));
        let (lacking, contents) =
            off_thread(move || (store.parcels().lacking(&read), store.parcels().read(&read))).await;
        if !lacking.is_empty() {
            return Err(Refusal::Lacking(lacking).into());
        }
        self.has_room(parcel.whole_size()).await?;
        let received = receive_from(self.store.blobs().clone(), contents, Limits::archive(), true).await?;
        failpoint!("parcel.received");
        let kind = match parcel.kind {
            ParcelKind::Store => ImportKind::Archive,
            ParcelKind::Snaps => ImportKind::Snaps,
        };
        let admin = self.clone();
        let plan = move |on: &Catalog, bundle: &Bundle, options: &SnapOptions, cx: &Context| {
            judge(on, admin.plan_parcel(&parcel, on, bundle, options, cx)?)
        };
        self.adopt(cx, received, snap_options(kind, options, dry_run), !commits, plan).await
    }

    /// As for a bundle or archive that an operator pushed, and the parcel has to be the next one of its sender.
    fn plan_parcel(
        &self,
        parcel: &Parcel,
        on: &Catalog,
        bundle: &Bundle,
        options: &SnapOptions,
        cx: &Context,
    ) -> Result<(Change, PushedArchive), ImportError> {
        let (sender, _) = self.admitted(on, parcel)?;
        holds_what_it_says(parcel, bundle)?;
        let (mut change, report) = match parcel.kind {
            ParcelKind::Store => plan_archive(on, bundle, options, cx)?,
            ParcelKind::Snaps => {
                let (change, pushed) = plan_snaps(on, bundle, options, cx)?;
                let assertions = change.assertions.len();
                let report = PushedArchive {
                    snaps: pushed.snaps,
                    stores: Vec::new(),
                    assertions,
                    visibility: pushed.visibility,
                    warnings: pushed.warnings,
                    waits: None,
                };
                (change, report)
            }
        };
        accept(&mut change, sender, parcel);
        Ok((change, report))
    }
}

/// The rows of the manifest are those of the contents.
fn holds_what_it_says(parcel: &Parcel, bundle: &Bundle) -> Result<(), Refusal> {
    let snaps = bundle.snaps.iter().map(|snap| (&snap.name, &snap.blob));
    let components = bundle.components.iter().map(|component| (&component.name, &component.blob));
    let mut held: Vec<(&str, u64, String)> = snaps
        .chain(components)
        .map(|(name, blob)| (name.as_str(), blob.size, blob.digest.to_hex()))
        .collect();
    let mut said: Vec<(&str, u64, String)> =
        parcel.files.iter().map(|file| (file.name.as_str(), file.size, file.sha3_384.clone())).collect();
    held.sort_unstable();
    said.sort_unstable();
    let differs =
        held.iter().find(|one| !said.contains(one)).or_else(|| said.iter().find(|one| !held.contains(one)));
    differs.map_or(Ok(()), |(name, ..)| Err(Refusal::Contents((*name).to_owned())))
}

/// Answers `DropParcel`.
pub(super) async fn drop_parcel(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<Json<ParcelStatus>, AdminError> {
    let parcel = admin.opened(id).await?;
    let status = admin.parcel_status(parcel.clone()).await?;
    let event = crate::storage::records::AuditEvent::new(
        who,
        "drop-parcel",
        format!("{} {}", status.name, status.id),
    );
    let recorded = admin.store.database().record_event(&event, clock::micros()).await;
    recorded.map_err(|error| AdminError::failed("unavailable", &error))?;
    let store = Arc::clone(&admin.store);
    off_thread(move || store.parcels().drop(&parcel)).await?;
    Ok(Json(status))
}
