//! `list-pushed-snaps`: lists imported snaps.

use schema::api::admin::Snaps;
use schema::api::admin::calls::ListSnaps;

use crate::context::Context;
use crate::output::{note, table};

/// List the snaps that were pushed
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy list-pushed-snaps
  proxy list-pushed-snaps --revisions")]
pub(crate) struct Args {
    /// Print one line per revision, with version, architectures, size and channels
    #[arg(long)]
    revisions: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut snaps: Snaps = context.admin().await?.ask::<ListSnaps>().await?;
    snaps.snaps.sort_by(|one, other| one.name.cmp(&other.name));
    for snap in snaps.snaps.iter().filter(|snap| args.revisions && !snap.closed.is_empty()) {
        let (name, closed) = (&snap.name, snap.closed.join(", "));
        note(format!("closed here for {name}: {closed} (`proxy release {name} REVISION CHANNEL` opens one)"));
    }
    Ok(context.out.report(&snaps, |snaps| if args.revisions { revisions(snaps) } else { names(snaps) })?)
}

fn names(snaps: &Snaps) -> Vec<String> {
    let rows = snaps.snaps.iter().map(|snap| [snap.name.clone(), snap.stores.join(", ")]);
    table(["Name", "Stores"], rows.collect())
}

fn revisions(snaps: &Snaps) -> Vec<String> {
    let rows = snaps.snaps.iter().flat_map(|snap| {
        snap.revisions.iter().map(|revision| {
            [
                snap.name.clone(),
                revision.revision.to_string(),
                revision.version.clone(),
                revision.architectures.join(", "),
                revision.size.to_string(),
                if revision.channels.is_empty() { "-".into() } else { revision.channels.join(", ") },
                snap.stores.join(", "),
            ]
        })
    });
    table(["Name", "Revision", "Version", "Architectures", "Size", "Channels", "Stores"], rows.collect())
}
