//! Groups of devices, and revisions that reach them in waves.

pub(crate) mod device;
pub(crate) mod group;
pub(crate) mod rollout;
pub(crate) mod train;

use std::path::Path;

use anyhow::Context as _;
use schema::api::admin::{Gates, RolloutWave};
use schema::rollout::{Share, Wave, Window};
use schema::store::DeviceId;

use crate::commands::devices::list_devices::duration;
use crate::documents::read_document;
use crate::output::table;
use crate::stdin::shown;

/// Waves, and what has to hold before the next one opens.
#[derive(Debug, clap::Args)]
struct Gated {
    /// A wave; repeat it for each one, in their order
    #[arg(long = "wave", value_name = "WAVE")]
    waves: Vec<Wave>,

    /// How long to watch after the last device of a wave was done
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "24h", requires = "waves")]
    soak: u64,

    /// The share of a wave's devices that may fail
    #[arg(long, value_name = "SHARE", default_value = "2%", requires = "waves")]
    max_failed: Share,

    /// The share of a wave's devices that may fall silent
    #[arg(long, value_name = "SHARE", default_value = "5%", requires = "waves")]
    max_silent: Share,

    /// Offer it in these hours only, such as 'mon-fri 22:00-04:00'; repeat it for more
    #[arg(long = "window", value_name = "WINDOW", requires = "waves")]
    windows: Vec<Window>,

    /// The time zone of the windows, such as Europe/Vienna [default: UTC]
    #[arg(long, value_name = "ZONE", requires = "windows")]
    zone: Option<String>,

    /// How many people have to approve the start, each further wave and the end (`proxy approvals`): 0, 1 or 2
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=2), requires = "waves")]
    approvals: u32,
}

impl From<Gated> for Gates {
    fn from(gated: Gated) -> Self {
        let Gated { waves, soak, max_failed, max_silent, windows, zone, approvals } = gated;
        Self { waves, soak, max_failed, max_silent, windows, zone, approvals, salt: None }
    }
}

/// The gates of waves, as they are shown.
struct Course<'a> {
    soak: u64,
    limits: [Share; 2],
    approvals: u32,
    windows: &'a Option<String>,
    next_window: &'a Option<String>,
    waves: &'a [RolloutWave],
    stopped_by: &'a [DeviceId],
}

/// Waves, how their devices are doing, and what has to hold; `end` is what comes after the last one.
fn course(of: Course<'_>, end: &str) -> Vec<String> {
    let [max_failed, max_silent] = of.limits;
    let mut lines = vec![format!("Soak {} s, at most {max_failed} failed and {max_silent} silent", of.soak)];
    if of.approvals > 0 {
        lines.push(format!("Approvals: {} for the start, each further wave and {end}", of.approvals));
    }
    if let Some(windows) = of.windows {
        let next = of.next_window.as_ref().map(|next| format!(", next at {next}")).unwrap_or_default();
        lines.push(format!("Offered {windows}{next}"));
    }
    let row = |(at, wave): (usize, &RolloutWave)| {
        let counts =
            [wave.devices, wave.done, wave.held, wave.failed, wave.silent, wave.waiting, wave.absent];
        let [devices, done, held, failed, silent, waiting, absent] = counts.map(|count| count.to_string());
        let opened = wave.opened.clone().unwrap_or_else(|| "-".to_owned());
        [format!("{} {}", at + 1, wave.wave), opened, devices, done, held, failed, silent, waiting, absent]
    };
    let heading = ["Wave", "Opened", "Devices", "Done", "Held", "Failed", "Silent", "Waiting", "Absent"];
    lines.extend(table(heading, of.waves.iter().enumerate().map(row).collect()));
    if !of.stopped_by.is_empty() {
        lines.push("Stopped by:".to_owned());
        lines.extend(of.stopped_by.iter().map(|device| format!("  {device}")));
    }
    lines
}

/// Reads the name of a group, a tag or a rollout.
fn name(text: &str) -> Result<String, &'static str> {
    let expected = "expected 1 to 64 letters, digits, dots, dashes and underscores, a letter first";
    if schema::rollout::is_name(text) { Ok(text.to_owned()) } else { Err(expected) }
}

/// What an export of this command in a file says.
fn read<T: serde::de::DeserializeOwned>(file: &Path, command: &str) -> anyhow::Result<T> {
    let no_export = || format!("{} is no export: `proxy {command} > FILE` writes one", shown(file));
    serde_json::from_slice(&read_document(file)?).with_context(no_export)
}

/// A document in lines, for a file.
fn json(document: &impl serde::Serialize) -> Vec<String> {
    let text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
