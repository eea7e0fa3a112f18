//! Imports that wait until other people have approved them: kept when they are pushed, shown, and released or refused.

use std::io::{BufReader, Read as _};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{Path, State};
use schema::api::admin::{
    ImportKind, ImportOptions, ImportPlan, ImportRelease, PushedArchive, PushedAssertions, PushedSnaps,
    PushedStores, StreamKind, WaitingImport, WaitingImports, Waits,
};
use schema::bundle::Limits;
use schema::config::Quarantine as Waiting;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::error::AdminError;
use super::given::Given;
use super::{Admin, Operator};
use crate::approvals::{self, Answer, ApprovalError, Ask, Kind, state_of};
use crate::catalog::Catalog;
use crate::clock;
use crate::fleet::written;
use crate::imports::{
    Bundle, Context, ImportError, SnapOptions, Stream, Views, plan_archive, plan_assertions,
    plan_replacement, plan_snaps, plan_stores, receive_from, shown,
};
use crate::parcels::{Held, Refusal};
use crate::storage::approvals::{ApprovalRecord, ApprovalState};
use crate::storage::records::{AuditEvent, Change};
use crate::store::off_thread;

/// How many requests for approval are looked through for those of imports.
const REQUESTS: u32 = 5000;
/// How many entries of each list the request for approval repeats.
const BRIEF: usize = 50;

/// Why an import is not released.
#[derive(Debug, thiserror::Error)]
enum ReleaseError {
    #[error(
        "the store has changed since the import was pushed, and it would change something else now: `proxy imports show {0}` \
         shows it, and it has to be approved anew"
    )]
    Changed(String),
    #[error(
        "the file that is kept of the import is not the one that was pushed: `proxy imports refuse {0}` removes it"
    )]
    Altered(String),
}

/// The options of an import as its plan takes them.
pub(super) fn snap_options(kind: ImportKind, options: &ImportOptions, dry_run: bool) -> SnapOptions {
    SnapOptions {
        store: options.store.clone(),
        push_channel_map: options.push_channel_map,
        synchronise: kind == ImportKind::Archive,
        views: Views { widen: options.widen.clone(), dry_run },
        ..SnapOptions::default()
    }
}

/// The limits of an import that is decoded.
pub(super) fn limits(kind: ImportKind) -> Limits {
    match kind {
        ImportKind::Snaps => Limits::default(),
        _ => Limits::archive(),
    }
}

/// The answer to a push, which can say that it waits.
pub(super) trait Report {
    fn waits(&mut self, waits: Waits);
}

macro_rules! reports {
    ($($name:ty),*) => {
        $(impl Report for $name {
            fn waits(&mut self, waits: Waits) {
                self.waits = Some(waits);
            }
        })*
    };
}
reports!(PushedArchive, PushedAssertions, PushedSnaps, PushedStores);

/// What a plan would change, and of which file it was made.
pub(super) struct Seen {
    plan: ImportPlan,
    sha256: String,
}

/// Looks at what was planned.
pub(super) fn seen<T>(on: &Catalog, (change, report): (Change, T)) -> (Change, (T, Seen)) {
    let seen = Seen { plan: shown(on, &change), sha256: file_of(&change) };
    (change, (report, seen))
}

fn file_of(change: &Change) -> String {
    change.import.as_ref().map(|import| import.file_digest.clone()).unwrap_or_default()
}

/// Lets exactly that be committed which was approved.
#[derive(Clone)]
pub(super) struct Grant {
    held: Arc<Held>,
    approval: (i64, String),
    /// What would be changed instead.
    other: Arc<Mutex<Option<ImportPlan>>>,
}

impl Grant {
    pub(super) fn judge<T>(
        &self,
        on: &Catalog,
        (mut change, report): (Change, T),
    ) -> Result<(Change, T), ImportError> {
        let id = self.held.id();
        let refuse = |code, cause: ReleaseError| Err(ImportError::Parcel { code, cause: cause.into() });
        if file_of(&change) != self.held.sha256 {
            return refuse("import-altered", ReleaseError::Altered(id));
        }
        let plan = shown(on, &change);
        if plan != self.held.plan {
            *self.other.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan);
            return refuse("import-changed", ReleaseError::Changed(id));
        }
        change.approval = Some(self.approval.clone());
        change.audit.detail["waited"] =
            json!({ "import": id, "pushed-by": self.held.who, "approval": self.approval.0 });
        Ok((change, report))
    }
}

impl Admin {
    /// Whether an import of this kind waits for approvals.
    pub(super) fn quarantines(&self, kind: ImportKind) -> bool {
        match self.store.settings().imports.quarantine {
            Waiting::Off => false,
            Waiting::Parcels => kind == ImportKind::Parcel,
            Waiting::All => true,
        }
    }

    /// A file in which what is pushed is kept.
    pub(super) async fn content(&self) -> Result<NamedTempFile, AdminError> {
        let store = Arc::clone(&self.store);
        Ok(off_thread(move || store.quarantine().receive()).await?)
    }

    /// Keeps an import that was verified and planned, and asks for approvals. No device sees anything of it.
    pub(super) async fn hold<T: Report>(
        &self,
        kind: ImportKind,
        (cx, options): (Context, ImportOptions),
        content: Result<NamedTempFile, String>,
        (mut report, seen): (T, Seen),
    ) -> Result<T, AdminError> {
        let (content, parcel) = match content {
            Ok(content) => (Some(content), None),
            Err(parcel) => (None, Some(parcel)),
        };
        let held = Held {
            kind,
            file: cx.file_name,
            sha256: seen.sha256,
            parcel,
            who: cx.who,
            at: clock::micros(),
            options,
            plan: seen.plan,
        };
        let (store, kept) = (Arc::clone(&self.store), held.clone());
        off_thread(move || store.quarantine().keep(&kept, content)).await?;
        let (request, approved) = match self.ask(&held).await? {
            Answer::Waiting(id) => (id, false),
            Answer::Approved(id) => (id.unwrap_or_default(), true),
            Answer::Refused(id) => return Err(self.refused(&held, id).await?),
        };
        failpoint!("quarantine.asked");
        report.waits(Waits { import: held.id(), request, approved });
        Ok(report)
    }

    /// Asks for approvals on behalf of whoever pushed it.
    async fn ask(&self, held: &Held) -> Result<Answer, AdminError> {
        let ask = Ask {
            kind: Kind::Import,
            subject: held.id(),
            digest: held.digest(),
            needed: self.store.settings().imports.approvals,
            who: &held.who,
            detail: brief(held),
        };
        Ok(approvals::ask(self.store.database(), ask).await?)
    }

    /// Forgets an import that somebody refused.
    async fn refused(&self, held: &Held, request: i64) -> Result<AdminError, AdminError> {
        self.forget(held).await?;
        Ok(ApprovalError::Refused(request).into())
    }

    /// Removes everything that is kept of an import, and ends its request if that has not ended.
    async fn forget(&self, held: &Held) -> Result<(), AdminError> {
        approvals::withdraw(self.store.database(), Kind::Import, &held.digest()).await?;
        let (store, held) = (Arc::clone(&self.store), held.clone());
        let removed = off_thread(move || {
            if let Some(Ok(parcel)) = held.parcel.as_deref().map(|id| store.parcels().open(id)) {
                store.parcels().drop(&parcel)?;
            }
            store.quarantine().drop(&held)
        });
        Ok(removed.await?)
    }

    /// The imports that wait, each with its last request for approval. One that was refused, or released by a server that died
    /// then, is forgotten.
    pub(super) async fn waiting(&self) -> Result<Vec<(Held, Option<ApprovalRecord>)>, AdminError> {
        let store = Arc::clone(&self.store);
        let all = off_thread(move || {
            let all = store.quarantine().list()?;
            // The parts of a parcel go with a newer one of its sender.
            let is_whole =
                |held: &Held| held.parcel.as_deref().is_none_or(|id| store.parcels().open(id).is_ok());
            Ok::<_, AdminError>(all.into_iter().map(|held| (is_whole(&held), held)).collect::<Vec<_>>())
        });
        let all = all.await?;
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let requests = self.store.database().approvals(None, REQUESTS).await.map_err(ApprovalError::from)?;
        let mut waiting = Vec::with_capacity(all.len());
        for (is_whole, held) in all {
            let digest = held.digest();
            let is_of =
                |one: &&ApprovalRecord| one.asked.kind == Kind::Import.as_str() && one.asked.digest == digest;
            let request = requests.iter().find(is_of);
            let is_over =
                |one: &ApprovalRecord| matches!(one.state, ApprovalState::Used | ApprovalState::Refused);
            match !is_whole || request.is_some_and(is_over) {
                true => self.forget(&held).await?,
                false => waiting.push((held, request.cloned())),
            }
        }
        Ok(waiting)
    }

    async fn waiting_import(&self, id: &str) -> Result<(Held, Option<ApprovalRecord>), AdminError> {
        let found = self.waiting().await?.into_iter().find(|(held, _)| held.id() == id);
        found.ok_or_else(|| Refusal::NotWaiting(id.chars().take(80).collect()).into())
    }

    async fn release(&self, who: String, id: &str) -> Result<WaitingImport, AdminError> {
        let (held, _) = self.waiting_import(id).await?;
        let approval = match self.ask(&held).await? {
            Answer::Approved(id) => id.unwrap_or_default(),
            Answer::Waiting(id) => {
                return Err(AdminError::waits(id, self.store.settings().imports.approvals));
            }
            Answer::Refused(id) => return Err(self.refused(&held, id).await?),
        };
        let grant = Grant {
            approval: (approval, held.digest()),
            held: Arc::new(held.clone()),
            other: Arc::default(),
        };
        let released = self.carry_out(&held, &grant, self.context(who, held.file.as_deref())).await;
        let other = grant.other.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Err(_), Some(plan)) = (&released, other) {
            let (store, anew) = (Arc::clone(&self.store), Held { plan, ..held.clone() });
            off_thread(move || store.quarantine().keep(&anew, None)).await?;
            approvals::withdraw(self.store.database(), Kind::Import, &held.digest()).await?;
        }
        released?;
        failpoint!("quarantine.released");
        self.forget(&held).await?;
        Ok(told(&held, None, "released"))
    }

    async fn carry_out(&self, held: &Held, grant: &Grant, cx: Context) -> Result<(), AdminError> {
        let (store, kept) = (Arc::clone(&self.store), held.clone());
        if let Some(parcel) = held.parcel.clone() {
            let (parcel, grant) = (self.opened(parcel).await?, grant.clone());
            let judge = move |on: &Catalog, planned: (Change, PushedArchive)| grant.judge(on, planned);
            let _ = self.import_parcel(&parcel, cx, (&held.options, false), true, judge).await?;
            return Ok(off_thread(move || store.parcels().drop_up_to(&parcel)).await?);
        }
        let mut content = off_thread(move || store.quarantine().content(&kept)).await?;
        match held.kind {
            ImportKind::Snaps | ImportKind::Parcel => {
                let plan = |on: &Catalog, bundle: &Bundle, options: &SnapOptions, cx: &Context| {
                    plan_snaps(on, bundle, options, cx).map(|(change, _)| change)
                };
                self.carry_out_bundle(held, grant, cx, content, plan).await
            }
            ImportKind::Archive => {
                let plan = |on: &Catalog, bundle: &Bundle, options: &SnapOptions, cx: &Context| {
                    plan_archive(on, bundle, options, cx).map(|(change, _)| change)
                };
                self.carry_out_bundle(held, grant, cx, content, plan).await
            }
            ImportKind::Assertions | ImportKind::Stores => {
                let mut bytes = Vec::new();
                let bytes = off_thread(move || content.read_to_end(&mut bytes).map(|_| bytes)).await;
                let bytes = bytes.map_err(ImportError::Internal)?;
                self.carry_out_document(held, grant, cx, bytes).await
            }
        }
    }

    async fn carry_out_bundle(
        &self,
        held: &Held,
        grant: &Grant,
        cx: Context,
        content: std::fs::File,
        plan: fn(&Catalog, &Bundle, &SnapOptions, &Context) -> Result<Change, ImportError>,
    ) -> Result<(), AdminError> {
        let blobs = self.store.blobs().clone();
        let content = BufReader::with_capacity(256 << 10, content);
        let received = receive_from(blobs, content, limits(held.kind), false).await?;
        let grant = grant.clone();
        let judged = move |on: &Catalog, bundle: &Bundle, options: &SnapOptions, cx: &Context| {
            grant.judge(on, (plan(on, bundle, options, cx)?, ()))
        };
        self.adopt(cx, received, snap_options(held.kind, &held.options, false), false, judged).await
    }

    async fn carry_out_document(
        &self,
        held: &Held,
        grant: &Grant,
        cx: Context,
        bytes: Vec<u8>,
    ) -> Result<(), AdminError> {
        let (grant, who) = (grant.clone(), cx.who.clone());
        let views = Views { widen: held.options.widen.clone(), dry_run: false };
        match (held.options.stream, held.options.replace.clone()) {
            (Some(_), Some(name)) => {
                let plan =
                    move |on: &Catalog| grant.judge(on, plan_replacement(on, &bytes, &name, &views, &cx)?);
                let _ = self.import(plan).await?;
            }
            (Some(kind), None) => {
                let (catalog, judged) = (self.store.catalog(), cx.clone());
                let stream = off_thread(move || Stream::check(&*catalog, &bytes, &judged)).await?;
                let plan =
                    move |on: &Catalog| grant.judge(on, plan_assertions(on, &stream, kind, &views, &cx)?);
                let _ = self.import(plan).await?;
                if kind == StreamKind::Registration {
                    self.take_registration(&who).await?;
                }
            }
            (None, _) => {
                let plan = move |on: &Catalog| grant.judge(on, plan_stores(on, &bytes, &views, &cx)?);
                let _ = self.import(plan).await?;
            }
        }
        Ok(())
    }
}

/// What the request for approval says of an import; `imports show` says everything.
fn brief(held: &Held) -> Value {
    let mut plan = json!(held.plan);
    for list in plan.as_object_mut().into_iter().flat_map(|lists| lists.values_mut()) {
        if let Some(list) = list.as_array_mut()
            && list.len() > BRIEF
        {
            let more = list.len() - BRIEF;
            list.truncate(BRIEF);
            list.push(format!("and {more} more: `proxy imports show {}`", held.id()).into());
        }
    }
    json!({ "import": held.id(), "kind": held.kind, "file": held.file, "sha256": held.sha256, "plan": plan })
}

fn told(held: &Held, request: Option<&ApprovalRecord>, state: &str) -> WaitingImport {
    WaitingImport {
        id: held.id(),
        kind: held.kind,
        file: held.file.clone(),
        sha256: held.sha256.clone(),
        pushed_by: held.who.clone(),
        pushed: written(held.at),
        options: held.options.clone(),
        request: request.map(|request| request.id),
        state: state.to_owned(),
        digest: held.digest(),
        plan: held.plan.clone(),
    }
}

fn with_state(held: &Held, request: Option<&ApprovalRecord>) -> WaitingImport {
    let of = |request: &ApprovalRecord| state_of(request, clock::micros());
    match request.map(|request| (request, of(request))) {
        Some((request, state @ ("waiting" | "approved"))) => told(held, Some(request), state),
        _ => told(held, None, "not-asked"),
    }
}

/// Answers `ListWaitingImports`.
pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<WaitingImports>, AdminError> {
    let waiting = admin.waiting().await?;
    let imports = waiting.iter().map(|(held, request)| with_state(held, request.as_ref())).collect();
    Ok(Json(WaitingImports { imports }))
}

/// Answers `ShowWaitingImport`.
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(id): Path<String>,
) -> Result<Json<WaitingImport>, AdminError> {
    let (held, request) = admin.waiting_import(&id).await?;
    Ok(Json(with_state(&held, request.as_ref())))
}

/// Answers `ReleaseImport`.
pub(super) async fn release(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<ImportRelease>,
) -> Result<Json<WaitingImport>, AdminError> {
    let released = admin.release(who, &wanted.import).await;
    let subject = wanted.import.chars().take(80).collect();
    released.map(Json).map_err(|error| error.of(true, "release-import", subject))
}

/// Answers `RefuseImport`.
pub(super) async fn refuse(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<Json<WaitingImport>, AdminError> {
    let (held, request) = admin.waiting_import(&id).await?;
    let event = AuditEvent::new(who.clone(), "refuse-import", id).detail(brief(&held));
    let recorded = admin.store.database().record_event(&event, clock::micros()).await;
    recorded.map_err(|error| AdminError::failed("unavailable", &error))?;
    failpoint!("quarantine.refused");
    let shown = with_state(&held, request.as_ref());
    if let Some(request) = shown.request {
        let store = &admin.store;
        let decided = approvals::decide(store.database(), &store.catalog(), request, &who, false, None).await;
        // It may have ended at this very moment.
        match decided {
            Ok(_) | Err(ApprovalError::Over(..) | ApprovalError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    admin.forget(&held).await?;
    Ok(Json(told(&held, None, "refused")))
}
