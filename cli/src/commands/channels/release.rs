//! `release`: puts a held revision into a channel. Here too: how the commands that plan first tell their plan.

use http::Method;
use schema::api::admin::{Task, UpkeepPlan, UpkeepRequest};

use crate::context::Context;
use crate::output;

/// Put a revision that was pushed into a channel of the imported map
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy release core18 1722 stable
  proxy release core18 1722 latest/candidate --apply")]
pub(crate) struct Args {
    /// The snap's name
    #[arg(value_name = "NAME")]
    snap: String,

    /// The revision; it decides the architectures
    #[arg(value_name = "REVISION")]
    revision: u32,

    /// The channel
    #[arg(value_name = "CHANNEL")]
    channel: String,

    /// Do it; otherwise only the plan is shown
    #[arg(long)]
    apply: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { snap, revision, channel, apply } = args;
    upkeep(context, Task::Release { snap, revision, channel }, apply).await
}

/// Has a task planned, or done, and tells its steps.
pub(crate) async fn upkeep(context: &Context, task: Task, apply: bool) -> anyhow::Result<()> {
    let wanted = UpkeepRequest { apply, task };
    let plan: UpkeepPlan = context.admin().await?.send(Method::POST, "/v1/upkeep", &wanted).await?;
    plan.warnings.iter().for_each(output::warning);
    if plan.applied {
        output::changed();
    }
    if !plan.applied && !plan.steps.is_empty() {
        output::note("nothing has changed yet: run the same command with --apply to do this");
    }
    Ok(context.out.report(&plan, |plan| {
        let mut lines = plan.steps.clone();
        if lines.is_empty() {
            lines.push("There is nothing to do.".into());
        }
        if plan.unused_bytes > 0 {
            lines.push(format!("{} bytes of files are used by nothing afterwards.", plan.unused_bytes));
        }
        lines
    })?)
}
