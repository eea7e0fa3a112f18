//! `fetch-account-keys`: writes an account, its keys and their prerequisites into one file.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;
use time::OffsetDateTime;

use crate::context::Context;
use crate::documents::{PUBLIC, write_new};
use crate::fetch::anchors::TrustArgs;
use crate::fetch::{Library, account_keys, check_key_ids, stamps};
use crate::upstream::Upstream;

/// Fetch the keys with which a brand signs models and serials
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy fetch-account-keys acme hIedp1AvrWlcDI4uS_qjoFLzjKl5enu4G2FYJpgB3Pj-tUzGlTQBxMBsBmi-tnJR")]
pub(crate) struct Args {
    /// Account that owns the keys
    #[arg(value_name = "ACCOUNT_ID")]
    account: String,

    /// Key ids, as `snapcraft list-keys` shows them
    #[arg(value_name = "KEY_ID", required = true)]
    keys: Vec<String>,

    /// Folder for the file [default: the current folder]
    #[arg(long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    export_dir: PathBuf,

    #[command(flatten)]
    trust: TrustArgs,
}

#[derive(Serialize)]
struct Fetched {
    #[serde(serialize_with = "crate::output::as_text")]
    file: PathBuf,
    keys: Vec<String>,
}

pub(crate) async fn run(mut args: Args, context: &Context) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    args.keys.retain(|key| seen.insert(key.clone()));
    check_key_ids(&args.account, &args.keys)?;
    let anchors = args.trust.anchors()?;
    let upstream = Upstream::new(&context.settings()?, context.client.as_ref(), None, None)?;
    let mut library = Library::new(&upstream, &anchors);
    let documents = account_keys(&mut library, &args.account, &args.keys).await?;
    let texts: Vec<&[u8]> = documents.iter().map(|document| document.bytes()).collect();
    let names = stamps(OffsetDateTime::now_utc()).map(|stamp| format!("{}-{stamp}.assert", args.account));
    let file = write_new(&args.export_dir, names, &texts.join(&b'\n'), PUBLIC)?;
    let fetched = Fetched { file, keys: args.keys };
    Ok(context.out.report(&fetched, |fetched| {
        vec![format!("Downloaded {} account keys to {}", fetched.keys.len(), fetched.file.display())]
    })?)
}
