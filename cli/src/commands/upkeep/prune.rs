//! `prune`: removes unused old revisions.

use schema::api::admin::Task;

use crate::commands::channels::release::upkeep;
use crate::context::Context;

/// Remove revisions that no channel, override or validation set uses, except the newest ones
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy prune --keep 2
  proxy prune --keep 2 --apply")]
pub(crate) struct Args {
    /// How many revisions to keep per snap, architecture and epoch, released ones included
    #[arg(long, value_name = "N")]
    keep: usize,

    /// Apply the change; otherwise only the plan is shown
    #[arg(long)]
    apply: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { keep, apply } = args;
    upkeep(context, Task::Prune { keep }, apply).await
}
