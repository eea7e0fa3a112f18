//! `push-brand-store-metadata`: brings in what a brand store is and which snaps it grants.

use std::path::PathBuf;

use schema::api::admin::PushedStores;

use super::changes::{WidenArgs, check, explain, view_lines};
use super::list_stores::summary;
use crate::admin::Upload;
use crate::context::Context;
use crate::documents::{document_name, read_document};
use crate::output::warning;

/// Import what a brand store is and which snaps it grants
///
/// A file changes the grants of its own store alone. A private snap of another store is granted where both stores name each
/// other in their inclusion lists, or where --widen names it.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy push-brand-store-metadata store-metadata.json
  proxy push-brand-store-metadata store-metadata.json --dry-run")]
pub(super) struct Args {
    /// What fetch-brand-store-metadata wrote, or the dashboard's own answer; `-` is standard input
    file: PathBuf,

    #[command(flatten)]
    widen: WidenArgs,

    /// Only tell what would change: everything is checked, nothing is kept
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let upload = Upload::document(document_name(&args.file), read_document(&args.file)?);
    let widen = args.widen.text();
    let mut query = Vec::new();
    if args.dry_run {
        query.push(("dry-run", "true"));
    }
    if !widen.is_empty() {
        query.push(("widen", &*widen));
    }
    let pushed: PushedStores =
        context.admin().await?.upload("/v1/stores", &query, upload).await.inspect_err(explain)?;
    pushed.warnings.iter().for_each(warning);
    let imported = if args.dry_run { "Would import" } else { "Imported" };
    context.out.report(&pushed, |pushed| {
        let stores = pushed.stores.iter().map(|store| format!("{imported} store {}", summary(store)));
        stores.chain(view_lines(&pushed.visibility)).collect()
    })?;
    check(&pushed.visibility)
}
