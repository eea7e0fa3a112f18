//! `diff`: compares the channel maps of two generations.

use schema::api::admin::HistoryDiff;
use schema::api::admin::calls::CompareHistory;

use crate::context::Context;

/// Compare the channels of two generations
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
    Ok(context.out.report(&diff, |diff| match diff.moves.is_empty() {
        true => vec![format!("Generations {} and {} do not differ.", diff.from, diff.to)],
        false => diff.moves.iter().map(ToString::to_string).collect(),
    })?)
}
