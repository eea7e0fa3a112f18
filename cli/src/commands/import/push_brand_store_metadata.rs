//! `push-brand-store-metadata`: imports a brand store's metadata and the snaps it grants.

use std::path::PathBuf;

use anyhow::Context as _;
use schema::api::admin::PushedStores;
use schema::api::admin::calls::PushStores;

use super::changes::{WidenArgs, check, explain, view_lines};
use super::waiting::waits_line;
use crate::admin::Upload;
use crate::commands::store::list_stores::summary;
use crate::context::Context;
use crate::documents::{document_name, read_kind, shown};
use crate::kinds::Kind;
use crate::output::warning;

/// Import a brand store's metadata and the snaps it grants
///
/// A file changes only the grants of its own store. A private snap of another store is granted if both stores name
/// each other in their inclusion lists, or if --widen names the snap.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy push-brand-store-metadata store-metadata.json
  proxy push-brand-store-metadata store-metadata.json --dry-run")]
pub(crate) struct Args {
    /// File from fetch-brand-store-metadata, or the dashboard's raw answer; `-` is standard input
    file: PathBuf,

    #[command(flatten)]
    widen: WidenArgs,

    /// Check everything and print the changes without keeping them
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let upload = Upload::document(document_name(&args.file), read_kind(&args.file, &[Kind::Metadata])?);
    let widen = args.widen.text();
    let mut query = Vec::new();
    if args.dry_run {
        query.push(("dry-run", "true"));
    }
    if !widen.is_empty() {
        query.push(("widen", &*widen));
    }
    let pushed = context.admin().await?.upload::<PushStores>(&query, upload).await.inspect_err(explain);
    let pushed: PushedStores = pushed.with_context(|| format!("cannot push {}", shown(&args.file)))?;
    pushed.warnings.iter().for_each(warning);
    let imported = if args.dry_run || pushed.waits.is_some() { "Would import" } else { "Imported" };
    context.out.report(&pushed, |pushed| {
        let stores = pushed.stores.iter().map(|store| format!("{imported} store {}", summary(store)));
        stores.chain(view_lines(&pushed.visibility)).chain(pushed.waits.iter().map(waits_line)).collect()
    })?;
    check(&pushed.visibility)
}
