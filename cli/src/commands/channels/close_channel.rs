//! `close-channel`: closes a channel of the imported map.

use schema::api::admin::Task;

use super::release::upkeep;
use crate::context::Context;

/// Close a channel; devices that track it fall back to the next safer risk
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy close-channel core18 edge
  proxy close-channel core18 edge --apply")]
pub(crate) struct Args {
    /// The snap's name
    #[arg(value_name = "NAME")]
    snap: String,

    /// The channel
    #[arg(value_name = "CHANNEL")]
    channel: String,

    /// Apply the change; otherwise only the plan is shown
    #[arg(long)]
    apply: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { snap, channel, apply } = args;
    upkeep(context, Task::CloseChannel { snap, channel }, apply).await
}
