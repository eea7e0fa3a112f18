//! `push-brand-store-metadata`: brings in what a brand store is and which snaps it grants.

use std::path::PathBuf;

use schema::api::admin::PushedStores;

use super::list_stores::summary;
use crate::admin::Upload;
use crate::context::{Context, document_name, read_document};
use crate::output::warning;

/// Import what a brand store is and which snaps it grants
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy push-brand-store-metadata store-metadata.json")]
pub(super) struct Args {
    /// What fetch-brand-store-metadata wrote, or the dashboard's own answer; `-` is standard input
    file: PathBuf,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let upload = Upload::document(document_name(&args.file), read_document(&args.file)?);
    let pushed: PushedStores = context.admin().await?.upload("/v1/stores", &[], upload).await?;
    pushed.warnings.iter().for_each(warning);
    Ok(context.out.report(&pushed, |pushed| {
        pushed.stores.iter().map(|store| format!("Imported store {}", summary(store))).collect()
    })?)
}
