//! `fetch-brand-store-metadata`: brings what a brand store is and which snaps it lists into one file.

use std::path::PathBuf;

use schema::bundle::BrandStores;
use schema::store::StoreId;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use crate::context::Context;
use crate::fetch::{brand_stores, stamp, write_whole};
use crate::upstream::{Upstream, read_login};

/// Fetch what a brand store is and which snaps it lists
///
/// The base store that it stands on comes along. Names and mail addresses of people are left out.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy fetch-brand-store-metadata AcmeDevices admin.login")]
pub(crate) struct Args {
    /// Which store
    #[arg(value_name = "STORE_ID")]
    store: StoreId,

    /// Login with the ACL store_admin, of an account with the role Admin; `-` is standard input
    #[arg(value_name = "LOGIN_FILE")]
    login: PathBuf,

    /// Keep everything that the store answers, with names and addresses of people
    #[arg(long)]
    with_people: bool,

    /// Where the file is written [default: the current folder]
    #[arg(long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    export_dir: PathBuf,
}

#[derive(Serialize)]
struct Fetched {
    file: PathBuf,
    stores: Vec<StoreId>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let login = read_login(&args.login)?;
    let upstream = Upstream::new(&context.settings()?, Some(login), None)?;
    let combined = brand_stores(&upstream, &args.store).await?;
    // The same reader as on the other side: what it cannot read is not carried across.
    let read = BrandStores::parse(combined.to_string().as_bytes())?;
    let written: Value = if args.with_people { combined } else { read.to_json() };
    let file = args.export_dir.join(format!("{}-{}.json", args.store, stamp(OffsetDateTime::now_utc())));
    write_whole(&file, &serde_json::to_vec_pretty(&written)?)?;
    let fetched = Fetched { file, stores: read.stores.into_iter().map(|store| store.id).collect() };
    Ok(context.out.report(&fetched, |fetched| {
        vec![format!("Downloaded metadata of store {} to {}", args.store, fetched.file.display())]
    })?)
}
