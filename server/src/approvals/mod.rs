//! Four eyes: what needs approval waits here until enough other people have approved exactly that.
//!
//! Whoever wants something done asks for it ([`ask`]), and asks again later, like an operator who runs the command once
//! more or a device that polls. The request is found by its digest, so nothing else than what was shown can be done with an
//! approval. What may be done once only uses its approval up first ([`spend`]). Requests end after [`LIFETIME`].

use aws_lc_rs::digest::{SHA256, digest as hash};
use serde_json::Value;

use crate::catalog::Catalog;
use crate::clock;
use crate::storage::Database;
use crate::storage::approvals::{ApprovalRecord, ApprovalState, NewApproval, Vote};
use crate::storage::error::StorageError;

/// How long a request waits, and how long its approval is good, in microseconds: a week.
const LIFETIME: i64 = 7 * 86_400_000_000;
/// How many requests of a kind may wait. Devices cannot fill the room for operators.
const MOST: i64 = 1000;
/// Root of this host, who can be everybody: the logins that root makes stand for their holders.
const ROOT: &str = "uid 0";

/// What kind of action needs approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A device gets its serial.
    Serial,
    /// A model needs fewer approvals than before.
    Model,
    /// A rollout starts, opens a wave or releases its revision.
    Rollout,
    /// A sequence departs, opens a wave or arrives.
    Train,
    /// A device gets a user for some hours.
    BreakGlass,
    /// A sequence of a validation set is signed.
    ValidationSet,
    /// An import becomes visible.
    Import,
    /// A key may sign more on a day.
    KeyLimit,
    /// A digest of a tool outside is signed.
    Digest,
}

impl Kind {
    /// The kind as it is shown.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Model => "model",
            Self::Rollout => "rollout",
            Self::Train => "train",
            Self::BreakGlass => "break-glass",
            Self::ValidationSet => "validation-set",
            Self::Import => "import",
            Self::KeyLimit => "key-limit",
            Self::Digest => "digest",
        }
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone)]
pub(crate) struct Ask<'a> {
    /// What kind of action it is.
    pub(crate) kind: Kind,
    /// What it is done to, for people.
    pub(crate) subject: String,
    /// The [`digest`] of exactly what is to be done.
    pub(crate) digest: String,
    /// How many people have to approve it; nothing is asked for none.
    pub(crate) needed: u32,
    /// Who asks.
    pub(crate) who: &'a str,
    /// What those who decide are shown. Never a secret.
    pub(crate) detail: Value,
}

/// Whether it may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Yes, by this approval; by none if none is needed.
    Approved(Option<i64>),
    /// Not yet.
    Waiting(i64),
    /// No.
    Refused(i64),
}

/// Why nothing was asked or decided.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ApprovalError {
    /// There is no such request.
    #[error("no request {0} waits for approvals: `proxy approvals list` shows those that do")]
    Unknown(i64),
    /// It is the operator's own.
    #[error("request {0} was made by you, or by a login that you made: somebody else has to approve it")]
    Own(i64),
    /// The operator has approved it before.
    #[error(
        "you, or a login that you made, approved request {0} already: somebody else has to approve it, too"
    )]
    Twice(i64),
    /// Nothing is to be decided any more.
    #[error("request {0} is {1}: there is nothing to decide any more")]
    Over(i64, &'static str),
    /// What was asked for was refused.
    #[error(
        "request {0} was refused: `proxy approvals show {0}` says by whom and why; what was asked for stays as it is"
    )]
    Refused(i64),
    /// Too many wait.
    #[error(
        "{MOST} requests of this kind wait for approvals: decide about them first, see `proxy approvals list`"
    )]
    Full,
    /// The database.
    #[error("cannot use the database")]
    Storage(#[from] StorageError),
}

/// The digest of what is to be done: SHA-256 of the JSON text, in hex.
pub(crate) fn digest(of: &Value) -> String {
    let bytes = hash(&SHA256, of.to_string().as_bytes());
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether this may be done now; if it was not asked before, it waits from now on.
pub(crate) async fn ask(database: &Database, ask: Ask<'_>) -> Result<Answer, ApprovalError> {
    let Ask { kind, subject, digest, needed, who, detail } = ask;
    if needed == 0 {
        return Ok(Answer::Approved(None));
    }
    let now = clock::micros();
    let new = NewApproval {
        kind: kind.as_str().to_owned(),
        subject,
        digest,
        detail,
        asked_by: who.to_owned(),
        asked_at_micros: now,
        ends_at_micros: now.saturating_add(LIFETIME),
        needed,
    };
    let held = database.ask_approval(&new, MOST).await?.ok_or(ApprovalError::Full)?;
    Ok(match held.state {
        ApprovalState::Approved => Answer::Approved(Some(held.id)),
        ApprovalState::Waiting => Answer::Waiting(held.id),
        _ => Answer::Refused(held.id),
    })
}

/// Whether request `id` is about exactly this, approved, and neither used nor ended.
#[expect(dead_code, reason = "for rooms that keep the id of their request")]
pub(crate) async fn is_approved(database: &Database, id: i64, digest: &str) -> Result<bool, StorageError> {
    let found = database.approvals(Some(id), 1).await?;
    let good = |approval: &ApprovalRecord| {
        approval.asked.digest == digest && state_of(approval, clock::micros()) == "approved"
    };
    Ok(found.iter().any(good))
}

/// Uses an approval up, for what may be done once: `true` for one caller, at one server.
pub(crate) async fn spend(database: &Database, id: i64, digest: &str) -> Result<bool, StorageError> {
    database.use_approval(id, digest, clock::micros()).await
}

/// Ends the request for something that can no longer be done as it was shown.
pub(crate) async fn withdraw(database: &Database, kind: Kind, digest: &str) -> Result<(), ApprovalError> {
    Ok(database.void_approval(kind.as_str(), digest).await?)
}

/// Ends the requests for all steps of something that takes none any more.
pub(crate) async fn withdraw_all(
    database: &Database,
    kind: Kind,
    subject: &str,
) -> Result<(), ApprovalError> {
    Ok(database.void_approvals_of(kind.as_str(), subject).await?)
}

/// Records that `who` approves or refuses a request. Anybody may refuse, even what was approved, until it is done.
pub(crate) async fn decide(
    database: &Database,
    catalog: &Catalog,
    id: i64,
    who: &str,
    approves: bool,
    why: Option<String>,
) -> Result<ApprovalRecord, ApprovalError> {
    let vote = Vote { who: who.to_owned(), approves, at_micros: clock::micros(), why };
    let person = |who: &str| person(catalog, who);
    database.vote(id, &vote, |approval| judge(approval, id, &vote, person)).await
}

/// What comes of a vote.
fn judge(
    approval: Option<&ApprovalRecord>,
    id: i64,
    vote: &Vote,
    person: impl Fn(&str) -> String,
) -> Result<ApprovalState, ApprovalError> {
    let approval = approval.ok_or(ApprovalError::Unknown(id))?;
    match state_of(approval, vote.at_micros) {
        "waiting" => {}
        "approved" if !vote.approves => {}
        over => return Err(ApprovalError::Over(id, over)),
    }
    if !vote.approves {
        return Ok(ApprovalState::Refused);
    }
    let voter = person(&vote.who);
    if person(&approval.asked.asked_by) == voter {
        return Err(ApprovalError::Own(id));
    }
    if approval.votes.iter().any(|earlier| person(&earlier.who) == voter) {
        return Err(ApprovalError::Twice(id));
    }
    match approval.votes.len() + 1 >= approval.asked.needed as usize {
        true => Ok(ApprovalState::Approved),
        false => Ok(ApprovalState::Waiting),
    }
}

/// The state of a request at a moment, as it is shown.
pub(crate) fn state_of(approval: &ApprovalRecord, at_micros: i64) -> &'static str {
    match approval.state {
        ApprovalState::Waiting | ApprovalState::Approved if approval.asked.ends_at_micros <= at_micros => {
            "expired"
        }
        state => state.as_str(),
    }
}

/// The person behind an operator: a login that another login or a user made is that one's, or else everybody who may make
/// logins could be several people.
fn person(catalog: &Catalog, who: &str) -> String {
    let mut who = who.to_owned();
    // A chain of logins has no circle, since each was there before it made another.
    while let Some(login) = who.strip_prefix("login ").and_then(|id| catalog.logins().get(id)) {
        match &login.by {
            Some(by) if by != ROOT => who.clone_from(by),
            _ => break,
        }
    }
    who
}

#[cfg(test)]
mod tests;
