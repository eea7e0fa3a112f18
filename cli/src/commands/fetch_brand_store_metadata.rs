//! `fetch-brand-store-metadata`: brings what a brand store is and which snaps it lists into one file.

use std::path::PathBuf;

use anyhow::Context as _;
use schema::bundle::{BrandStore, BrandStores};
use schema::store::StoreId;
use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::context::Context;
use crate::fetch::{stamp, write_whole};
use crate::output::warning;
use crate::upstream::{Upstream, read_login};

/// Fetch what a brand store is and which snaps it lists
///
/// The base store that it stands on comes along. Names and mail addresses of people are left out.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy fetch-brand-store-metadata AcmeDevices admin.login")]
pub(super) struct Args {
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

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let login = read_login(&args.login)?;
    let upstream = Upstream::new(&context.settings()?, Some(login), None)?;
    let mut stores = Vec::new();
    let mut lists = Map::new();
    let mut next = Some(args.store.clone());
    while let Some(id) = next.take() {
        let found = match (stores.is_empty(), upstream.brand_store(&id).await) {
            (true, found) => Some(found?.with_context(|| {
                format!(
                    "store {id} is not visible to this login: it needs the ACL store_admin and the role Admin"
                )
            })?),
            // Administrators of a device view often have no part in the store below it.
            (false, Ok(found)) => found,
            (false, Err(error)) => {
                warning(error);
                None
            }
        };
        let Some(answer) = found else {
            warning(format!(
                "base store {id} is not visible to this login: its list of snaps is not in the file"
            ));
            break;
        };
        let store = answer.get("store").unwrap_or(&answer).clone();
        let read: BrandStore = serde_json::from_value(store.clone())
            .with_context(|| format!("cannot understand the store's answer about store {id}"))?;
        let snaps = upstream.brand_snaps(&id).await?;
        let snaps =
            snaps.with_context(|| format!("the snaps of store {id} are not visible to this login"))?;
        let snaps = snaps.get("snaps").unwrap_or(&snaps).clone();
        lists.insert(id.to_string(), snaps);
        stores.push(store);
        next = read.parent.filter(|parent| !lists.contains_key(parent.as_str()));
    }
    let combined = json!({ "format": BrandStores::FORMAT, "stores": stores, "snaps": lists });
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
