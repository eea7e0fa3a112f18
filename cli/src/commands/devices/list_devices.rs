//! `list-devices`: lists known devices.

use schema::api::admin::Devices;
use schema::api::admin::calls::ListDevices;

use crate::context::Context;
use crate::output::table;

/// List devices that have logged in, all or a selection
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy list-devices
  proxy list-devices --model gateway-2000 --stale 30d
  proxy list-devices --below core24=1196")]
pub(crate) struct Args {
    /// Devices of this brand
    #[arg(long, value_name = "ACCOUNT_ID")]
    brand: Option<String>,

    /// Devices of this model
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,

    /// Devices whose model names this store; `ubuntu` is the global one
    #[arg(long, value_name = "STORE_ID")]
    store: Option<String>,

    /// Devices not seen for at least this long, such as 12h or 30d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    stale: Option<u64>,

    /// Devices that do not run this snap
    #[arg(long, value_name = "SNAP")]
    missing: Option<String>,

    /// Devices that run this snap at a lower revision
    #[arg(long, value_name = "SNAP=REVISION")]
    below: Option<String>,
}

/// Reads a duration as seconds.
pub(crate) fn duration(text: &str) -> Result<u64, &'static str> {
    schema::config::seconds(text).ok_or("expected a number of s, m, h or d, at most ten years")
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { brand, model, store, stale, missing, below } = args;
    let stale = stale.map(|seconds| seconds.to_string());
    let members = [
        ("brand", brand),
        ("model", model),
        ("store", store),
        ("stale", stale),
        ("missing", missing),
        ("below", below),
    ];
    let given = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let devices: Devices = context.admin().await?.ask_for::<ListDevices>(given).await?;
    Ok(context.out.report(&devices, |devices| {
        let rows = devices.devices.iter().map(|device| {
            let client = device.client.split_whitespace().next().unwrap_or("-").to_owned();
            let snaps = device.snaps.as_ref().map_or_else(|| "-".into(), |snaps| snaps.len().to_string());
            [
                format!("{}/{}/{}", device.brand, device.model, device.serial),
                device.store.clone(),
                device.last_seen.clone(),
                client,
                snaps,
                device.misses.len().to_string(),
                if device.blocked { "blocked".into() } else { "served".into() },
            ]
        });
        table(["Device", "Store", "Last seen", "Client", "Snaps", "Misses", "State"], rows.collect())
    })?)
}
