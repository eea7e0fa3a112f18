//! `push-assertions`: imports verified assertions of any type.

use std::path::PathBuf;

use schema::api::admin::PushedAssertions;

use crate::admin::{AdminError, Upload};
use crate::context::Context;
use crate::documents::{document_name, read_document};
use crate::output::warning;

/// Import assertions of any type: validation sets, models, accounts
///
/// Each file is a stream in any order, imported as a whole or not at all. Assertions that the store already holds are
/// skipped, and so are lower revisions of them. --replace returns one assertion, given by its name, to the lower
/// revision in the file.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy push-assertions validation-set.assert model.assert
  snap known --remote account account-id=acme | proxy push-assertions -
  proxy push-assertions fixed.assert --replace snap-declaration/16/SNAP_ID")]
pub(crate) struct Args {
    /// Assertion streams; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// The assertion, as TYPE/KEY, that may be replaced by a lower revision; refused if anything needs the higher one
    #[arg(long, value_name = "TYPE/KEY")]
    replace: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    if args.replace.is_some() && args.files.len() > 1 {
        return Err(crate::commands::usage(context.program, "push-assertions", "--replace takes one file"));
    }
    let mut all = PushedAssertions::default();
    for file in &args.files {
        let upload = Upload::document(document_name(file), read_document(file)?);
        let mut pushed = push(context, upload, "assertions", args.replace.as_deref()).await?;
        all.added.append(&mut pushed.added);
        all.already_held.append(&mut pushed.already_held);
        all.warnings.append(&mut pushed.warnings);
    }
    Ok(context.out.report(&all, pushed_lines)?)
}

/// Pushes one stream as the admin API's `kind`, and prints its warnings.
pub(crate) async fn push(
    context: &Context,
    upload: Upload,
    kind: &str,
    replace: Option<&str>,
) -> Result<PushedAssertions, AdminError> {
    let mut query = vec![("as", kind)];
    query.extend(replace.map(|name| ("replace", name)));
    let pushed: PushedAssertions = context.admin().await?.upload("/v1/assertions", &query, upload).await?;
    pushed.warnings.iter().for_each(warning);
    Ok(pushed)
}

/// One line per assertion.
pub(crate) fn pushed_lines(pushed: &PushedAssertions) -> Vec<String> {
    let added = pushed.added.iter().map(|name| format!("Added {name}"));
    let held = pushed.already_held.iter().map(|name| format!("Already there: {name}"));
    added.chain(held).collect()
}
