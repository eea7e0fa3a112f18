//! `register-key`: registers a key of a store without internet, from a connected machine.

use std::fs::File;
use std::path::PathBuf;

use anyhow::Context as _;
use schema::assertion::{Assertion, Details};
use serde::Serialize;

use crate::context::Context;
use crate::documents::read_limited;
use crate::upstream::{Upstream, read_login};

/// Largest request, in bytes.
const LARGEST: u64 = 64 << 10;

/// Register a key that was made on site, with its request from `keys request`
///
/// Run it on a connected machine, with a login that may change the keys of the account. Then fetch the account's keys
/// and carry them to the store.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy register-key factory-2026.request acme.login")]
pub(crate) struct Args {
    /// The request, an account-key-request assertion
    request: PathBuf,

    /// Login with permission modify_account_key, of `snapcraft export-login`; `-` is standard input
    login: PathBuf,
}

/// What was registered.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Registered {
    name: String,
    account: String,
    key_id: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let reading = || format!("cannot read {}", args.request.display());
    let bytes =
        read_limited(File::open(&args.request).with_context(reading)?, LARGEST).with_context(reading)?;
    let (registered, text) = checked(&bytes)
        .with_context(|| format!("{} is not what `proxy keys request` prints", args.request.display()))?;
    let upstream =
        Upstream::new(&context.settings()?, context.client.as_ref(), Some(read_login(&args.login)?), None)?;
    upstream.register_key(&text).await?;
    crate::output::changed();
    Ok(context.out.report(&registered, |key| {
        vec![
            format!("Registered key {} of {}: {}", key.name, key.account, key.key_id),
            format!(
                "Next: `proxy fetch-account-keys {} {}`, and carry the file to the store",
                key.account, key.key_id
            ),
        ]
    })?)
}

/// The request, if it is signed by the very key that it is about.
fn checked(bytes: &[u8]) -> anyhow::Result<(Registered, String)> {
    let request = Assertion::decode(bytes)?;
    let Details::AccountKeyRequest(about) = request.details() else {
        anyhow::bail!("it is a {} and no account-key-request", request.kind());
    };
    about.public_key.check_strength()?;
    request.verify_with(&about.public_key)?;
    let registered = Registered {
        name: about.name.clone(),
        account: about.account_id.clone(),
        key_id: about.public_key.id().to_owned(),
    };
    Ok((registered, String::from_utf8_lossy(request.bytes()).into_owned()))
}
