//! `prune`: removes unused old revisions.

use schema::api::admin::Task;

use crate::commands::channels::release::upkeep;
use crate::context::Context;

/// Remove revisions that nothing needs, except the newest ones
///
/// A channel, override, validation set, tag, rollout or seen device needs its revision. `proxy.retention.keep` has the same
/// planned each hour.
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
