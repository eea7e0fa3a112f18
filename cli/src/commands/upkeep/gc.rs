//! `gc`: removes files that nothing owns.

use schema::api::admin::calls::CollectGarbage;
use schema::api::admin::{CleanUp, CleanedUp};

use crate::context::Context;
use crate::output::changed;

/// Remove stored files that no snap, component or icon owns
///
/// Interrupted pushes leave such files behind. Files younger than an hour are kept, because a push may be running. If
/// anything cannot be read, nothing is removed.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy gc --dry-run
  proxy gc")]
pub(crate) struct Args {
    /// Only report what would be removed
    #[arg(long)]
    dry_run: bool,

    /// Also remove files younger than an hour; only if no other server imports into the same folder
    #[arg(long)]
    now: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let wanted = CleanUp { dry_run: args.dry_run, now: args.now };
    let done: CleanedUp = context.admin().await?.send::<CollectGarbage>(&wanted).await?;
    if !done.dry_run {
        changed();
    }
    Ok(context.out.report(&done, lines)?)
}

fn lines(done: &CleanedUp) -> Vec<String> {
    let mut lines: Vec<String> =
        done.removed.iter().map(|blob| format!("{} ({} bytes)", blob.digest, blob.size)).collect();
    let verb = if done.dry_run { "Would remove" } else { "Removed" };
    let young = match done.young {
        0 => String::new(),
        count => format!(", {count} younger than an hour stay"),
    };
    if done.rows > 0 {
        lines.push(format!("{verb} {} rows of the database about files that nobody owns", done.rows));
    }
    if done.set_aside > 0 {
        lines.push(format!("{verb} {} damaged files that had been set aside", done.set_aside));
    }
    lines.push(format!("{verb} {} files ({} bytes){young}", done.removed.len(), done.bytes));
    lines
}
