//! *Approvals*: what waits until other people have approved it, and the forms that say so.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schema::api::admin::calls::{DecideApproval, ListApprovals};
use schema::api::admin::{Approval, ApprovalDecision};

use super::frame::{self, Frame, show};
use super::shown::query;
use super::texts::ENGLISH;
use super::visit::{Fields, Visit};

/// Requests on a page.
const PAGE: usize = 25;

#[derive(Template)]
#[template(path = "approvals.html")]
struct ApprovalsPage {
    f: Frame,
    all: bool,
    approvals: Vec<Approval>,
    next: Option<String>,
}

/// The page: what is open, or with `all` what has ended as well.
pub(super) async fn page(visit: Visit) -> Response {
    let (all, before) = (!visit.value("all").is_empty(), visit.value("before").parse().unwrap_or(i64::MAX));
    let mut approvals = match visit.ask::<ListApprovals>(if all { "all=true" } else { "" }).await {
        Ok(found) => found.approvals,
        Err(refusal) => return refusal.into_response(),
    };
    approvals.retain(|approval| approval.id < before);
    let more = approvals.len() > PAGE;
    approvals.truncate(PAGE);
    let next = approvals.last().filter(|_| more).map(|last| {
        let before = last.id.to_string();
        format!("/pages/approvals?{}", query([("all", if all { "1" } else { "" }), ("before", &*before)]))
    });
    show(&ApprovalsPage { f: visit.frame("approvals", ENGLISH.approvals), all, approvals, next })
}

impl ApprovalsPage {
    /// Whether the visitor may be asked: never who asks. The server decides, and knows more about who is the same person.
    fn may_decide(&self, approval: &Approval) -> bool {
        self.f.may_approve && approval.state == "waiting" && !self.is_own(approval)
    }

    fn is_own(&self, approval: &Approval) -> bool {
        self.f.who.as_deref() == Some(&*approval.asked_by)
    }

    fn state_class(&self, approval: &Approval) -> &'static str {
        match &*approval.state {
            "waiting" => "warn",
            "approved" | "used" => "well",
            "refused" => "bad",
            _ => "",
        }
    }

    fn approved(&self, approval: &Approval) -> usize {
        approval.votes.iter().filter(|vote| vote.approves).count()
    }

    fn detail(&self, approval: &Approval) -> String {
        serde_json::to_string_pretty(&approval.detail).unwrap_or_default()
    }
}

/// Approves or refuses a request.
pub(super) async fn decide(visit: Visit, fields: Fields) -> Response {
    let t = &ENGLISH;
    let (approve, well) = match fields.get("decision") {
        "approve" => (true, t.was_approved),
        "refuse" => (false, t.was_refused),
        _ => return frame::trouble(StatusCode::UNPROCESSABLE_ENTITY, t.no_such_decision, Vec::new()),
    };
    let Ok(id) = fields.get("id").parse() else {
        return frame::trouble(StatusCode::UNPROCESSABLE_ENTITY, t.no_such_decision, Vec::new());
    };
    let why = Some(fields.get("why").to_owned()).filter(|why| !why.is_empty());
    visit.act::<DecideApproval>(&ApprovalDecision { id, approve, why }, "/pages/approvals", well).await
}
