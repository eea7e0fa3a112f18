//! `remove-account-key`: removes an account key.

use schema::api::admin::Task;

use crate::commands::channels::release::upkeep;
use crate::context::Context;

/// Remove an account key that signed nothing that is held
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy remove-account-key KEY_ID
  proxy remove-account-key KEY_ID --apply")]
pub(crate) struct Args {
    /// The key's id, 64 characters
    #[arg(value_name = "KEY_ID", allow_hyphen_values = true)]
    key: String,

    /// Do it; otherwise only the plan is shown
    #[arg(long)]
    apply: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { key, apply } = args;
    upkeep(context, Task::RemoveAccountKey { key }, apply).await
}
