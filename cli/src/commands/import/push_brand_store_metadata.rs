//! `push-brand-store-metadata`: imports a brand store's metadata and the snaps it grants.

use std::path::{Path, PathBuf};

use schema::api::admin::PushedStores;
use schema::api::admin::calls::PushStores;

use super::changes::{WidenArgs, view_lines};
use super::each::{headed, push_each};
use super::waiting::waits_line;
use crate::admin::Upload;
use crate::commands::store::list_stores::summary;
use crate::context::Context;
use crate::documents::{document_name, read_kind};
use crate::kinds::Kind;
use crate::output::warning;

/// Import a brand store's metadata and the snaps it grants
///
/// A file changes only the grants of its own store, and is imported as a whole or not at all. A private snap of another store is granted if both stores name
/// each other in their inclusion lists, or if --widen names the snap.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy push-brand-store-metadata store-metadata.json
  proxy push-brand-store-metadata store-metadata.json --dry-run")]
pub(crate) struct Args {
    /// Files from fetch-brand-store-metadata, or the dashboard's raw answers; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    widen: WidenArgs,

    /// Check everything and print the changes without keeping them
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let widen = args.widen.text();
    let mut query = Vec::new();
    if args.dry_run {
        query.push(("dry-run", "true"));
    }
    if !widen.is_empty() {
        query.push(("widen", &*widen));
    }
    let several = args.files.len() > 1;
    let push = async |file: &Path| {
        let upload = Upload::document(document_name(file), read_kind(file, &[Kind::Metadata])?);
        let pushed = context.admin().await?.upload::<PushStores>(&query, upload).await?;
        pushed.warnings.iter().for_each(warning);
        Ok(pushed)
    };
    let told = |file: &Path, pushed: &PushedStores| {
        let imported = if args.dry_run || pushed.waits.is_some() { "Would import" } else { "Imported" };
        let stores = pushed.stores.iter().map(|store| format!("{imported} store {}", summary(store)));
        let lines = stores.chain(view_lines(&pushed.visibility)).chain(pushed.waits.iter().map(waits_line));
        (headed(lines.collect(), file, several), pushed.visibility.clone())
    };
    push_each(context, args.files, push, told).await
}
