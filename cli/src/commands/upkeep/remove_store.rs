//! `remove-store`: removes the metadata of a store.

use schema::api::admin::Task;

use crate::commands::channels::release::upkeep;
use crate::context::Context;

/// Remove the metadata of a store that no other store or login needs
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy remove-store AcmeStore
  proxy remove-store AcmeStore --apply")]
pub(crate) struct Args {
    /// The store
    #[arg(value_name = "STORE_ID")]
    store: String,

    /// Apply the change; otherwise only the plan is shown
    #[arg(long)]
    apply: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { store, apply } = args;
    upkeep(context, Task::RemoveStore { store }, apply).await
}
