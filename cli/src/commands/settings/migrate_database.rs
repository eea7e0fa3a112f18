//! `migrate-database`: copies everything into a PostgreSQL database.

use schema::api::admin::calls::CopyDatabase;
use schema::api::admin::{Counts, DatabaseCopied, DatabaseCopy};
use schema::config::{Kind, key};

use crate::context::Context;
use crate::documents::read_document;

/// Copy everything into a PostgreSQL database
///
/// The database must be empty, and the server runs meanwhile. It keeps using the old database until proxy.db.connection
/// names the new one, and takes no changes until it restarts, because they would be missing there.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy migrate-database postgresql://snaps@db.internal:5432/snaps
  cat url.txt | proxy migrate-database -")]
pub(crate) struct Args {
    /// PostgreSQL database to fill; `-` reads the URL from standard input, where other users cannot see its password
    url: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let url = match args.url.as_str() {
        "-" => String::from_utf8_lossy(&read_document("-".as_ref())?).trim().to_owned(),
        _ => args.url,
    };
    let url = Kind::Database.check(&url)?;
    let shown = key("proxy.db.connection").map(|key| key.redact(&url)).unwrap_or_default();
    let copied: DatabaseCopied = context.admin().await?.send::<CopyDatabase>(&DatabaseCopy { url }).await?;
    Ok(context.out.report(&copied, |copied| {
        let Counts { snaps, revisions, assertions, blocked_devices } = copied.counts;
        vec![
            format!(
                "Copied {snaps} snaps, {revisions} revisions, {assertions} assertions, \
                 {blocked_devices} blocked devices"
            ),
            format!(
                "Next: `{} config proxy.db.connection={shown}`, then restart the server; it takes no changes until \
                 then",
                context.program
            ),
        ]
    })?)
}
