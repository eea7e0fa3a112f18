//! `push-account-keys`: imports the keys that sign models and serials.

use std::path::PathBuf;

use super::push_assertions::{push, pushed_lines};
use crate::admin::Upload;
use crate::context::Context;
use crate::documents::{document_name, read_kind};
use crate::kinds::Kind;

/// Import the account keys that sign models and serials
///
/// The file is an assertion stream in any order, imported as a whole or not at all; assertions that the store already
/// holds are skipped.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy push-account-keys acme-keys.assert
  snap known --remote account-key public-key-sha3-384=HASH | proxy push-account-keys -")]
pub(crate) struct Args {
    /// File from fetch-account-keys, or any stream with account keys; `-` is standard input
    file: PathBuf,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let upload = Upload::document(
        document_name(&args.file),
        read_kind(&args.file, &[Kind::AccountKeys, Kind::Assertions, Kind::Store])?,
    );
    let pushed = push(context, upload, "account-keys", &[]).await?;
    Ok(context.out.report(&pushed, pushed_lines)?)
}
