//! `unblock-device`: serves a device again.

use schema::api::admin::DeviceBlock;
use schema::store::DeviceId;

use super::block_device::set_blocked;
use crate::context::Context;

/// Serve a blocked device again
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy unblock-device acme/gateway-2000/SN-00017")]
pub(crate) struct Args {
    /// Device to unblock
    #[arg(value_name = "BRAND/MODEL/SERIAL")]
    device: DeviceId,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    set_blocked(context, DeviceBlock { device: args.device, blocked: false, unseen: false }, "Unblocked")
        .await
}
