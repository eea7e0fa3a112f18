//! *Imports that wait*: what one changes for devices once it is released, next to what the store holds, and the forms that decide about it.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use schema::api::admin::calls::{
    Call, DecideApproval, ListWaitingImports, RefuseImport, ReleaseImport, ShowWaitingImport,
};
use schema::api::admin::{ApprovalDecision, ImportRelease, PlannedRevision, WaitingImport};

use super::ask::{self, Refusal};
use super::frame::{self, Frame, show};
use super::shown::{self, query};
use super::texts::ENGLISH;
use super::visit::{Fields, Visit};

/// Revisions on the page, and lines of each other list.
const MOST: usize = 100;

/// Lines of one kind.
struct Part {
    title: &'static str,
    lines: Vec<String>,
    /// How many there are besides.
    more: usize,
}

#[derive(Template)]
#[template(path = "waiting.html")]
struct WaitingPage {
    f: Frame,
    import: WaitingImport,
    parts: Vec<Part>,
}

/// Where an import that waits is shown.
pub(super) fn page_of(id: &str) -> String {
    format!("/pages/waiting?{}", query([("import", id)]))
}

/// Those that wait, as far as the visitor may see them.
pub(super) async fn all(visit: &Visit) -> Result<Vec<WaitingImport>, Response> {
    match visit.ask::<ListWaitingImports>("").await {
        Ok(found) => Ok(found.imports),
        Err(refusal) if refusal.status() == StatusCode::FORBIDDEN => Ok(Vec::new()),
        Err(refusal) => Err(refusal),
    }
}

/// The page of one.
pub(super) async fn page(visit: Visit) -> Response {
    let import = match find(&visit, &visit.value("import")).await {
        Ok(import) => import,
        Err(refusal) => return super::visit::refused(refusal),
    };
    let parts = parts(&import);
    show(&WaitingPage { f: visit.frame("imports", ENGLISH.waiting_import), import, parts })
}

async fn find(visit: &Visit, id: &str) -> Result<WaitingImport, Refusal> {
    ask::ask::<ShowWaitingImport>(&visit.pages.api, &visit.visitor, path::<ShowWaitingImport>(id)).await
}

/// The path of a call about an import; its id may be any text.
fn path<C: Call>(id: &str) -> String {
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).take(80).collect();
    C::path_of(if id.is_empty() { "-" } else { &id })
}

fn parts(import: &WaitingImport) -> Vec<Part> {
    let (t, plan) = (&ENGLISH, &import.plan);
    let grants = plan.grants.iter().flat_map(|grants| {
        let of = |sign: &'static str, names: &[String]| {
            names.iter().map(move |name| format!("{} {sign}{name}", grants.store)).collect::<Vec<_>>()
        };
        let both = [of("+", &grants.added), of("−", &grants.removed)].concat();
        if both.is_empty() { vec![format!("{} ({})", grants.store, t.new_store)] } else { both }
    });
    let options = &import.options;
    let options = [
        options.store.as_ref().map(|store| format!("--store {store}")),
        options.push_channel_map.then(|| "--push-channel-map".to_owned()),
        options.replace.as_ref().map(|name| format!("--replace {name}")),
    ];
    let options = options
        .into_iter()
        .flatten()
        .chain(import.options.widen.iter().map(|name| format!("--widen {name}")));
    [
        (t.moved_channels, plan.channels.clone()),
        (t.changed_grants, grants.collect()),
        (t.account_keys, plan.keys.clone()),
        (t.who_sees_what, plan.visibility.clone()),
        (t.assertions, plan.assertions.clone()),
        (t.gone_assertions, plan.removed.clone()),
        (t.options, options.collect()),
    ]
    .into_iter()
    .filter(|(_, lines)| !lines.is_empty())
    .map(|(title, mut lines)| {
        let more = lines.len().saturating_sub(MOST);
        lines.truncate(MOST);
        Part { title, lines, more }
    })
    .collect()
}

impl WaitingPage {
    /// Revisions that the page shows.
    fn revisions(&self) -> &[PlannedRevision] {
        &self.import.plan.revisions[..self.import.plan.revisions.len().min(MOST)]
    }

    fn more_revisions(&self) -> usize {
        self.import.plan.revisions.len().saturating_sub(MOST)
    }

    /// By how much a revision is larger or smaller than the one before it.
    fn growth(&self, new: &PlannedRevision) -> String {
        let Some(before) = new.size_before.filter(|before| *before != new.size) else {
            return String::new();
        };
        let sign = if new.size >= before { "+" } else { "−" };
        format!("{sign}{}", shown::bytes(new.size.abs_diff(before)))
    }

    fn state_class(&self) -> &'static str {
        state_class(&self.import)
    }

    fn standing(&self) -> String {
        standing(&self.import)
    }

    fn is_own(&self) -> bool {
        self.f.who.as_deref() == Some(&*self.import.pushed_by)
    }

    /// Whether the visitor may be asked; the server decides, and knows more about who is the same person.
    fn may_decide(&self) -> bool {
        self.f.may_approve && self.import.state == "waiting" && !self.is_own()
    }

    fn may_release(&self) -> bool {
        self.f.may_import && self.import.state != "waiting"
    }

    fn may_refuse(&self) -> bool {
        self.f.may_import || self.f.may_approve
    }
}

/// How a state looks.
pub(super) fn state_class(import: &WaitingImport) -> &'static str {
    if import.state == "approved" { "well" } else { "warn" }
}

/// Approves, releases or refuses an import, provided that it still is what the form showed.
pub(super) async fn decide(visit: Visit, fields: Fields) -> Response {
    let t = &ENGLISH;
    let (id, there) = (fields.get("import"), page_of(fields.get("import")));
    let import = match find(&visit, id).await {
        Ok(import) => import,
        Err(refusal) => return visit.tell(Err(refusal), "/pages/imports", ""),
    };
    if fields.basis().as_deref() != Some(&*standing(&import)) {
        return visit.say(false, &there, t.moved_meanwhile);
    }
    match (fields.get("decision"), import.request) {
        ("approve", Some(request)) => {
            let why = Some(fields.get("why").to_owned()).filter(|why| !why.is_empty());
            let vote = ApprovalDecision { id: request, approve: true, why };
            visit.act::<DecideApproval>(&vote, &there, t.was_approved).await
        }
        ("release", _) => {
            let wanted = ImportRelease { import: import.id };
            let done = ask::tell::<ReleaseImport>(&visit.pages.api, &visit.visitor, "", &wanted).await;
            // What was not released is still there to be looked at.
            let there = if done.is_ok() { "/pages/imports" } else { &there };
            visit.tell(done.map(drop), there, t.was_released)
        }
        ("refuse", _) => {
            let wanted = path::<RefuseImport>(&import.id);
            let done = ask::ask::<RefuseImport>(&visit.pages.api, &visit.visitor, wanted).await;
            visit.tell(done.map(drop), "/pages/imports", t.import_was_refused)
        }
        _ => frame::trouble(StatusCode::UNPROCESSABLE_ENTITY, t.no_such_decision, Vec::new()),
    }
}

/// What a form is based on: exactly what would be changed, and how far its approval is.
fn standing(import: &WaitingImport) -> String {
    format!("{} {} {}", import.digest, import.request.unwrap_or_default(), import.state)
}
