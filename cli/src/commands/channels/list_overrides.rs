//! `list-overrides`: lists overrides of the imported channel map.

use schema::api::admin::Overrides;
use schema::api::admin::calls::ListOverrides;

use super::override_channel::line;
use crate::context::Context;

/// List overrides, of one snap or of all
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy list-overrides
  proxy list-overrides core18")]
pub(crate) struct Args {
    /// Overrides of this snap
    #[arg(value_name = "NAME")]
    snap: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let snap = args.snap.iter().map(|snap| ("snap", snap));
    let overrides: Overrides = context.admin().await?.ask_for::<ListOverrides>(snap).await?;
    Ok(context.out.report(&overrides, |overrides| {
        let upstream = |revision: Option<u32>| match revision {
            Some(revision) => format!("upstream {revision}"),
            None => "nothing upstream".into(),
        };
        let lines = overrides.overrides.iter();
        lines.map(|one| format!("{} ({})", line(one), upstream(one.upstream_revision))).collect()
    })?)
}
