//! `push-account-keys`: imports the keys that sign models and serials.

use std::path::PathBuf;

use super::push_assertions::push_all;
use crate::context::Context;
use crate::kinds::Kind;

/// Import the account keys that sign models and serials
///
/// Each file is an assertion stream in any order, imported as a whole or not at all; assertions that the store already
/// holds are skipped.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy push-account-keys acme-keys.assert
  snap known --remote account-key public-key-sha3-384=HASH | proxy push-account-keys -")]
pub(crate) struct Args {
    /// Files from fetch-account-keys, or any streams with account keys; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let kinds = [Kind::AccountKeys, Kind::Assertions, Kind::Store];
    push_all(context, args.files, &kinds, ("account-keys", &[]), false).await
}
