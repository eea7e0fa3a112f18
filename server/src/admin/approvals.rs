//! Four eyes: what waits for approvals, and what operators say to it.

use axum::Json;
use axum::extract::{Path, State};
use schema::api::admin::{Approval, ApprovalDecision, ApprovalVote, Approvals};
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::AdminError;
use super::given::{Given, Query};
use super::refusals::shown;
use super::{Admin, Operator};
use crate::approvals::{self, Answer, ApprovalError, Ask, state_of};
use crate::clock;
use crate::fleet::written;
use crate::storage::approvals::ApprovalRecord;

/// How many requests one answer lists.
const PAGE: u32 = 1000;

impl From<ApprovalError> for AdminError {
    fn from(error: ApprovalError) -> Self {
        match &error {
            ApprovalError::Unknown(_) => Self::refused("unknown-approval", &error),
            ApprovalError::Own(_) => Self::refused("own-request", &error),
            ApprovalError::Twice(_) => Self::refused("approved-already", &error),
            ApprovalError::Over(..) => Self::refused("approval-over", &error),
            ApprovalError::Refused(_) => Self::refused("approval-refused", &error),
            ApprovalError::Full => Self::refused("too-many-approvals", &error),
            ApprovalError::Storage(_) => Self::failed("approvals-failed", &error),
        }
    }
}

/// The approval with which this may be done, for [`crate::storage::records::Change::approval`]; none if none is needed.
pub(super) async fn granted(admin: &Admin, ask: Ask<'_>) -> Result<Option<(i64, String)>, AdminError> {
    let (needed, digest) = (ask.needed, ask.digest.clone());
    match approvals::ask(admin.store.database(), ask).await? {
        Answer::Approved(id) => Ok(id.map(|id| (id, digest))),
        Answer::Waiting(id) => Err(AdminError::waits(id, needed)),
        Answer::Refused(id) => Err(ApprovalError::Refused(id).into()),
    }
}

/// Which requests to list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ApprovalsQuery {
    /// With those that have ended.
    #[serde(default)]
    all: bool,
}

/// Answers `ListApprovals`.
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(query): Query<ApprovalsQuery>,
) -> Result<Json<Approvals>, AdminError> {
    let found = admin.store.database().approvals(None, PAGE).await.map_err(ApprovalError::from)?;
    let mut approvals: Vec<Approval> = found.into_iter().map(entry).collect();
    approvals.retain(|approval| query.all || ["waiting", "approved"].contains(&&*approval.state));
    Ok(Json(Approvals { approvals }))
}

/// Answers `ShowApproval`.
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(id): Path<String>,
) -> Result<Json<Approval>, AdminError> {
    let id = id.parse().unwrap_or_default();
    let found = admin.store.database().approvals(Some(id), 1).await.map_err(ApprovalError::from)?;
    Ok(Json(entry(found.into_iter().next().ok_or(ApprovalError::Unknown(id))?)))
}

/// Answers `DecideApproval`.
pub(super) async fn decide(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(ApprovalDecision { id, approve, why }): Given<ApprovalDecision>,
) -> Result<Json<Approval>, AdminError> {
    let what = if approve { "approve" } else { "refuse" };
    let why = why.as_deref().map(shown).filter(|why| !why.is_empty());
    let store = &admin.store;
    let decided = approvals::decide(store.database(), &store.catalog(), id, &who, approve, why).await;
    let of = |error: ApprovalError| AdminError::from(error).of(true, what, format!("request {id}"));
    let decided = decided.map_err(of)?;
    if !approve && decided.asked.kind == approvals::Kind::Import.as_str() {
        // That removes what was refused.
        let _ = admin.waiting().await?;
    }
    Ok(Json(entry(decided)))
}

fn entry(approval: ApprovalRecord) -> Approval {
    let state = state_of(&approval, clock::micros()).to_owned();
    let ApprovalRecord { id, asked, votes, .. } = approval;
    let vote = |vote: crate::storage::approvals::Vote| ApprovalVote {
        who: vote.who,
        approves: vote.approves,
        at: written(vote.at_micros),
        why: vote.why,
    };
    Approval {
        id,
        kind: asked.kind,
        subject: asked.subject,
        state,
        needed: asked.needed,
        votes: votes.into_iter().map(vote).collect(),
        asked_by: asked.asked_by,
        asked: written(asked.asked_at_micros),
        ends: written(asked.ends_at_micros),
        digest: asked.digest,
        detail: asked.detail,
    }
}
