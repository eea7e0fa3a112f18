//! `break-glass`: a user for one device, for some hours.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use schema::api::admin::calls::BreakTheGlass;
use schema::api::admin::{BreakGlass, GlassBroken};
use schema::store::DeviceId;

use crate::admin::AdminError;
use crate::context::Context;
use crate::documents::read_limited;

/// Largest file with ssh keys, in bytes.
const LARGEST: u64 = 64 << 10;

/// Make a user for one device, for some hours
///
/// Copy the file to the root of a USB stick's file system, by the name auto-import.assert, and put it into the device. Only the device
/// of this serial makes the user, and it removes the user when the time is over. A key for this comes from `keys create
/// --for system-user`; by default two other people have to approve each user (`proxy approvals`): then run the same command again.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy break-glass acme/flowgate-2/FG2-000417 --ssh-key alice.pub --hours 8")]
pub(crate) struct Args {
    /// BRAND/MODEL/SERIAL
    device: DeviceId,

    /// File with the public ssh keys of those who may log in, one on a line
    #[arg(long, value_name = "FILE")]
    ssh_key: PathBuf,

    /// For how long, up to 168
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=168))]
    hours: u32,

    /// The user's name
    #[arg(long, value_name = "NAME", default_value = "rescue")]
    user: String,

    /// The key that signs; needed if there are several
    #[arg(long, value_name = "NAME")]
    key: Option<String>,

    /// Leave the user on the device when the time is over; snapd 2.57 and older take no other
    #[arg(long)]
    stays: bool,

    /// File to write
    #[arg(long, value_name = "FILE", default_value = "auto-import.assert")]
    out: PathBuf,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Args { device, ssh_key, hours, user, key, stays, out } = args;
    let reading = || format!("cannot read {}", ssh_key.display());
    let text = read_limited(File::open(&ssh_key).with_context(reading)?, LARGEST).with_context(reading)?;
    let text = String::from_utf8(text).with_context(reading)?;
    let ssh_keys: Vec<String> =
        text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    ensure!(
        !ssh_keys.is_empty(),
        "{} is empty: `ssh-keygen -y -f PRIVATE_KEY` writes a public key",
        ssh_key.display()
    );
    let wanted = BreakGlass { device, user, ssh_keys, hours, stays, key };
    // Open the file first: an approval that is used up for nothing would have to be asked for again.
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .open(&out)
        .with_context(|| format!("cannot make {}", out.display()))?;
    let broken: Result<GlassBroken, AdminError> =
        async { context.admin().await?.send::<BreakTheGlass>(&wanted).await }.await;
    let broken = broken.map_err(|error| {
        // Made above, and empty.
        let _ = std::fs::remove_file(&out);
        error.of_file("invalid-ssh-key", &ssh_key)
    })?;
    let written = file.write_all(broken.file.as_bytes()).and_then(|()| file.sync_all());
    written.with_context(|| format!("cannot write {}", out.display()))?;
    Ok(context.out.report(&broken, |broken| {
        vec![
            format!("User {} of {}, until {}: {}", broken.user, broken.device, broken.until, out.display()),
            "Next: copy the file to the root of a USB stick as auto-import.assert, and put it into the device".to_owned(),
        ]
    })?)
}
