//! `show-device`: shows everything known about one device.

use schema::api::admin::Device;
use schema::api::admin::calls::ShowDevice;
use schema::store::DeviceId;

use crate::context::Context;
use crate::output::table;

/// Show a device: what it runs and tracks, when it was seen, and which requests failed
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy show-device acme/gateway-2000/SN-00017")]
pub(crate) struct Args {
    /// Device to show
    #[arg(value_name = "BRAND/MODEL/SERIAL")]
    device: DeviceId,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let device: Device =
        context.admin().await?.ask_for::<ShowDevice>([("device", args.device.to_string())]).await?;
    Ok(context.out.report(&device, lines)?)
}

fn lines(device: &Device) -> Vec<String> {
    let mut lines = vec![
        format!("Device: {}/{}/{}", device.brand, device.model, device.serial),
        format!("Store: {}", device.store),
        format!("State: {}", if device.blocked { "blocked" } else { "served" }),
        format!("First seen: {}", device.first_seen),
        format!("Last seen: {}", device.last_seen),
        format!("Address: {}", device.address),
        format!("Client: {}", device.client),
    ];
    lines.extend(device.architecture.iter().map(|name| format!("Architecture: {name}")));
    lines.extend(device.certificate.iter().map(|subject| format!("Client certificate: {subject}")));
    lines.push("Snaps:".into());
    match &device.snaps {
        None => lines.push("  It did not say.".into()),
        Some(snaps) => {
            let rows =
                snaps.iter().map(|snap| [snap.name.clone(), snap.revision.to_string(), snap.channel.clone()]);
            lines.extend(indented(table(["Name", "Revision", "Follows"], rows.collect())));
        }
    }
    if !device.misses.is_empty() {
        lines.push("Asked for and not given:".into());
        let rows = device
            .misses
            .iter()
            .map(|miss| [miss.name.clone(), miss.wanted.clone(), miss.code.clone(), miss.last_asked.clone()]);
        lines.extend(indented(table(["Name", "Wanted", "Answer", "Last asked"], rows.collect())));
    }
    lines
}

fn indented(lines: Vec<String>) -> impl Iterator<Item = String> {
    lines.into_iter().map(|line| format!("  {line}"))
}
