//! Imports from the operator, streamed from the socket.

use std::io::{self, Write as _};
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Path, State};
use futures_util::TryStreamExt as _;
use rustix::fs::statvfs;
use schema::api::admin::{
    ImportKind, ImportOptions, PushedArchive, PushedAssertions, PushedSnaps, PushedStores, StreamKind,
    TrustAnchors,
};
use schema::assertion::KeyTime;
use schema::bundle::Limits;
use schema::config::Backend;
use schema::digest::Sha3_384;
use schema::store::StoreId;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::io::AsyncRead;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::error::AdminError;
use super::given::Query;
use super::refusals::shown;
use super::waiting::{Report, limits, seen, snap_options};
use super::{Admin, Operator};
use crate::catalog::Catalog;
use crate::cleanup::take_back;
use crate::clock;
use crate::imports::{
    Bundle, Context, ImportError, KnownState, Received, SnapOptions, Stream, Views, plan_archive,
    plan_assertions, plan_replacement, plan_snaps, plan_stores, plan_trust, plan_trust_removal,
    read_document, receive, receive_from,
};
use crate::parcels::Quarantine;
use crate::site::ConfigureError;
use crate::storage::blobs::{Published, Staged};
use crate::storage::error::CommitError;
use crate::storage::records::Change;
use crate::store::off_thread;

/// How often files are published again that another server's clean-up removes before the commit.
pub(super) const TRIES: u32 = 8;

/// The registration is stored, but the settings could not be updated from it.
#[derive(Debug, thiserror::Error)]
#[error("cannot take the registration into the settings, although it is kept: run it again")]
struct NotTaken(#[source] ConfigureError);

impl Admin {
    pub(super) fn context(&self, who: String, file: Option<&str>) -> Context {
        let now = clock::now();
        let strict = self.store.settings().device_auth.strict_key_expiry;
        let keys = if strict { KeyTime::Strict { now } } else { KeyTime::DocumentTime };
        Context { who, now, keys, file_name: file.map(shown) }
    }

    /// Refuses a file that cannot fit, before its first byte is read.
    pub(super) async fn has_room(&self, size: u64) -> Result<(), ImportError> {
        // Where the file system does not answer, the import tells.
        match self.room().await {
            Some((free, folder)) if free < size => Err(ImportError::NoRoom { size, folder, free }),
            _ => Ok(()),
        }
    }

    /// Refuses files as long as the next start looks for them in another place.
    fn keeps_files(&self) -> Result<(), ImportError> {
        self.store.next_place().map_or(Ok(()), |next| Err(ImportError::Moving(next)))
    }

    /// Free bytes where files are kept, and where that is.
    pub(super) async fn room(&self) -> Option<(u64, String)> {
        let settings = self.store.settings();
        let folder = match (settings.storage.backend, &settings.storage.path) {
            (Backend::Local, Some(path)) => path.clone(),
            _ => self.store.data_dir().to_owned(),
        };
        let shown = folder.display().to_string();
        let about = off_thread(move || statvfs(&folder).ok()).await?;
        Some((about.f_bavail * about.f_frsize, shown))
    }

    /// Copies the stored registration into the settings.
    pub(super) async fn take_registration(&self, who: &str) -> Result<(), AdminError> {
        let catalog = self.store.catalog();
        let fact =
            |name: &'static str| (name, catalog.meta.get(name).map(String::as_str).unwrap_or_default());
        let facts = [fact("internal.store.id"), fact("internal.store.url")];
        let taken = self.store.configure(who, |settings| settings.set_all(facts)).await;
        taken.map(drop).map_err(|error| AdminError::failed("unknown-outcome", &NotTaken(error)))
    }

    /// Imports a bundle or archive as `plan` decides; a dry run ends with the plan.
    async fn take_in<T: Report + Send + 'static>(
        &self,
        kind: ImportKind,
        (cx, options): (Context, ImportOptions),
        body: Body,
        dry_run: bool,
        plan: Plan<T>,
    ) -> Result<Json<T>, AdminError> {
        let (size, blobs, limits) = (body.size_hint().lower(), self.store.blobs().clone(), limits(kind));
        let how = snap_options(kind, &options, dry_run);
        if !dry_run {
            self.keeps_files()?;
        }
        if dry_run || !self.quarantines(kind) {
            self.has_room(size).await?;
            let received = receive(blobs, reader(body), limits).await?;
            failpoint!("import.received");
            let plan = move |on: &Catalog, bundle: &Bundle, options: &SnapOptions, cx: &Context| {
                plan(on, bundle, options, cx)
            };
            return self.adopt(cx, received, how, dry_run, plan).await.map(Json);
        }
        // What waits is kept as it came, and its files are staged to be looked at.
        self.has_room(size.saturating_mul(2)).await?;
        let content = self.content().await?;
        let copy = content.reopen().map_err(ImportError::Internal)?;
        let body = Quarantine::copying(SyncIoBridge::new(reader(body)), copy);
        let received = receive_from(blobs, body, limits, false).await?;
        let plan = move |on: &Catalog, bundle: &Bundle, options: &SnapOptions, cx: &Context| {
            Ok(seen(on, plan(on, bundle, options, cx)?))
        };
        let planned = self.adopt(cx.clone(), received, how, true, plan).await?;
        self.hold(kind, (cx, options), Ok(content), planned).await.map(Json)
    }

    /// Plans the import of a document on what is held, and keeps it until it is approved.
    async fn hold_document<T: Report>(
        &self,
        kind: ImportKind,
        (cx, options): (Context, ImportOptions),
        bytes: Vec<u8>,
        planned: impl FnOnce(&Catalog) -> Result<(Change, T), ImportError>,
    ) -> Result<Json<T>, AdminError> {
        let catalog = self.store.catalog();
        let (_, planned) = seen(&catalog, planned(&catalog)?);
        let mut content = self.content().await?;
        let written = off_thread(move || content.write_all(&bytes).map(|()| content)).await;
        let content = written.map_err(ImportError::Internal)?;
        self.hold(kind, (cx, options), Ok(content), planned).await.map(Json)
    }

    /// Imports what was received as `plan` decides; a dry run ends with the plan.
    pub(super) async fn adopt<T: Send + 'static>(
        &self,
        cx: Context,
        received: Received,
        mut options: SnapOptions,
        dry_run: bool,
        plan: impl Fn(&Catalog, &Bundle, &SnapOptions, &Context) -> Result<(Change, T), ImportError>
        + Send
        + Sync
        + 'static,
    ) -> Result<T, AdminError> {
        let store = &self.store;
        let (bundle, staged) = self.inspect(received, &cx).await?;
        let before = store.database().find_import(&bundle.file_digest).await;
        options.imported_before = before.map_err(ImportError::from)?.is_some();
        // The plan refuses before any file gets its name.
        let plan = Arc::new(move |on: &Catalog| plan(on, &bundle, &options, &cx));
        let (first, catalog) = (Arc::clone(&plan), store.catalog());
        let (_, report) = off_thread(move || first(&catalog)).await?;
        if dry_run {
            return Ok(report);
        }
        failpoint!("import.planned");
        let mut named = Vec::new();
        let done = async {
            let _no_clean_up = store.naming().read().await;
            let mut files = staged;
            let mut tries = 0;
            loop {
                tries += 1;
                files = self.put_in_place(files, &mut named).await?;
                failpoint!("import.named");
                match store.import(&files, &plan).await {
                    // Another server's clean-up removed a file: publish the staged one again.
                    Err(ImportError::Commit(CommitError::FileGone)) if tries < TRIES => {}
                    done => return done,
                }
            }
        };
        match done.await {
            Ok(report) => Ok(report),
            // A refused import leaves no files; one that may have been committed keeps them.
            Err(failure @ ImportError::Commit(CommitError::Unknown(_))) => Err(failure.into()),
            Err(failure) => {
                take_back(store, &named).await;
                Err(failure.into())
            }
        }
    }

    /// Publishes files, replacing damaged ones, and records which names are `new`. Files that already have their name
    /// are skipped.
    pub(super) async fn put_in_place(
        &self,
        files: Vec<Staged>,
        new: &mut Vec<Sha3_384>,
    ) -> Result<Vec<Staged>, ImportError> {
        if !files.is_empty() {
            self.keeps_files()?;
        }
        let mut placed = Vec::with_capacity(files.len());
        for mut file in files {
            if !file.stands().await? {
                let published;
                (file, published) = file.publish().await?;
                let digest = file.record().digest;
                if published == Published::New {
                    new.push(digest);
                }
                if let Some(blob) = self.store.catalog().blob(&digest) {
                    blob.checks.look_anew();
                }
            }
            placed.push(file);
        }
        Ok(placed)
    }

    /// Verifies what was received and opens its files.
    pub(super) async fn inspect(
        &self,
        received: Received,
        cx: &Context,
    ) -> Result<(Bundle, Vec<Staged>), ImportError> {
        let (catalog, cx) = (self.store.catalog(), cx.clone());
        off_thread(move || received.verify(&*catalog, &cx)).await?.inspect().await
    }

    pub(super) async fn import<T: Send + 'static>(
        &self,
        plan: impl Fn(&Catalog) -> Result<(Change, T), ImportError> + Send + Sync + 'static,
    ) -> Result<Json<T>, AdminError> {
        Ok(Json(self.store.import(&[], &Arc::new(plan)).await?))
    }
}

/// The planning function for a bundle or archive.
type Plan<T> = fn(&dyn KnownState, &Bundle, &SnapOptions, &Context) -> Result<(Change, T), ImportError>;

/// Options for pushing a bundle.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct BundleQuery {
    /// The name of the file, for the audit log.
    #[serde(default)]
    file: Option<String>,
    /// Apply the bundle's channels also where they lead to a lower revision, close, or undo an on-site decision.
    #[serde(default)]
    push_channel_map: bool,
    /// Only report what would change.
    #[serde(default)]
    dry_run: bool,
    /// The store to push for, instead of the bundle's.
    #[serde(default)]
    store: Option<StoreId>,
    /// Comma-separated names or ids of snaps that more devices may see.
    #[serde(default)]
    widen: String,
}

impl BundleQuery {
    fn options(&self) -> ImportOptions {
        let (store, push_channel_map) = (self.store.clone(), self.push_channel_map);
        ImportOptions { store, push_channel_map, widen: names(&self.widen), ..ImportOptions::default() }
    }
}

/// The names in a list with commas.
fn names(list: &str) -> Vec<String> {
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Answers `PushSnaps`.
pub(super) async fn snaps(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Query(query): Query<BundleQuery>,
    body: Body,
) -> Result<Json<PushedSnaps>, AdminError> {
    let how = (admin.context(who, query.file.as_deref()), query.options());
    admin.take_in(ImportKind::Snaps, how, body, query.dry_run, plan_snaps).await
}

/// Answers `PushArchive`.
pub(super) async fn archive(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Query(query): Query<BundleQuery>,
    body: Body,
) -> Result<Json<PushedArchive>, AdminError> {
    let how = (admin.context(who, query.file.as_deref()), query.options());
    admin.take_in(ImportKind::Archive, how, body, query.dry_run, plan_archive).await
}

/// Options for pushing a stream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct StreamQuery {
    /// The name of the file, for the audit log.
    #[serde(default)]
    file: Option<String>,
    /// Decides which types it must and may contain.
    #[serde(rename = "as")]
    kind: StreamKind,
    /// An assertion of the stream, as `TYPE/KEY`, that may replace a higher revision.
    #[serde(default)]
    replace: Option<String>,
    /// Only say what would be done.
    #[serde(default)]
    dry_run: bool,
    /// Names or ids of snaps, separated by commas, that others may see from now on.
    #[serde(default)]
    widen: String,
}

/// Answers `PushAssertions`.
pub(super) async fn assertions(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Query(query): Query<StreamQuery>,
    body: Body,
) -> Result<Json<PushedAssertions>, AdminError> {
    let cx = admin.context(who.clone(), query.file.as_deref());
    let views = Views { widen: names(&query.widen), dry_run: query.dry_run };
    let waits = !query.dry_run && admin.quarantines(ImportKind::Assertions);
    let options = ImportOptions {
        widen: views.widen.clone(),
        stream: Some(query.kind),
        replace: query.replace.clone(),
        ..ImportOptions::default()
    };
    let bytes = document(body).await?;
    if let Some(name) = query.replace {
        if waits {
            let (kept, how) = (bytes.clone(), (cx.clone(), options));
            let plan = move |on: &Catalog| plan_replacement(on, &bytes, &name, &views, &cx);
            return admin.hold_document(ImportKind::Assertions, how, kept, plan).await;
        }
        let plan = move |catalog: &Catalog| plan_replacement(catalog, &bytes, &name, &views, &cx);
        return match query.dry_run {
            true => Ok(Json(plan(&admin.store.catalog())?.1)),
            false => admin.import(plan).await,
        };
    }
    let (catalog, judged) = (admin.store.catalog(), cx.clone());
    let (stream, bytes) = off_thread(move || (Stream::check(&*catalog, &bytes, &judged), bytes)).await;
    let (stream, kind, how) = (stream?, query.kind, (cx.clone(), options));
    let plan = move |catalog: &Catalog| plan_assertions(catalog, &stream, kind, &views, &cx);
    if query.dry_run {
        return Ok(Json(plan(&admin.store.catalog())?.1));
    }
    if waits {
        return admin.hold_document(ImportKind::Assertions, how, bytes, plan).await;
    }
    let report = admin.import(plan).await?;
    if kind == StreamKind::Registration {
        admin.take_registration(&who).await?;
    }
    Ok(report)
}

/// Options for pushing store metadata.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct StoresQuery {
    /// The name of the file, for the audit log.
    #[serde(default)]
    file: Option<String>,
    /// Only report what would change.
    #[serde(default)]
    dry_run: bool,
    /// Comma-separated names or ids of snaps that more devices may see.
    #[serde(default)]
    widen: String,
}

/// Answers `PushStores`.
pub(super) async fn stores(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Query(query): Query<StoresQuery>,
    body: Body,
) -> Result<Json<PushedStores>, AdminError> {
    let cx = admin.context(who, query.file.as_deref());
    let views = Views { widen: names(&query.widen), dry_run: query.dry_run };
    let bytes = document(body).await?;
    if query.dry_run {
        return Ok(Json(plan_stores(&*admin.store.catalog(), &bytes, &views, &cx)?.1));
    }
    if admin.quarantines(ImportKind::Stores) {
        let options = ImportOptions { widen: views.widen.clone(), ..ImportOptions::default() };
        let (kept, how) = (bytes.clone(), (cx.clone(), options));
        let plan = move |on: &Catalog| plan_stores(on, &bytes, &views, &cx);
        return admin.hold_document(ImportKind::Stores, how, kept, plan).await;
    }
    admin.import(move |catalog| plan_stores(catalog, &bytes, &views, &cx)).await
}

/// Answers `AddTrust`.
pub(super) async fn trust(
    State(admin): State<Admin>,
    Operator(who): Operator,
    body: Body,
) -> Result<Json<TrustAnchors>, AdminError> {
    let cx = admin.context(who, None);
    let bytes = document(body).await?;
    admin.import(move |catalog| plan_trust(catalog, &bytes, &cx)).await
}

/// Answers `RemoveTrust`.
pub(super) async fn distrust(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Path(fingerprint): Path<String>,
) -> Result<Json<TrustAnchors>, AdminError> {
    let cx = admin.context(who, None);
    admin.import(move |catalog| plan_trust_removal(catalog, &fingerprint, &cx)).await
}

pub(super) async fn document(body: Body) -> Result<Vec<u8>, ImportError> {
    read_document(reader(body), Limits::default()).await
}

pub(super) fn reader(body: Body) -> impl AsyncRead + Send + Unpin + 'static {
    StreamReader::new(body.into_data_stream().map_err(io::Error::other).map_ok(Bytes::from))
}
