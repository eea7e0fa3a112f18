//! `back`: gives channels the releases of an earlier generation.

use schema::api::admin::Task;

use crate::commands::channels::release::upkeep;
use crate::context::Context;

/// Give channels the releases and overrides of an earlier generation, all at once
///
/// It is refused as long as a revision is missing that has to be released again. What moves counts as decided on site:
/// imports treat it as what `proxy release` and `proxy close-channel` decide. Grants and metadata stay as they are: no store
/// shows more than what was imported last allows. `proxy diff` shows how they differ.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy back before-upgrade
  proxy back before-upgrade --apply
  proxy back 17 --snap core18 --apply")]
pub(crate) struct Args {
    /// A generation, tag or time, as for `proxy diff`
    #[arg(value_name = "GENERATION")]
    to: String,

    /// Only this snap
    #[arg(long, value_name = "NAME")]
    snap: Option<String>,

    /// Apply the change; otherwise only the plan is shown
    #[arg(long)]
    apply: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { to, snap, apply } = args;
    upkeep(context, Task::Back { to, snap }, apply).await
}
