//! `audit`: lists what operators did.

use schema::api::admin::AuditLog;

use super::list_devices::duration;
use crate::context::Context;
use crate::output::table;

/// List what was changed, when and by whom, newest last
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy audit
  proxy audit --since 7d")]
pub(super) struct Args {
    /// Only what was done within this time, such as 12h or 30d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<u64>,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let query = args.since.map(|seconds| format!("?since={seconds}")).unwrap_or_default();
    let log: AuditLog = context.admin().await?.get(&format!("/v1/audit{query}")).await?;
    Ok(context.out.report(&log, |log| {
        let rows = log.events.iter().map(|event| {
            let (at, who, what) = (event.at.clone(), event.who.clone(), event.what.clone());
            [event.sequence.to_string(), at, who, what, event.subject.clone(), event.outcome.clone()]
        });
        table(["Number", "Time", "Who", "Action", "Subject", "Outcome"], rows.collect())
    })?)
}
