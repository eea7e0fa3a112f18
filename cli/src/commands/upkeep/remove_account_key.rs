//! `remove-account-key`: removes an account key.

use schema::api::admin::Task;

use crate::commands::channels::release::upkeep;
use crate::context::Context;

/// Remove an account key whose signatures the store does not need
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy remove-account-key KEY_ID
  proxy remove-account-key KEY_ID --apply")]
pub(crate) struct Args {
    /// The key's id, 64 characters
    #[arg(value_name = "KEY_ID", allow_hyphen_values = true)]
    key: String,

    /// Apply the change; otherwise only the plan is shown
    #[arg(long)]
    apply: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { key, apply } = args;
    upkeep(context, Task::RemoveAccountKey { key }, apply).await
}
