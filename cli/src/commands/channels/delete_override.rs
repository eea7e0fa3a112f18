//! `delete-override`: removes overrides, so that the imported channel map applies again.

use schema::api::admin::Overrides;
use schema::api::admin::calls::RemoveOverrides;

use super::override_channel::{line, moved};
use crate::context::Context;

/// Delete the overrides of a channel for all architectures; the imported channel map applies again
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy delete-override core18 stable")]
pub(crate) struct Args {
    /// The snap's name
    #[arg(value_name = "NAME")]
    snap: String,

    /// The channel
    #[arg(value_name = "CHANNEL")]
    channel: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let pairs = [("snap", args.snap), ("channel", args.channel)];
    let left: Overrides = context.admin().await?.ask_for::<RemoveOverrides>(pairs).await?;
    Ok(context.out.report(&left, |left| {
        let upstream = |revision: Option<u32>| match revision {
            Some(revision) => format!("revision {revision}"),
            None => "nothing there".into(),
        };
        let lines = left.overrides.iter();
        lines
            .map(|one| format!("{} is tracking upstream ({})", line(one), upstream(one.upstream_revision)))
            .chain(moved(left))
            .collect()
    })?)
}
