//! `rotate-secret`: replaces a secret of the server.

use schema::api::admin::calls::RotateSecret;
use schema::api::admin::{SecretRotated, SecretRotation};
use schema::config::{RotatedSecret, duration_seconds};

use crate::context::Context;

/// Replace a secret; what the old one signed stays valid for a while
///
/// proxy.device-auth.secret signs device sessions: a device whose session is no longer accepted gets a new one
/// automatically. proxy.auth.secret signs service logins: replace each of them with `create-login` before its key
/// expires; `list-logins` shows the key of each login. The server signs with the new secret at once.
///
/// Back up the configuration afterwards: the database no longer works with the old session secret alone. If several
/// servers share a database, copy the configuration to the others at once.
///
/// With `--keep-old 0s` the old secret and all older ones are void at once. Use it when a secret has leaked, or to
/// void all logins.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy rotate-secret proxy.device-auth.secret --keep-old 30d
  proxy rotate-secret proxy.auth.secret --keep-old 30d
  proxy rotate-secret proxy.auth.secret --keep-old 0s")]
pub(crate) struct Args {
    /// Secret to rotate
    #[arg(value_name = "KEY", value_parser = RotatedSecret::ALL.map(RotatedSecret::key))]
    key: String,

    /// How long the old secret is accepted, such as 12h or 30d; at most eight old secrets are accepted at a time
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    keep_old: u32,
}

fn duration(text: &str) -> Result<u32, &'static str> {
    // Settings do not allow a duration of zero.
    if matches!(text, "0" | "0s") {
        return Ok(0);
    }
    let seconds = duration_seconds(text).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.ok_or("expected a duration such as 30s, 15m, 12h or 30d, or 0s for not at all")
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let wanted = SecretRotation { key: args.key, keep_old_seconds: args.keep_old };
    let done: SecretRotated = context.admin().await?.send::<RotateSecret>(&wanted).await?;
    Ok(context.out.report(&done, |done| {
        let signed = match RotatedSecret::named(&done.secret) {
            Some(RotatedSecret::Logins) => "Service logins",
            _ => "Device sessions",
        };
        let mut lines = vec![format!("{signed} are signed with key {}", done.in_force)];
        lines.extend(
            done.old_keys.iter().map(|old| format!("Key {} is accepted until {}", old.id, old.until)),
        );
        if done.old_keys.is_empty() {
            lines.push("No other key is accepted any more".into());
        }
        lines
    })?)
}
