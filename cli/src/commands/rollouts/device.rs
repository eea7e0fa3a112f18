//! `device`: gives devices tags of the operator's own.

use clap::Subcommand;
use schema::api::admin::calls::SetDeviceTags;
use schema::api::admin::{TagDevices, TaggedDevices};

use super::name;
use crate::context::Context;
use crate::output::{changed, table};

/// Give devices a tag, or take it back
///
/// A tag is a word of your own, such as `lab` or `hall-7`. A group may take the devices that have it.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy device tag SN-00017 SN-00018 lab")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Give devices a tag, or take it back with --remove
    #[command(before_help = "Examples:
  proxy device tag SN-00017 SN-00018 lab
  proxy device tag acme/gateway-2000/SN-00017 lab --remove")]
    Tag {
        /// Devices: BRAND/MODEL/SERIAL, or the serial of one that was seen here
        #[arg(value_name = "SERIAL", required = true, num_args = 1..)]
        devices: Vec<String>,

        /// The tag
        #[arg(value_name = "TAG", value_parser = name)]
        tag: String,

        /// Take the tag back
        #[arg(long)]
        remove: bool,
    },
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Action::Tag { devices, tag, remove } = args.action;
    let wanted = TagDevices { devices, tag, remove };
    let tagged: TaggedDevices = context.admin().await?.send::<SetDeviceTags>(&wanted).await?;
    changed();
    Ok(context.out.report(&tagged, |tagged| {
        let rows = tagged.devices.iter().map(|one| [one.device.to_string(), one.tags.join(", ")]);
        table(["Device", "Tags"], rows.collect())
    })?)
}
