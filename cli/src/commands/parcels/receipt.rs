//! `receipt`: writes what the site holds.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use http_body_util::BodyExt as _;
use schema::api::admin::calls::{ShowSiteCode, WriteReceipt};
use schema::api::admin::{ReceiptRequest, SiteCode};
use schema::parcel::Receipt;

#[cfg(feature = "qr")]
use super::qr;
use crate::context::Context;

/// Write a receipt of what the site holds, for the connected side
///
/// `fetch-store --for` and `fetch-snaps --for` write a parcel of exactly what is lacking then. The receipt names files,
/// assertions and channel maps by digests alone, and is signed by the site.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy receipt > site.receipt
  proxy receipt --qr receipt.html
  proxy receipt --code")]
pub(crate) struct Args {
    /// Show 20 characters instead, which name the parcel that was imported last: for sites that can send nothing out
    #[arg(long)]
    code: bool,
    /// Write a page of QR codes instead, to show or print, for sites that can send nothing out
    #[cfg(feature = "qr")]
    #[arg(long, value_name = "FILE", conflicts_with = "code")]
    qr: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    if args.code {
        let code: SiteCode = context.admin().await?.ask::<ShowSiteCode>().await?;
        ensure!(
            code.code.is_some(),
            "no parcel was imported here yet: the first one needs the receipt, `proxy receipt > site.receipt`"
        );
        return Ok(context.out.report(&code, |code| code.code.iter().map(|code| grouped(code)).collect())?);
    }
    #[cfg(feature = "qr")]
    let page = args.qr;
    #[cfg(not(feature = "qr"))]
    let page: Option<PathBuf> = None;
    let mut out = std::io::stdout();
    ensure!(
        context.out.is_json() || page.is_some() || !out.is_terminal(),
        "a receipt is a file: `proxy receipt > site.receipt`, and `proxy inspect site.receipt` shows it"
    );
    let answer = context.admin().await?.download::<WriteReceipt>(&ReceiptRequest {}).await?;
    let file = answer.into_body().collect().await.context("cannot read the receipt")?.to_bytes();
    let (receipt, _) = Receipt::read(&file)?;
    #[cfg(feature = "qr")]
    if let Some(path) = page {
        let (html, count) = qr::page(&receipt, &file)?;
        std::fs::write(&path, html).with_context(|| format!("cannot write {}", path.display()))?;
        let written = serde_json::json!({ "path": path.display().to_string(), "codes": count });
        let line = format!("{} holds {count} QR codes: scan all of them.", path.display());
        return Ok(context.out.report(&written, |_| vec![line.clone()])?);
    }
    if context.out.is_json() {
        return Ok(context.out.report(&receipt, |_| Vec::new())?);
    }
    out.write_all(&file).and_then(|()| out.flush()).context("cannot write the receipt")
}

/// As people read a code out.
fn grouped(code: &str) -> String {
    let groups: Vec<String> =
        code.as_bytes().chunks(5).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join("-")
}
