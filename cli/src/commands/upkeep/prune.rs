//! `prune`: removes old revisions that nothing leads to.

use schema::api::admin::Task;

use crate::commands::channels::release::upkeep;
use crate::context::Context;

/// Remove the revisions that no channel, override or validation set leads to, but the newest ones
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy prune --keep 2
  proxy prune --keep 2 --apply")]
pub(crate) struct Args {
    /// How many revisions of each snap, architecture and epoch stay, released ones among them
    #[arg(long, value_name = "N")]
    keep: usize,

    /// Do it; otherwise only the plan is shown
    #[arg(long)]
    apply: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { keep, apply } = args;
    upkeep(context, Task::Prune { keep }, apply).await
}
