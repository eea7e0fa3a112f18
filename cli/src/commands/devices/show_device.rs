//! `show-device`: shows everything known about one device.

use schema::api::admin::calls::ShowDevice;
use schema::api::admin::{DeltaBytes, Device, DeviceDownload, DownloadOutcome};
use schema::store::DeviceId;

use crate::commands::status;
use crate::context::Context;
use crate::output::table;

/// Show a device: what it runs and tracks, when it was seen, which requests failed, and what it downloaded
///
/// Of downloads it shows the last 16 updates: which deltas the device was offered, what it was sent, and whether it fell back to the whole
/// snap right after a delta. Each server writes them down every few seconds, next to when the device was seen; what a server has not yet
/// written is lost when it dies. Bytes are those that were sent, also of downloads that broke off.
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
    if let Some(downloads) = &device.downloads {
        lines.push("Downloads:".into());
        let rows = downloads.last.iter().map(|one| {
            let source = one.source.map_or("-".to_owned(), |source| source.to_string());
            let (offered, sent) = (bytes(&one.offered), sent(one));
            [one.name.clone(), source, one.target.to_string(), offered, sent, one.last_at.clone()]
        });
        let titles = ["Name", "From", "To", "Deltas offered", "Sent", "Last"];
        lines.extend(indented(table(titles, rows.collect())));
        lines.push("All downloads:".into());
        lines.extend(indented(status::told(&downloads.total).collect()));
    }
    lines
}

fn bytes(deltas: &[DeltaBytes]) -> String {
    match deltas {
        [] => "-".into(),
        deltas => {
            let each = deltas.iter().map(|one| format!("{} {} bytes", one.format.as_str(), one.bytes));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

fn sent(DeviceDownload { fetched, whole_bytes, outcome, .. }: &DeviceDownload) -> String {
    let whole = format!("whole {whole_bytes} bytes");
    match outcome {
        DownloadOutcome::Offered => "nothing yet".into(),
        DownloadOutcome::Whole => whole,
        DownloadOutcome::WholeInstead => format!("{whole}, although a delta was offered"),
        DownloadOutcome::FellBack => format!("{}, then {whole}: fell back", bytes(fetched)),
        DownloadOutcome::Delta if *whole_bytes > 0 => {
            format!("{}, and {whole} at another time", bytes(fetched))
        }
        DownloadOutcome::Delta => bytes(fetched),
    }
}

fn indented(lines: Vec<String>) -> impl Iterator<Item = String> {
    lines.into_iter().map(|line| format!("  {line}"))
}
