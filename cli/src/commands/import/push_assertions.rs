//! `push-assertions`: imports verified assertions of any type.

use std::path::{Path, PathBuf};

use schema::api::admin::PushedAssertions;
use schema::api::admin::calls::PushAssertions;

use super::changes::{WidenArgs, view_lines};
use super::each::{headed, push_each};
use super::waiting::waits_line;
use crate::admin::{AdminError, Upload};
use crate::context::Context;
use crate::documents::{document_name, read_kind};
use crate::kinds::Kind;
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
  proxy push-assertions declarations.assert --dry-run
  proxy push-assertions fixed.assert --replace snap-declaration/16/SNAP_ID")]
pub(crate) struct Args {
    /// Assertion streams; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// The assertion, as TYPE/KEY, that may be replaced by a lower revision; refused if anything needs the higher one
    #[arg(long, value_name = "TYPE/KEY")]
    replace: Option<String>,

    #[command(flatten)]
    widen: WidenArgs,

    /// Only tell what would change: everything is checked, nothing is kept
    #[arg(long)]
    dry_run: bool,
}

/// Texts of assertions.
const KINDS: [Kind; 3] = [Kind::Assertions, Kind::AccountKeys, Kind::Store];

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    if args.replace.is_some() && args.files.len() > 1 {
        return Err(crate::commands::usage(context.program, "push-assertions", "--replace takes one file"));
    }
    let widen = args.widen.text();
    let mut query: Vec<(&str, &str)> = args.replace.iter().map(|name| ("replace", name.as_str())).collect();
    query.extend(args.dry_run.then_some(("dry-run", "true")));
    query.extend((!widen.is_empty()).then_some(("widen", widen.as_str())));
    push_all(context, args.files, &KINDS, ("assertions", &query), args.dry_run).await
}

/// Pushes texts of assertions of these kinds, each by itself.
pub(super) async fn push_all(
    context: &Context,
    files: Vec<PathBuf>,
    kinds: &[Kind],
    (kind, more): (&str, &[(&str, &str)]),
    dry_run: bool,
) -> anyhow::Result<()> {
    let several = files.len() > 1;
    let push = async |file: &Path| {
        let upload = Upload::document(document_name(file), read_kind(file, kinds)?);
        Ok(push(context, upload, kind, more).await?)
    };
    let told = |file: &Path, pushed: &PushedAssertions| {
        (headed(lines(pushed, dry_run), file, several), pushed.visibility.clone())
    };
    push_each(context, files, push, told).await
}

/// Pushes one stream as the admin API's `kind`, and prints its warnings.
pub(crate) async fn push(
    context: &Context,
    upload: Upload,
    kind: &str,
    more: &[(&str, &str)],
) -> Result<PushedAssertions, AdminError> {
    let query = [&[("as", kind)], more].concat();
    let pushed: PushedAssertions = context.admin().await?.upload::<PushAssertions>(&query, upload).await?;
    pushed.warnings.iter().for_each(warning);
    Ok(pushed)
}

/// One line for each assertion, and for each change of who sees what.
pub(crate) fn lines(pushed: &PushedAssertions, dry_run: bool) -> Vec<String> {
    let add = if dry_run || pushed.waits.is_some() { "Would add" } else { "Added" };
    let added = pushed.added.iter().map(|name| format!("{add} {name}"));
    let held = pushed.already_held.iter().map(|name| format!("Already there: {name}"));
    let waits = pushed.waits.iter().map(waits_line);
    added.chain(held).chain(view_lines(&pushed.visibility)).chain(waits).collect()
}
