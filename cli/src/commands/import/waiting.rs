//! `imports`: what was pushed and waits until other people have approved it.

use clap::Subcommand;
use schema::api::admin::calls::{
    DecideApproval, ListWaitingImports, RefuseImport, ReleaseImport, ShowWaitingImport,
};
use schema::api::admin::{
    Approval, ApprovalDecision, Failure, ImportRelease, PlannedRevision, WaitingImport, WaitingImports, Waits,
};

use crate::admin::AdminError;
use crate::context::Context;
use crate::output::{changed, table};

/// Show, release or refuse imports that wait
///
/// While proxy.imports.quarantine is `parcels` or `all`, what is pushed is verified and kept, and no device sees anything of it
/// until another person has approved it. `list-imports` lists what became visible.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy imports list
  proxy imports show 0123456789abcdef
  proxy imports release 0123456789abcdef")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List those that wait
    #[command(before_help = "Example:
  proxy imports list")]
    List,
    /// Show what one changes: revisions, channels, grants, keys, and what snaps ask of devices
    #[command(before_help = "Example:
  proxy imports show 0123456789abcdef")]
    Show {
        /// Its id, as `imports list` shows it
        id: String,
    },
    /// Approve one that somebody else pushed, and let devices see it once that is enough
    #[command(before_help = "Example:
  proxy imports release 0123456789abcdef")]
    Release {
        /// Its id, as `imports list` shows it
        id: String,

        /// A reason for the audit log
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Refuse one: nothing of it stays
    #[command(before_help = "Example:
  proxy imports refuse 0123456789abcdef")]
    Refuse {
        /// Its id, as `imports list` shows it
        id: String,
    },
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut admin = context.admin().await?;
    match args.action {
        Action::List => {
            let waiting: WaitingImports = admin.ask::<ListWaitingImports>().await?;
            Ok(context.out.report(&waiting, |waiting| match waiting.imports.is_empty() {
                true => vec!["No import waits.".to_owned()],
                false => table(
                    ["Id", "State", "Request", "Kind", "File", "Pushed by", "Pushed", "Bytes"],
                    waiting.imports.iter().map(row).collect(),
                ),
            })?)
        }
        Action::Show { id } => {
            let shown: WaitingImport = admin.ask_of::<ShowWaitingImport>(&id).await?;
            Ok(context.out.report(&shown, lines)?)
        }
        Action::Release { id, why } => {
            let shown: WaitingImport = admin.ask_of::<ShowWaitingImport>(&id).await?;
            let vote = shown.request.filter(|_| shown.state == "waiting");
            if let Some(request) = vote {
                let vote = ApprovalDecision { id: request, approve: true, why };
                let voted = admin.send::<DecideApproval>(&vote).await;
                let _: Approval = voted.map_err(|error| in_the_way(error, Step::Vote(request)))?;
            }
            let released = admin.send::<ReleaseImport>(&ImportRelease { import: id.clone() }).await;
            let released: WaitingImport =
                released.map_err(|error| in_the_way(error, Step::Release(vote, &id)))?;
            changed();
            Ok(context.out.report(&released, |released| {
                vec![format!("Devices see import {} from now on", released.id)]
            })?)
        }
        Action::Refuse { id } => {
            let refused: WaitingImport = admin.ask_of::<RefuseImport>(&id).await?;
            changed();
            Ok(context.out.report(&refused, |refused| {
                vec![format!("Refused import {}: nothing of it is kept", refused.id)]
            })?)
        }
    }
}

/// What a release does.
enum Step<'a> {
    /// Approves this request.
    Vote(i64),
    /// Lets devices see this import, after the request was approved.
    Release(Option<i64>, &'a str),
}

/// Two permissions are needed, and a login may have one of them.
fn in_the_way(error: AdminError, step: Step<'_>) -> AdminError {
    let AdminError::Refused(failure) = &error else { return error };
    let (code, message) = match step {
        _ if failure.code != "permission-required" => return error,
        Step::Vote(request) => (
            "approval-needed",
            format!(
                "it waits for the approval of somebody whose login has approve, or of another user of the server's host: \
                 `proxy approvals approve {request}`"
            ),
        ),
        Step::Release(Some(request), id) => (
            "permission-required",
            format!(
                "your approval of request {request} counts, but this login does not let devices see the import: somebody with admin or \
                 admin:imports does, with `proxy imports release {id}`"
            ),
        ),
        Step::Release(None, _) => return error,
    };
    AdminError::Refused(Failure::new(code, message))
}

/// What a push says when its import waits.
pub(crate) fn waits_line(waits: &Waits) -> String {
    let Waits { import, request, approved } = waits;
    match approved {
        true => format!("It is approved, and no device sees it before `proxy imports release {import}`"),
        false => format!(
            "No device sees anything of it until somebody else has approved request {request}: `proxy imports show {import}`, \
             then `proxy imports release {import}`"
        ),
    }
}

fn row(one: &WaitingImport) -> [String; 8] {
    [
        one.id.clone(),
        one.state.clone(),
        one.request.map_or_else(|| "-".to_owned(), |request| request.to_string()),
        one.kind.as_str().to_owned(),
        one.file.clone().unwrap_or_else(|| "-".to_owned()),
        one.pushed_by.clone(),
        one.pushed.clone(),
        one.plan.bytes.to_string(),
    ]
}

fn lines(shown: &WaitingImport) -> Vec<String> {
    let WaitingImport { id, kind, file, sha256, pushed_by, pushed, options, request, state, plan, .. } =
        shown;
    let request = request.map(|request| format!(" (request {request})")).unwrap_or_default();
    let mut lines = vec![
        format!("Import: {id} ({}), {state}{request}", kind.as_str()),
        format!("File: {} (SHA-256 {sha256})", file.as_deref().unwrap_or("without a name")),
        format!("Pushed: {pushed} by {pushed_by}"),
    ];
    let mut options: Vec<String> = [
        options.store.as_ref().map(|store| format!("--store {store}")),
        options.push_channel_map.then(|| "--push-channel-map".to_owned()),
        options.replace.as_ref().map(|name| format!("--replace {name}")),
    ]
    .into_iter()
    .flatten()
    .chain(options.widen.iter().map(|name| format!("--widen {name}")))
    .collect();
    if !options.is_empty() {
        options.sort();
        lines.push(format!("Options: {}", options.join(" ")));
    }
    lines.push(format!("New bytes: {}", plan.bytes));
    let mut section = |title: &str, entries: Vec<String>| {
        if !entries.is_empty() {
            lines.push(format!("{title}:"));
            lines.extend(entries.into_iter().map(|entry| format!("  {entry}")));
        }
    };
    section("Revisions", plan.revisions.iter().flat_map(revision).collect());
    section("Channels", plan.channels.clone());
    let grants = plan.grants.iter().flat_map(|grants| {
        let of = |sign: &'static str, names: &[String]| {
            names.iter().map(move |name| format!("{} {sign}{name}", grants.store)).collect::<Vec<_>>()
        };
        let both = [of("+", &grants.added), of("-", &grants.removed)].concat();
        if both.is_empty() { vec![format!("{} (a new store)", grants.store)] } else { both }
    });
    section("Grants", grants.collect());
    section("Account keys", plan.keys.clone());
    section("Assertions", plan.assertions.clone());
    section("Removed assertions", plan.removed.clone());
    section("Who sees what", plan.visibility.clone());
    lines
}

fn revision(new: &PlannedRevision) -> Vec<String> {
    let before = match (new.before, new.size_before) {
        (Some(before), Some(size)) => format!("after {before} of {size} bytes"),
        _ => "the first one".to_owned(),
    };
    let PlannedRevision { name, revision, version, size, .. } = new;
    let mut lines = vec![format!("{name} {revision} ({version}), {size} bytes, {before}")];
    lines.extend(new.new.iter().map(|what| format!("  + {what}")));
    lines.extend(new.gone.iter().map(|what| format!("  - {what}")));
    lines
}
