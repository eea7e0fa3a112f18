//! `rotate-secret`: has the server make a secret anew.

use http::Method;
use schema::api::admin::{SecretRotated, SecretRotation};
use schema::config::duration_seconds;

use crate::context::Context;

/// Make a secret anew; what the old one signed stays good for a while
///
/// The server signs device sessions with the new secret at once. Back up the configuration afterwards: the database
/// does not work with the old secret alone any more. A device whose session the store no longer accepts gets another.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy rotate-secret proxy.device-auth.secret --keep-old 30d")]
pub(super) struct Args {
    /// Which secret
    #[arg(value_name = "KEY", value_parser = ["proxy.device-auth.secret"])]
    key: String,

    /// How long the old one is accepted, such as 12h or 30d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    keep_old: u32,
}

fn duration(text: &str) -> Result<u32, &'static str> {
    let seconds = duration_seconds(text).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.ok_or("expected a duration such as 30s, 15m, 12h or 30d")
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let wanted = SecretRotation { key: args.key, keep_old_seconds: args.keep_old };
    let done: SecretRotated =
        context.admin().await?.send(Method::POST, "/v1/secrets/rotate", &wanted).await?;
    Ok(context.out.report(&done, |done| {
        let signs = format!("Device sessions are signed with key {}", done.session_key);
        let old = done.old_session_keys.iter();
        std::iter::once(signs)
            .chain(old.map(|old| format!("Key {} is accepted until {}", old.id, old.until)))
            .collect()
    })?)
}
