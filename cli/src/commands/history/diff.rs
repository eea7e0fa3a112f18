//! `diff`: compares two generations.

use schema::api::admin::HistoryDiff;
use schema::api::admin::calls::CompareHistory;

use super::told;
use crate::context::Context;
use crate::output::note;

/// Compare the channels, grants and metadata of two generations
///
/// A generation is a number, as `proxy log` shows it, a tag, or a time such as 2026-05-03T14:00:00Z; a date stands for
/// its first moment in UTC.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy diff 17
  proxy diff before-upgrade 42
  proxy diff 2026-05-03 --snap core18")]
pub(crate) struct Args {
    /// A generation, tag or time
    #[arg(value_name = "FROM")]
    from: String,

    /// Another one [default: now]
    #[arg(value_name = "TO")]
    to: Option<String>,

    /// Only this snap
    #[arg(long, value_name = "NAME")]
    snap: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let named = |name, value: Option<String>| value.map(|value| (name, value));
    let query = [named("from", Some(args.from)), named("to", args.to), named("snap", args.snap)];
    let diff: HistoryDiff =
        context.admin().await?.ask_for::<CompareHistory>(query.into_iter().flatten()).await?;
    if diff.from.min(diff.to) < diff.grants_since {
        note(format!("grants and metadata are known from generation {} on", diff.grants_since));
    }
    Ok(context.out.report(&diff, |diff| {
        let lines = told(&diff.moves, &diff.grants, &diff.metadata);
        match lines.is_empty() {
            true => vec![format!("Generations {} and {} do not differ.", diff.from, diff.to)],
            false => lines,
        }
    })?)
}
