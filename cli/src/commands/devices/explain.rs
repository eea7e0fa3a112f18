//! `explain`: tells why a device gets the revision of a snap that it gets, or none.

use schema::api::admin::Explanation;
use schema::api::admin::calls::Explain;
use schema::store::{ChannelError, ChannelRequest, DeviceId};

use crate::commands::Reported;
use crate::context::Context;
use crate::output::table;

/// Tell why a device gets the revision of a snap that it gets, or none
///
/// Decides as for the device's next request, and shows every step: its session and what it sees, the channel and where it
/// falls back to, overrides, epochs, validations and damaged files. Exit code 0 when the device gets a revision, 1 when it
/// gets none, 2 when the command line is wrong.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy explain acme/gateway-2000/SN-00017 core24
  proxy explain acme/gateway-2000/SN-00017 hello --channel edge --json")]
pub(crate) struct Args {
    /// Device that asks
    #[arg(value_name = "BRAND/MODEL/SERIAL")]
    device: DeviceId,

    /// Name or id of the snap
    snap: String,

    /// Ask for this channel, instead of the one that the device follows
    #[arg(long, value_name = "CHANNEL", value_parser = channel)]
    channel: Option<String>,

    /// Ask for exactly this revision, as a device does for an enforced validation set
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    revision: Option<u32>,
}

fn channel(text: &str) -> Result<String, ChannelError> {
    text.parse::<ChannelRequest>().map(|_| text.to_owned())
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { device, snap, channel, revision } = args;
    let members = [
        ("device", Some(device.to_string())),
        ("snap", Some(snap)),
        ("channel", channel),
        ("revision", revision.map(|number| number.to_string())),
    ];
    let given = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let explained: Explanation = context.admin().await?.ask_for::<Explain>(given).await?;
    context.out.report(&explained, lines)?;
    if explained.gets.is_some() { Ok(()) } else { Err(Reported.into()) }
}

fn lines(explained: &Explanation) -> Vec<String> {
    let mut lines = vec![explained.answer.clone()];
    lines.extend(explained.code.iter().map(|code| format!("Error code: {code}")));
    let rows = explained.steps.iter().map(|step| [step.subject.clone(), step.says.clone()]);
    lines.extend(
        table(["Step", "What was found"], rows.collect()).into_iter().map(|line| format!("  {line}")),
    );
    lines.extend(explained.last_miss.iter().map(|miss| {
        format!(
            "Last failed request: {} from {}, answered {} at {}",
            miss.name, miss.wanted, miss.code, miss.last_asked
        )
    }));
    lines
}
