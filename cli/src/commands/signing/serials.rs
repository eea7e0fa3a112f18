//! `serials`: which serials this store gave to which devices.

use clap::Subcommand;
use schema::api::admin::calls::{ListSerials, ReissueSerial, ShowSerial};
use schema::api::admin::{IssuedSerial, IssuedSerials, SerialReissue};
use schema::store::DeviceId;

use crate::admin::Admin;
use crate::context::Context;
use crate::output::table;

/// Show the serials that this store gave out
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy serials list --model acme/flowgate-2
  proxy serials show acme/flowgate-2/FG2-000417
  proxy serials export --csv > serials.csv")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List serials with the device keys that have them
    #[command(before_help = "Example:
  proxy serials list --model acme/flowgate-2")]
    List {
        /// Only those of BRAND/MODEL
        #[arg(long, value_name = "MODEL")]
        model: Option<String>,
    },
    /// Show one serial with its assertion
    #[command(before_help = "Example:
  proxy serials show acme/flowgate-2/FG2-000417")]
    Show {
        /// BRAND/MODEL/SERIAL
        device: DeviceId,
    },
    /// Take a serial from its device, for a new board: the next device that asks for this very serial gets it, in a higher
    /// revision
    #[command(before_help = "Example:
  proxy serials reissue acme/flowgate-2/FG2-000417")]
    Reissue {
        /// BRAND/MODEL/SERIAL
        device: DeviceId,
    },
    /// Print all serials for other programs
    #[command(before_help = "Example:
  proxy serials export --csv > serials.csv")]
    Export {
        /// Only those of BRAND/MODEL
        #[arg(long, value_name = "MODEL")]
        model: Option<String>,
        /// As CSV with a heading
        #[arg(long, required = true)]
        csv: bool,
    },
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut admin = context.admin().await?;
    match args.action {
        Action::List { model } => {
            let all = IssuedSerials { serials: all(&mut admin, model.as_deref()).await? };
            Ok(context.out.report(&all, |all| match all.serials.is_empty() {
                true => vec!["No serial was given out.".to_owned()],
                false => table(
                    ["Device", "Given out", "Signed by", "Device key"],
                    all.serials.iter().map(row).collect(),
                ),
            })?)
        }
        Action::Show { device } => {
            let serial: IssuedSerial = admin.ask_for::<ShowSerial>([("device", device.to_string())]).await?;
            Ok(context.out.report(&serial, |serial| {
                let [device, issued, signed_by, device_key] = row(serial);
                let mut lines = vec![
                    format!("Device: {device}"),
                    format!("Given out: {issued}"),
                    format!("Signed by: {signed_by}"),
                    format!("Device key: {device_key}"),
                    String::new(),
                ];
                let unsigned = "Reserved, and not signed yet.";
                lines.extend(serial.assertion.as_deref().unwrap_or(unsigned).lines().map(str::to_owned));
                lines
            })?)
        }
        Action::Reissue { device } => {
            let given_up: IssuedSerial = admin.send::<ReissueSerial>(&SerialReissue { device }).await?;
            Ok(context.out.report(&given_up, |serial| {
                let what =
                    format!("The next device that asks for {} gets it, in a higher revision", serial.device);
                vec![
                    what,
                    "A device of a model whose serials are assigned asks for none, and gets a new one".into(),
                ]
            })?)
        }
        Action::Export { model, csv: _ } => {
            let all = all(&mut admin, model.as_deref()).await?;
            if context.out.is_json() {
                return Ok(context.out.report(&IssuedSerials { serials: all }, |_| Vec::new())?);
            }
            // No part can hold a comma or a quote.
            let line = |serial: &IssuedSerial| {
                let DeviceId { brand, model, serial: name } = &serial.device;
                let IssuedSerial { device_key, signed_by, .. } = serial;
                let issued = if serial.signed { &*serial.issued } else { "" };
                format!("{brand},{model},{name},{device_key},{signed_by},{issued}")
            };
            let heading = "brand,model,serial,device-key,signed-by,issued".to_owned();
            let lines: Vec<String> = std::iter::once(heading).chain(all.iter().map(line)).collect();
            Ok(context.out.lines(&lines)?)
        }
    }
}

/// Every serial, page by page.
async fn all(admin: &mut Admin, model: Option<&str>) -> anyhow::Result<Vec<IssuedSerial>> {
    let mut all: Vec<IssuedSerial> = Vec::new();
    loop {
        let after = all.last().map(|serial| serial.device.to_string());
        let query = [("model", model), ("after", after.as_deref())];
        let query = query.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let page: IssuedSerials = admin.ask_for::<ListSerials>(query).await?;
        if page.serials.is_empty() {
            return Ok(all);
        }
        all.extend(page.serials);
    }
}

fn row(serial: &IssuedSerial) -> [String; 4] {
    let device_key =
        if serial.device_key.is_empty() { "free for another device" } else { &serial.device_key };
    let issued = if serial.signed { &serial.issued } else { "reserved" };
    [serial.device.to_string(), issued.to_owned(), serial.signed_by.clone(), device_key.to_owned()]
}
