//! `log`: lists how the channel map moved.

use schema::api::admin::History;
use schema::api::admin::calls::ShowHistory;

use crate::context::Context;
use crate::output::{note, table};

/// List how channels moved, when and by whom, newest last
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
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
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
    Ok(context.out.report(&history, |history| {
        let rows = history.entries.iter().flat_map(|entry| {
            entry.moves.iter().map(|moved| {
                let (at, who, what) = (entry.at.clone(), entry.who.clone(), entry.what.clone());
                [entry.generation.to_string(), at, who, what, moved.to_string()]
            })
        });
        match history.entries.is_empty() {
            true => vec!["Nothing has moved.".to_owned()],
            false => table(["Generation", "Time", "Who", "Action", "Change"], rows.collect()),
        }
    })?)
}
