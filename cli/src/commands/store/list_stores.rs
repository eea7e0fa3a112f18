//! `list-stores`: lists the brand stores whose metadata was imported.

use schema::api::admin::calls::ListStores;
use schema::api::admin::{Store, Stores};

use crate::context::Context;
use crate::output::table;

/// List the stores whose metadata was imported
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy list-stores")]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    let stores: Stores = context.admin().await?.ask::<ListStores>().await?;
    Ok(context.out.report(&stores, |stores| {
        let rows = stores.stores.iter().map(|store| {
            let parent = store.parent.clone().unwrap_or_else(|| "-".into());
            let missing = if store.missing.is_empty() { "-".into() } else { store.missing.join(", ") };
            let snaps = store.snaps.len().to_string();
            [store.id.clone(), store.name.clone(), store.brand_id.clone(), parent, snaps, missing]
        });
        table(["Store", "Name", "Brand", "Parent", "Snaps", "Not pushed yet"], rows.collect())
    })?)
}

/// A store on one line.
pub(crate) fn summary(store: &Store) -> String {
    let missing = match store.missing.len() {
        0 => String::new(),
        count => format!(", {count} not pushed yet"),
    };
    let noun = if store.snaps.len() == 1 { "snap" } else { "snaps" };
    let Store { id, name, brand_id, snaps, .. } = store;
    format!("{id}: {name} (brand {brand_id}, {} {noun}{missing})", snaps.len())
}
