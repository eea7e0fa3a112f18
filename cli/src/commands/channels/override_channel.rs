//! `override`: gives devices a revision other than the imported one.

use std::str::FromStr;

use schema::api::admin::calls::SetOverrides;
use schema::api::admin::{Override, OverrideRequest, Overrides};

use crate::context::Context;

/// Give devices on a channel a revision other than the imported one
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy override core18 stable=1722")]
pub(crate) struct Args {
    /// The snap's name
    #[arg(value_name = "NAME")]
    snap: String,

    /// Channel and its new revision; the revision's architectures decide which devices it applies to
    #[arg(value_name = "CHANNEL=REVISION")]
    release: Release,

    /// Let CHANNEL be on a track that the snap does not have yet
    #[arg(long)]
    create_track: bool,
}

/// `CHANNEL=REVISION`
#[derive(Debug, Clone)]
struct Release {
    channel: String,
    revision: u32,
}

impl FromStr for Release {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('=').filter(|(channel, _)| !channel.is_empty());
        let read = parts.and_then(|(channel, number)| Some((channel.to_owned(), number.parse().ok()?)));
        let (channel, revision) = read.ok_or("expected CHANNEL=REVISION, such as stable=1722")?;
        Ok(Self { channel, revision })
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Release { channel, revision } = args.release;
    let wanted = OverrideRequest { snap: args.snap, channel, revision, create_track: args.create_track };
    let made: Overrides = context.admin().await?.send::<SetOverrides>(&wanted).await?;
    Ok(context.out.report(&made, |made| made.overrides.iter().map(line).chain(moved(made)).collect())?)
}

/// `core18 latest/stable amd64 1705 → 1722`, for what changed
pub(crate) fn moved(overrides: &Overrides) -> impl Iterator<Item = String> {
    overrides.moves.iter().map(ToString::to_string)
}

/// `core18 stable amd64 1722`
pub(crate) fn line(one: &Override) -> String {
    let Override { snap_name, channel, architecture, .. } = one;
    let revision = one.revision.map(|revision| format!(" {revision}")).unwrap_or_default();
    format!("{snap_name} {channel} {architecture}{revision}")
}
