//! `verify`: has the server read and check everything it holds.

use http::Method;
use schema::api::admin::{Affected, VerifyProblem, VerifyReport};

use super::Reported;
use crate::context::Context;

/// Check every file, signature, revision and release in the store
///
/// Reads every file in full, which takes a while. A damaged one is not sent to devices any more: push its snap again.
/// Exit code 0 when all is well, 1 when something is wrong; the report is printed in full either way.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy verify
  proxy verify --json")]
pub(super) struct Args {}

pub(super) async fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    let report: VerifyReport = context.admin().await?.send(Method::POST, "/v1/verify", &()).await?;
    context.out.report(&report, lines)?;
    if report.problems.is_empty() { Ok(()) } else { Err(Reported.into()) }
}

fn lines(report: &VerifyReport) -> Vec<String> {
    let VerifyReport { blobs, bytes, assertions, revisions, releases, problems } = report;
    let mut lines = vec![format!(
        "Checked {blobs} files ({bytes} bytes), {assertions} assertions, {revisions} revisions, {releases} releases"
    )];
    lines.extend(problems.iter().flat_map(problem));
    lines.push(match problems.len() {
        0 => "All is well".into(),
        1 => "1 problem".into(),
        count => format!("{count} problems"),
    });
    lines
}

fn problem(VerifyProblem { subject, message, affected, .. }: &VerifyProblem) -> Vec<String> {
    let head = format!("{message}: {subject}");
    std::iter::once(head).chain(affected.iter().map(|one| format!("  {}", sufferer(one)))).collect()
}

/// A snap on one line.
fn sufferer(Affected { snap, snap_id, revision, component, stores }: &Affected) -> String {
    let name = if snap.is_empty() { snap_id } else { snap };
    let part = match (revision, component) {
        (Some(revision), _) => format!(" revision {revision}"),
        (None, Some(component)) => format!(" component {component}"),
        (None, None) => String::new(),
    };
    let stores = if stores.is_empty() { "no store".into() } else { stores.join(", ") };
    format!("{name}{part} in {stores}")
}
