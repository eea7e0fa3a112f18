//! `release`: releases a held revision to a channel. Also holds how commands with a plan print it.

use schema::api::admin::calls::Upkeep;
use schema::api::admin::{Task, UpkeepPlan, UpkeepRequest};

use crate::context::Context;
use crate::output;

/// Release a pushed revision to a channel of the imported map
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy release core18 1722 stable
  proxy release core18 1722 latest/candidate --apply")]
pub(crate) struct Args {
    /// The snap's name
    #[arg(value_name = "NAME")]
    snap: String,

    /// The revision; its architectures decide which devices it applies to
    #[arg(value_name = "REVISION")]
    revision: u32,

    /// The channel
    #[arg(value_name = "CHANNEL")]
    channel: String,

    /// Let CHANNEL be on a track that the snap does not have yet
    #[arg(long)]
    create_track: bool,

    /// Apply the change; otherwise only the plan is shown
    #[arg(long)]
    apply: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { snap, revision, channel, create_track, apply } = args;
    upkeep(context, Task::Release { snap, revision, channel, create_track }, apply).await
}

/// Plans or applies a task and prints its steps.
pub(crate) async fn upkeep(context: &Context, task: Task, apply: bool) -> anyhow::Result<()> {
    let wanted = UpkeepRequest { apply, task };
    let plan: UpkeepPlan = context.admin().await?.send::<Upkeep>(&wanted).await?;
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
