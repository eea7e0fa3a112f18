//! `log`: lists what changed.

use schema::api::admin::History;
use schema::api::admin::calls::ShowHistory;

use super::told;
use crate::context::Context;
use crate::output::{note, table};

/// List how channels, grants and metadata changed, when and by whom, newest last
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy log
  proxy log core18
  proxy log --last 3 --json")]
pub(crate) struct Args {
    /// Only this snap; its id if it is no longer held
    #[arg(value_name = "SNAP")]
    snap: Option<String>,

    /// Only the last so many changes
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    last: u32,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let last = args.last.to_string();
    let query = args.snap.iter().map(|snap| ("snap", snap)).chain([("last", &last)]);
    let history: History = context.admin().await?.ask_for::<ShowHistory>(query).await?;
    if history.more {
        note(format!("earlier changes are not shown: --last {} shows more", args.last.saturating_mul(10)));
    } else if history.start > 0 {
        let since = history.started.as_deref().map(|at| format!(" of {at}")).unwrap_or_default();
        note(format!("history starts with generation {}{since}", history.start));
    }
    if !history.more && history.grants_since > history.start {
        note(format!("grants and metadata are known from generation {} on", history.grants_since));
    }
    Ok(context.out.report(&history, |history| {
        let rows = history.entries.iter().flat_map(|entry| {
            told(&entry.moves, &entry.grants, &entry.metadata).into_iter().map(|change| {
                let (at, who, what) = (entry.at.clone(), entry.who.clone(), entry.what.clone());
                [entry.generation.to_string(), at, who, what, change]
            })
        });
        match history.entries.is_empty() {
            true => vec!["Nothing has changed.".to_owned()],
            false => table(["Generation", "Time", "Who", "Action", "Change"], rows.collect()),
        }
    })?)
}
