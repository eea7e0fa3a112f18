//! `fetch-brand-store-metadata`: writes a brand store's metadata and list of snaps into one file.

use std::path::PathBuf;

use schema::bundle::BrandStores;
use schema::store::StoreId;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use crate::context::Context;
use crate::documents::{PRIVATE, PUBLIC, write_new};
use crate::fetch::{brand_stores, stamps};
use crate::upstream::{Upstream, read_login};

/// Fetch a brand store's metadata and list of snaps
///
/// Includes the base store it builds on. Omits names and mail addresses of people.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy fetch-brand-store-metadata AcmeDevices admin.login")]
pub(crate) struct Args {
    /// Store to fetch
    #[arg(value_name = "STORE_ID")]
    store: StoreId,

    /// Login with the ACL store_admin, of an account with the role Admin; `-` is standard input
    #[arg(value_name = "LOGIN_FILE")]
    login: PathBuf,

    /// Keep the store's whole answer, including names and addresses of people, in a file for its owner alone
    #[arg(long)]
    with_people: bool,

    /// Folder for the file [default: the current folder]
    #[arg(long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    export_dir: PathBuf,
}

#[derive(Serialize)]
struct Fetched {
    #[serde(serialize_with = "crate::output::as_text")]
    file: PathBuf,
    stores: Vec<StoreId>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let login = read_login(&args.login)?;
    let upstream = Upstream::new(&context.settings()?, context.client.as_ref(), Some(login), None)?;
    let combined = brand_stores(&upstream, &args.store).await?;
    // Read it with the importer's reader: a file it cannot read must not be carried across.
    let read = BrandStores::parse(combined.to_string().as_bytes())?;
    let written: Value = if args.with_people { combined } else { read.to_json() };
    let names = stamps(OffsetDateTime::now_utc()).map(|stamp| format!("{}-{stamp}.json", args.store));
    let mode = if args.with_people { PRIVATE } else { PUBLIC };
    let file = write_new(&args.export_dir, names, &serde_json::to_vec_pretty(&written)?, mode)?;
    let fetched = Fetched { file, stores: read.stores.into_iter().map(|store| store.id).collect() };
    Ok(context.out.report(&fetched, |fetched| {
        vec![format!("Downloaded metadata of store {} to {}", args.store, fetched.file.display())]
    })?)
}
