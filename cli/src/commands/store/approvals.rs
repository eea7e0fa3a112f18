//! `approvals`: what waits until other people have approved it.

use clap::Subcommand;
use schema::api::admin::calls::{DecideApproval, ListApprovals, ShowApproval};
use schema::api::admin::{Approval, ApprovalDecision, Approvals};

use crate::context::Context;
use crate::output::table;

/// Approve or refuse what others ask
///
/// What needs approvals waits here for a week. Whoever asked cannot approve it, and nobody approves twice: users of the server's
/// host count by their user id, others by their login, which needs the permission approve. Once it is approved, whoever
/// asked runs the same command again; a device asks again by itself.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy approvals list
  proxy approvals show 17
  proxy approvals approve 17")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what waits, and what is approved and not done yet
    #[command(before_help = "Examples:
  proxy approvals list
  proxy approvals list --all")]
    List {
        /// What has ended, too
        #[arg(long)]
        all: bool,
    },
    /// Show exactly what is to be done, and what was said to it
    #[command(before_help = "Example:
  proxy approvals show 17")]
    Show {
        /// The request's number
        id: i64,
    },
    /// Approve a request
    #[command(before_help = "Example:
  proxy approvals approve 17")]
    Approve {
        /// The request's number
        id: i64,

        /// A reason for the audit log
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Refuse a request for good, even one that is approved and not done yet
    #[command(before_help = "Example:
  proxy approvals refuse 17 --why unknown-board")]
    Refuse {
        /// The request's number
        id: i64,

        /// A reason for the audit log
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut admin = context.admin().await?;
    let (id, approve, why) = match args.action {
        Action::List { all } => {
            let query = all.then_some(("all", "true"));
            let found: Approvals = admin.ask_for::<ListApprovals>(query).await?;
            return Ok(context.out.report(&found, |found| match found.approvals.is_empty() {
                true => vec!["Nothing waits for approvals.".to_owned()],
                false => table(
                    ["Request", "State", "Kind", "Subject", "Approvals", "Asked by", "Ends"],
                    found.approvals.iter().map(row).collect(),
                ),
            })?);
        }
        Action::Show { id } => {
            let shown: Approval = admin.ask_of::<ShowApproval>(&id.to_string()).await?;
            return Ok(context.out.report(&shown, lines)?);
        }
        Action::Approve { id, why } => (id, true, why),
        Action::Refuse { id, why } => (id, false, why),
    };
    let decided: Approval = admin.send::<DecideApproval>(&ApprovalDecision { id, approve, why }).await?;
    Ok(context.out.report(&decided, |decided| {
        let Approval { id, kind, subject, state, .. } = decided;
        let next = match state.as_str() {
            "waiting" => ": another approval is needed",
            "approved" if kind == "serial" => ": the device gets it within a minute",
            "approved" => ": whoever asked runs the same command again",
            _ => "",
        };
        vec![format!("Request {id} ({kind} {subject}) is {state}{next}")]
    })?)
}

/// How many approved, of how many.
fn count(approval: &Approval) -> String {
    let approved = approval.votes.iter().filter(|vote| vote.approves).count();
    format!("{approved} of {}", approval.needed)
}

fn row(approval: &Approval) -> [String; 7] {
    // One rollout or train may wait for several of its steps.
    let step = approval.detail["step"].as_str().map(|step| format!(" ({step})")).unwrap_or_default();
    [
        approval.id.to_string(),
        approval.state.clone(),
        approval.kind.clone(),
        format!("{}{step}", approval.subject),
        count(approval),
        approval.asked_by.clone(),
        approval.ends.clone(),
    ]
}

fn lines(approval: &Approval) -> Vec<String> {
    let mut lines = vec![
        format!("Request: {}", approval.id),
        format!("State: {}", approval.state),
        format!("Kind: {}", approval.kind),
        format!("Subject: {}", approval.subject),
        format!("Approvals: {}", count(approval)),
        format!("Asked by: {}, {}", approval.asked_by, approval.asked),
        format!("Ends: {}", approval.ends),
        format!("Digest: {}", approval.digest),
    ];
    lines.extend(approval.votes.iter().map(|vote| {
        let said = if vote.approves { "Approved" } else { "Refused" };
        let why = vote.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{said} by: {}, {}{why}", vote.who, vote.at)
    }));
    let detail = serde_json::to_string_pretty(&approval.detail).unwrap_or_default();
    lines.extend(detail.lines().map(str::to_owned));
    lines
}
