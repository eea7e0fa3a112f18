//! `push-store`: imports a whole store, with its snaps, metadata and keys, as one change.

use std::path::PathBuf;

use schema::api::admin::PushedArchive;
use schema::api::admin::calls::PushArchive;

use super::changes::{WidenArgs, channel_lines, check, explain, view_lines};
use super::waiting::waits_line;
use crate::admin::Upload;
use crate::bundle;
use crate::commands::store::list_stores::summary;
use crate::commands::usage;
use crate::context::Context;
use crate::kinds::{self, Kind};
use crate::output::warning;
use crate::parts::{SplitFile, is_part};
use crate::stdin::not_stdin;

/// Import a store: its snaps, metadata and keys, as a whole or not at all
///
/// FILE comes from fetch-store: one archive, or its parts in any order with their .parts.json beside one of them.
/// Every part is checked before anything is sent. Pushing a newer archive brings the store up to date: channels open
/// and move to higher revisions; without --push-channel-map none moves to a lower revision and none is closed.
/// Pushing an archive again changes nothing.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy push-store store-export-AcmeDevices-20260919T154844.tar.gz
  proxy push-store /media/usb1/store-export-A-20260919T154844.tar.gz.part-001 /media/usb2/store-export-A-20260919T154844.tar.gz.part-002
  proxy push-store store-export-AcmeDevices-20260919T154844.tar.gz --dry-run")]
pub(crate) struct Args {
    /// The archive, its parts, or their list
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Apply the archive's channels also where they lead to a lower revision, close, or undo an on-site release
    #[arg(long)]
    push_channel_map: bool,

    #[command(flatten)]
    widen: WidenArgs,

    /// Check everything and print the changes without keeping them
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    args.files.iter().try_for_each(|file| not_stdin(file))?;
    let upload: Upload = match &args.files[..] {
        files if files.iter().all(|file| is_part(file)) => {
            let parts = SplitFile::find(files)?;
            bundle::joined(&parts.name, &parts.files)?
        }
        [archive] => {
            kinds::expect(archive, &[Kind::StoreArchive, Kind::LooseBundle])?;
            bundle::file(archive)?
        }
        _ => return Err(usage(context.program, "push-store", "one archive at a time, or the parts of one")),
    };
    let switches = [("push-channel-map", args.push_channel_map), ("dry-run", args.dry_run)];
    let widen = args.widen.text();
    let mut query: Vec<_> =
        switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, "true")).collect();
    if !widen.is_empty() {
        query.push(("widen", &widen));
    }
    let pushed: PushedArchive =
        context.admin().await?.upload::<PushArchive>(&query, upload).await.inspect_err(explain)?;
    pushed.warnings.iter().for_each(warning);
    context.out.report(&pushed, |pushed| {
        let mut lines = lines(pushed, args.dry_run);
        lines.extend(pushed.waits.iter().map(waits_line));
        lines
    })?;
    check(&pushed.visibility)
}

/// The lines, in the format that scripts expect.
pub(crate) fn lines(pushed: &PushedArchive, dry_run: bool) -> Vec<String> {
    let (uploaded, pushing) = if dry_run || pushed.waits.is_some() {
        ("Would upload", "Would push")
    } else {
        ("Uploaded", "Pushing")
    };
    let mut lines = Vec::new();
    for snap in &pushed.snaps {
        lines.extend(snap.revisions.iter().map(|held| match held.already_held {
            true => format!("{} revision {} is already there", snap.name, held.revision),
            false => format!("{uploaded} snap and assertions for {} revision {}", snap.name, held.revision),
        }));
    }
    lines.extend(pushed.stores.iter().map(|store| format!("{pushing} store {}", summary(store))));
    lines.push(format!("{pushing} {} new assertions", pushed.assertions));
    lines.extend(pushed.snaps.iter().flat_map(channel_lines));
    lines.extend(view_lines(&pushed.visibility));
    lines
}
