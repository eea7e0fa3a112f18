//! `remove-snap`: removes a snap, or one of its revisions.

use schema::api::admin::Task;

use crate::commands::channels::release::upkeep;
use crate::context::Context;

/// Remove a snap that no channel, override, store or validation set needs, or one revision of it
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy remove-snap core18 --revision 1705
  proxy remove-snap core18 --revision 1705 --apply")]
pub(crate) struct Args {
    /// The snap's name
    #[arg(value_name = "NAME")]
    snap: String,

    /// Only this revision
    #[arg(long, value_name = "REVISION")]
    revision: Option<u32>,

    /// Apply the change; otherwise only the plan is shown
    #[arg(long)]
    apply: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { snap, revision, apply } = args;
    upkeep(context, Task::RemoveSnap { snap, revision }, apply).await
}
