//! `audit`: lists what operators did, and follows new events.

use std::io::ErrorKind;
use std::time::Duration;

use schema::api::admin::calls::ListAudit;
use schema::api::admin::{AuditEntry, AuditLog};

use crate::commands::devices::list_devices::duration;
use crate::context::Context;
use crate::output::{note, table};

/// How often to poll for new events.
const PERIOD: Duration = Duration::from_millis(500);

/// List what was changed or refused, when and by whom, newest last
///
/// Each event carries a digest of itself and of all events before it. Keep a copy of the last digest elsewhere: with
/// it, `proxy verify --audit-head` proves later that nothing before it was changed or removed.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy audit
  proxy audit --since 7d
  proxy audit --json --follow")]
pub(crate) struct Args {
    /// Only events within this time, such as 12h or 30d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<u64>,

    /// Follow new events as they arrive; with --json one object per line, as always
    #[arg(long)]
    follow: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let since = args.since.map(|seconds| ("since", seconds.to_string()));
    let log: AuditLog = context.admin().await?.ask_for::<ListAudit>(since).await?;
    if args.follow {
        return follow(log, context).await;
    }
    if context.out.is_json() {
        return Ok(log.events.iter().try_for_each(|event| context.out.json_line(event)).or_else(ended)?);
    }
    let rows = log.events.iter().map(|event| {
        let (at, who, what) = (event.at.clone(), event.who.clone(), event.what.clone());
        [event.sequence.to_string(), at, who, what, event.subject.clone(), event.outcome.clone()]
    });
    context.out.lines(&table(["Number", "Time", "Who", "Action", "Subject", "Outcome"], rows.collect()))?;
    if let Some(head) = log.head {
        note(format!("the log ends with {head}"));
    }
    Ok(())
}

async fn follow(log: AuditLog, context: &Context) -> anyhow::Result<()> {
    // Events that arrive between the two requests are part of the next answer.
    let mut last = log.events.last().map(|event| event.sequence).or(log.head.map(|head| head.sequence));
    let mut events = log.events;
    loop {
        for event in &events {
            if let Err(error) = print(event, context) {
                return Ok(ended(error)?);
            }
        }
        last = events.last().map(|event| event.sequence).or(last);
        if events.is_empty() {
            tokio::time::sleep(PERIOD).await;
        }
        let after = last.unwrap_or_default();
        events = context.admin().await?.ask_for::<ListAudit>([("after", after.to_string())]).await?.events;
    }
}

fn print(event: &AuditEntry, context: &Context) -> std::io::Result<()> {
    if context.out.is_json() {
        return context.out.json_line(event);
    }
    let AuditEntry { sequence, at, who, what, subject, outcome, .. } = event;
    context.out.line(&format!("{sequence}  {at}  {who}  {what}  {subject}  {outcome}"))
}

/// A reader that closes the pipe is not an error.
fn ended(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}
