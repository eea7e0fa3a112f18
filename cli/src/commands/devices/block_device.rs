//! `block-device`: blocks a device from its next request on.

use schema::api::admin::DeviceBlock;
use schema::api::admin::calls::BlockDevice;
use schema::store::DeviceId;

use crate::context::Context;

/// Block a device from its next request on
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy block-device acme/gateway-2000/SN-00017
  proxy block-device acme/gateway-2000/SN-00018 --unseen")]
pub(crate) struct Args {
    /// Device to block
    #[arg(value_name = "BRAND/MODEL/SERIAL")]
    device: DeviceId,

    /// Block the device even though it was never seen here
    #[arg(long)]
    unseen: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    set_blocked(context, DeviceBlock { device: args.device, blocked: true, unseen: args.unseen }, "Blocked")
        .await
}

/// Blocks or unblocks a device, and reports it with `verb`.
pub(crate) async fn set_blocked(context: &Context, wanted: DeviceBlock, verb: &str) -> anyhow::Result<()> {
    let now: DeviceBlock = context.admin().await?.send::<BlockDevice>(&wanted).await?;
    Ok(context.out.report(&now, |now| vec![format!("{verb} {}", now.device)])?)
}
