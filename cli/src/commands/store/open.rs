//! `open`: a link that opens the pages in a browser.

use schema::api::admin::calls::OpenPages;

use crate::context::Context;

/// Print a link that opens the store's pages in a browser
///
/// The link works once, for five minutes, and the browser may then do what the caller of this command may do. The pages
/// are at proxy.admin.address and need proxy.admin.pages=True.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy open")]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    let link = context.admin().await?.ask::<OpenPages>().await?;
    Ok(context.out.only_copy(&link, &link.url)?)
}
