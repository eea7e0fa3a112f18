//! `device-kit`: prints what is to be run on devices, in one file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use schema::api::admin::DeviceKit;
use schema::api::admin::calls::ShowDeviceKit;
use schema::tls::{Source, trusted_certificates};
use serde_json::json;

use crate::context::Context;
use crate::documents::read_document;
use crate::kit;
use crate::output::{changed, texts, warning};

/// Print what makes a device use this store, in one file
///
/// The store assertion, proxy.store, the certificate authority and a check. A script is run on the device as root; with
/// --undo it moves the device back to the public store. Without a registration, the script sets SNAPPY_FORCE_API_URL for
/// snapd.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy device-kit > device-kit.sh
  proxy device-kit --format cloud-init > user-data
  proxy device-kit --format model-defaults
  proxy device-kit --format usb --out /media/usb/kit")]
pub(crate) struct Args {
    /// How the device takes it
    #[arg(long, value_enum, default_value_t = Format::Script)]
    format: Format,

    /// The folder that usb writes to
    #[arg(long, value_name = "DIR", required_if_eq("format", "usb"))]
    out: Option<PathBuf>,

    /// The certificate authority that devices have to trust, where it is not the store's own
    #[arg(long, value_name = "FILE")]
    trust_ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A shell script
    Script,
    /// User data for cloud-init
    CloudInit,
    /// Defaults for gadget.yaml of an image
    ModelDefaults,
    /// The script, the assertion and the certificate as files of a folder
    Usb,
}

/// What is said once the store can be given to devices.
pub(crate) fn next(program: &str) -> String {
    format!("Next: `{program} device-kit > device-kit.sh`, and run that file on every device as root")
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut kit: DeviceKit = context.admin().await?.ask::<ShowDeviceKit>().await?;
    if let Some(path) = &args.trust_ca {
        let bytes = read_document(path)?;
        trusted_certificates(&[Source { name: &path.display().to_string(), bytes: &bytes }])?;
        kit.ca = Some(String::from_utf8(bytes).with_context(|| format!("{} is no text", path.display()))?);
    }
    if kit.assertions.is_none() {
        warning(format!(
            "no registration was imported (`{} register --import FILE`), so devices are told the URL alone \
             (SNAPPY_FORCE_API_URL)",
            context.program
        ));
    }
    if let (Format::Usb, Some(out)) = (args.format, &args.out) {
        let files = write(&kit, out)?;
        let lines = || files.iter().map(|path| format!("Wrote {}", path.display())).collect();
        return Ok(context.out.report(&json!({ "files": texts(&files) }), |_| lines())?);
    }
    let text = match args.format {
        Format::CloudInit => kit::cloud_init(&kit),
        Format::ModelDefaults => kit::model_defaults(&kit),
        Format::Script | Format::Usb => kit::script(&kit),
    };
    match context.out.is_json() {
        true => Ok(context.out.report(&kit, |_| Vec::new())?),
        false => Ok(context.out.raw(&text)?),
    }
}

fn write(kit: &DeviceKit, out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let script = kit::script(kit);
    let files = [
        ("device-kit.sh", Some(&script)),
        ("store.assert", kit.assertions.as_ref()),
        ("ca.pem", kit.ca.as_ref()),
    ];
    let mut written = Vec::new();
    for (name, text) in files.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        changed();
        written.push(path);
    }
    Ok(written)
}
