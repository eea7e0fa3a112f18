//! A brand store's metadata and list of snaps, and the same for its base store.

use anyhow::Context as _;
use schema::bundle::{BrandStore, BrandStores};
use schema::store::StoreId;
use serde_json::{Map, Value, json};

use crate::output::warning;
use crate::upstream::Upstream;

/// The store's complete answers in the combined form.
///
/// # Errors
/// The login may not see the store, or the answers have another form.
pub(crate) async fn brand_stores(upstream: &Upstream, store: &StoreId) -> anyhow::Result<Value> {
    let mut stores = Vec::new();
    let mut lists = Map::new();
    let mut next = Some(store.clone());
    while let Some(id) = next.take() {
        let found = match (stores.is_empty(), upstream.brand_store(&id).await) {
            (true, found) => Some(found?.with_context(|| {
                format!(
                    "store {id} is not visible to this login: it needs the ACL store_admin and the role Admin"
                )
            })?),
            // Administrators of a device view often have no role in its base store.
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
        let found = answer.get("store").unwrap_or(&answer).clone();
        let read: BrandStore = serde_json::from_value(found.clone())
            .with_context(|| format!("cannot understand the store's answer about store {id}"))?;
        let snaps = upstream.brand_snaps(&id).await?;
        let snaps =
            snaps.with_context(|| format!("the snaps of store {id} are not visible to this login"))?;
        let snaps = snaps.get("snaps").unwrap_or(&snaps).clone();
        lists.insert(id.to_string(), snaps);
        stores.push(found);
        next = read.parent.filter(|parent| !lists.contains_key(parent.as_str()));
    }
    Ok(json!({ "format": BrandStores::FORMAT, "stores": stores, "snaps": lists }))
}
