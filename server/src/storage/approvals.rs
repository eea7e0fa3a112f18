//! What waits for approvals, what operators said to it, and the requests of devices that wait for it.

use serde_json::{Value as Json, json};

use super::Database;
use super::audit::{ATTEMPTS, insert_event};
use super::engine::{Lane, Mode, Reader, Row, Transaction, Value, statements};
use super::error::StorageError;
use super::records::AuditEvent;

statements! {
    SELECT_LIVE = "SELECT id, kind, subject, digest, detail, asked_by, asked_at, ends_at, needed, state FROM approvals
        WHERE digest = $1 AND kind = $2 AND subject = $3 AND needed >= $4 AND ends_at > $5
            AND state IN ('waiting', 'approved', 'refused') AND (asked_by = $6 OR kind IN ('import', 'serial'))
        ORDER BY id DESC LIMIT 1";
    COUNT_WAITING = "SELECT COUNT(*) FROM approvals WHERE kind = $1 AND state = 'waiting' AND ends_at > $2";
    // The counter's row stays locked until the transaction ends, so requests are added one after another.
    NEXT_APPROVAL = "UPDATE counters SET value = value + 1 WHERE name = 'approval' RETURNING value";
    INSERT_APPROVAL = "INSERT INTO approvals (id, kind, subject, digest, detail, asked_by, asked_at, ends_at, needed, state)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'waiting')";
    DELETE_OLD_APPROVALS = "DELETE FROM approvals WHERE ends_at < $1";
    DELETE_OLD_VOTES = "DELETE FROM approval_votes WHERE approval NOT IN (SELECT id FROM approvals)";
    DELETE_OLD_REGISTRATIONS = "DELETE FROM waiting_registrations WHERE approval NOT IN (SELECT id FROM approvals)";
    SELECT_APPROVALS = "SELECT id, kind, subject, digest, detail, asked_by, asked_at, ends_at, needed, state FROM approvals
        WHERE id = COALESCE($1, id) ORDER BY id DESC LIMIT $2";
    // Votes on one request wait for each other.
    HOLD_APPROVAL = "UPDATE approvals SET state = state WHERE id = $1
        RETURNING id, kind, subject, digest, detail, asked_by, asked_at, ends_at, needed, state";
    SET_STATE = "UPDATE approvals SET state = $2 WHERE id = $1";
    USE_APPROVAL = "UPDATE approvals SET state = 'used' WHERE id = $1 AND digest = $2 AND state = 'approved' AND ends_at > $3
        RETURNING id";
    VOID_APPROVAL = "UPDATE approvals SET state = 'void' WHERE kind = $1 AND digest = $2 AND state IN ('waiting', 'approved')";
    VOID_APPROVALS_OF = "UPDATE approvals SET state = 'void' WHERE kind = $1 AND subject = $2 AND state IN ('waiting', 'approved')";
    SELECT_VOTES = "SELECT approval, who, approves, at, why FROM approval_votes
        WHERE approval = COALESCE($1, approval) ORDER BY approval, at, who";
    UPSERT_VOTE = "INSERT INTO approval_votes (approval, who, approves, at, why) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (approval, who) DO UPDATE SET approves = excluded.approves, at = excluded.at, why = excluded.why";
    INSERT_REGISTRATION = "INSERT INTO waiting_registrations (request_digest, approval) VALUES ($1, $2)
        ON CONFLICT (request_digest) DO UPDATE SET approval = excluded.approval";
    SELECT_REGISTRATION = "SELECT a.id FROM waiting_registrations AS r JOIN approvals AS a ON a.id = r.approval
        WHERE r.request_digest = $1 AND a.ends_at > $2 AND a.state IN ('waiting', 'approved', 'refused', 'used')";
}

/// How long what has ended is shown, in microseconds; the audit log keeps it for ever.
const SHOWN: i64 = 30 * 86_400_000_000;

/// How far a request for approval is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApprovalState {
    /// Approvals are missing.
    Waiting,
    /// It may be done.
    Approved,
    /// Somebody refused it.
    Refused,
    /// It was done.
    Used,
    /// It can no longer be done: what was to be done is gone or has changed, or the store was restored from a backup, which
    /// cannot tell whether it was done.
    Void,
}

impl ApprovalState {
    const ALL: [Self; 5] = [Self::Waiting, Self::Approved, Self::Refused, Self::Used, Self::Void];

    /// The state as it is stored and shown.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Used => "used",
            Self::Void => "void",
        }
    }
}

impl std::str::FromStr for ApprovalState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no state"))
    }
}

/// What an operator said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vote {
    /// The operator.
    pub(crate) who: String,
    /// Whether it may be done.
    pub(crate) approves: bool,
    /// When, in microseconds since 1970.
    pub(crate) at_micros: i64,
    /// The reason, if one was given.
    pub(crate) why: Option<String>,
}

/// What needs approvals.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewApproval {
    /// What kind of action.
    pub(crate) kind: String,
    /// What it is done to.
    pub(crate) subject: String,
    /// The digest of exactly what is to be done.
    pub(crate) digest: String,
    /// What people are shown of it.
    pub(crate) detail: Json,
    /// Who asks.
    pub(crate) asked_by: String,
    /// When, in microseconds since 1970.
    pub(crate) asked_at_micros: i64,
    /// When it ends, done or not.
    pub(crate) ends_at_micros: i64,
    /// How many people have to approve it.
    pub(crate) needed: u32,
}

/// A request for approval.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApprovalRecord {
    /// Its number.
    pub(crate) id: i64,
    /// What was asked.
    pub(crate) asked: NewApproval,
    /// How far it is.
    pub(crate) state: ApprovalState,
    /// What was said, oldest first.
    pub(crate) votes: Vec<Vote>,
}

impl Database {
    /// The request for exactly this that has not ended, or a new one. What others asked for is theirs; an import waits for whoever
    /// releases it, and a serial for its device. `None` if `most` of this kind wait already.
    pub(crate) async fn ask_approval(
        &self,
        new: &NewApproval,
        most: i64,
    ) -> Result<Option<ApprovalRecord>, StorageError> {
        let mut attempt = 1;
        loop {
            match self.try_ask(new, most).await {
                Err(StorageError::Contended(_)) if attempt < ATTEMPTS => attempt += 1,
                asked => return asked,
            }
        }
    }

    async fn try_ask(&self, new: &NewApproval, most: i64) -> Result<Option<ApprovalRecord>, StorageError> {
        let NewApproval { kind, subject, digest, detail, asked_by, asked_at_micros, ends_at_micros, needed } =
            new;
        let live: Vec<Value> = vec![
            digest.as_str().into(),
            kind.as_str().into(),
            subject.as_str().into(),
            (*needed).into(),
            (*asked_at_micros).into(),
            asked_by.as_str().into(),
        ];
        // Devices ask again each minute: that reads.
        let known = self.engine.read(Lane::Operator, SELECT_LIVE, live.clone()).await?;
        if let Some(row) = known.into_iter().next() {
            return record(row).map(Some);
        }
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        let id = number(&mut transaction).await?;
        if let Some(row) = transaction.query(SELECT_LIVE, live).await?.into_iter().next() {
            return record(row).map(Some);
        }
        let waiting = vec![kind.as_str().into(), (*asked_at_micros).into()];
        let waiting = transaction.query(COUNT_WAITING, waiting).await?.into_iter().next().unwrap_or_default();
        if Reader::new("approvals", waiting).int("count")? >= most {
            return Ok(None);
        }
        transaction.query(DELETE_OLD_APPROVALS, vec![(asked_at_micros - SHOWN).into()]).await?;
        transaction.query(DELETE_OLD_VOTES, Vec::new()).await?;
        transaction.query(DELETE_OLD_REGISTRATIONS, Vec::new()).await?;
        let values = vec![
            id.into(),
            kind.as_str().into(),
            subject.as_str().into(),
            digest.as_str().into(),
            detail.into(),
            asked_by.as_str().into(),
            (*asked_at_micros).into(),
            (*ends_at_micros).into(),
            (*needed).into(),
        ];
        transaction.query(INSERT_APPROVAL, values).await?;
        let event = AuditEvent::new(asked_by, "ask-approval", subject).outcome("waiting").detail(json!({
            "approval": id, "kind": kind, "digest": digest, "needed": needed, "detail": detail,
        }));
        insert_event(&mut transaction, &event, *asked_at_micros).await?;
        transaction.commit().await?;
        Ok(Some(ApprovalRecord { id, asked: new.clone(), state: ApprovalState::Waiting, votes: Vec::new() }))
    }

    /// Requests for approval with what was said to them, newest first: all, or one.
    pub(crate) async fn approvals(
        &self,
        id: Option<i64>,
        limit: u32,
    ) -> Result<Vec<ApprovalRecord>, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let rows = transaction.query(SELECT_APPROVALS, vec![id.into(), limit.into()]).await?;
        let mut all = rows.into_iter().map(record).collect::<Result<Vec<_>, _>>()?;
        let votes = transaction.query(SELECT_VOTES, vec![id.into()]).await?;
        transaction.commit().await?;
        for row in votes {
            let (of, vote) = vote(row)?;
            if let Some(approval) = all.iter_mut().find(|approval| approval.id == of) {
                approval.votes.push(vote);
            }
        }
        Ok(all)
    }

    /// Records a vote with its audit event. `judge` says from the request as it stands what comes of it, or why the
    /// vote does not count; it is given nothing if there is no such request.
    pub(crate) async fn vote<E: From<StorageError>>(
        &self,
        id: i64,
        new: &Vote,
        judge: impl Fn(Option<&ApprovalRecord>) -> Result<ApprovalState, E>,
    ) -> Result<ApprovalRecord, E> {
        let mut attempt = 1;
        loop {
            match self.try_vote(id, new, &judge).await? {
                Ok(voted) => return Ok(voted),
                Err(StorageError::Contended(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    async fn try_vote<E>(
        &self,
        id: i64,
        new: &Vote,
        judge: impl Fn(Option<&ApprovalRecord>) -> Result<ApprovalState, E>,
    ) -> Result<Result<ApprovalRecord, StorageError>, E> {
        let held = async {
            let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
            let row = transaction.query(HOLD_APPROVAL, vec![id.into()]).await?.into_iter().next();
            let mut approval = row.map(record).transpose()?;
            if let Some(approval) = &mut approval {
                for row in transaction.query(SELECT_VOTES, vec![id.into()]).await? {
                    approval.votes.push(vote(row)?.1);
                }
            }
            Ok::<_, StorageError>((transaction, approval))
        };
        let (mut transaction, approval) = match held.await {
            Ok(held) => held,
            Err(failure) => return Ok(Err(failure)),
        };
        let state = judge(approval.as_ref())?;
        let Some(mut approval) = approval else { return Ok(Err(StorageError::Contended("gone".into()))) };
        approval.state = state;
        approval.votes.retain(|vote| vote.who != new.who);
        approval.votes.push(new.clone());
        let written = async {
            let Vote { who, approves, at_micros, why } = new;
            let values = vec![
                id.into(),
                who.as_str().into(),
                (*approves).into(),
                (*at_micros).into(),
                why.as_deref().into(),
            ];
            transaction.query(UPSERT_VOTE, values).await?;
            transaction.query(SET_STATE, vec![id.into(), state.as_str().into()]).await?;
            let NewApproval { kind, subject, digest, needed, .. } = &approval.asked;
            let what = if *approves { "approve" } else { "refuse" };
            let event = AuditEvent::new(who, what, subject).detail(json!({
                "approval": id, "kind": kind, "digest": digest, "needed": needed, "why": why,
                "approvals": approval.votes.iter().filter(|vote| vote.approves).count(), "state": state.as_str(),
            }));
            insert_event(&mut transaction, &event, *at_micros).await?;
            transaction.commit().await
        };
        Ok(written.await.map(|()| approval))
    }

    /// Uses an approval up: `true` for the one caller who may do what was approved.
    pub(crate) async fn use_approval(
        &self,
        id: i64,
        digest: &str,
        at_micros: i64,
    ) -> Result<bool, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        let used = use_up(&mut transaction, id, digest, at_micros).await?;
        transaction.commit().await?;
        Ok(used)
    }

    /// Ends the requests for what is gone or has become something else. What was refused or done stays as it is.
    pub(crate) async fn void_approval(&self, kind: &str, digest: &str) -> Result<(), StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        transaction.query(VOID_APPROVAL, vec![kind.into(), digest.into()]).await?;
        transaction.commit().await
    }

    /// Ends the requests of a kind for something that takes no further step.
    pub(crate) async fn void_approvals_of(&self, kind: &str, subject: &str) -> Result<(), StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        transaction.query(VOID_APPROVALS_OF, vec![kind.into(), subject.into()]).await?;
        transaction.commit().await
    }

    /// Keeps a device's request acceptable for as long as its approval is.
    pub(crate) async fn await_approval(&self, request_digest: &str, id: i64) -> Result<(), StorageError> {
        let mut transaction = self.engine.begin(Lane::Sessions, Mode::Write).await?;
        transaction.query(INSERT_REGISTRATION, vec![request_digest.into(), id.into()]).await?;
        transaction.commit().await
    }

    /// Whether this very request of a device waits, or has waited, for an approval that has not ended.
    pub(crate) async fn awaits_approval(
        &self,
        request_digest: &str,
        at_micros: i64,
    ) -> Result<bool, StorageError> {
        let values = vec![request_digest.into(), at_micros.into()];
        Ok(!self.engine.read(Lane::Sessions, SELECT_REGISTRATION, values).await?.is_empty())
    }
}

/// As [`Database::use_approval`], in the transaction of what is done.
pub(super) async fn use_up(
    on: &mut Transaction,
    id: i64,
    digest: &str,
    at_micros: i64,
) -> Result<bool, StorageError> {
    let values = vec![id.into(), digest.into(), at_micros.into()];
    Ok(!on.query(USE_APPROVAL, values).await?.is_empty())
}

async fn number(on: &mut Transaction) -> Result<i64, StorageError> {
    let row = on.query(NEXT_APPROVAL, Vec::new()).await?.into_iter().next().unwrap_or_default();
    Reader::new("counters", row).int("value")
}

fn record(row: Row) -> Result<ApprovalRecord, StorageError> {
    let mut row = Reader::new("approvals", row);
    let id = row.int("id")?;
    let asked = NewApproval {
        kind: row.text("kind")?,
        subject: row.text("subject")?,
        digest: row.text("digest")?,
        detail: row.json("detail")?,
        asked_by: row.text("asked_by")?,
        asked_at_micros: row.int("asked_at")?,
        ends_at_micros: row.int("ends_at")?,
        needed: row.number("needed")?,
    };
    Ok(ApprovalRecord { id, asked, state: row.parsed("state")?, votes: Vec::new() })
}

fn vote(row: Row) -> Result<(i64, Vote), StorageError> {
    let mut row = Reader::new("approval_votes", row);
    let of = row.int("approval")?;
    let (who, approves) = (row.text("who")?, row.truth("approves")?);
    Ok((of, Vote { who, approves, at_micros: row.int("at")?, why: row.optional_text("why")? }))
}
