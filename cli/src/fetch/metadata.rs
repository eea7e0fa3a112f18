//! A brand store's metadata and list of snaps, and the same for its base store.

use anyhow::Context as _;
use schema::bundle::{BrandStore, BrandStores};
use schema::store::StoreId;
use serde_json::{Map, Value, json};

use crate::output::warning;
use crate::upstream::{Upstream, UpstreamError};

/// The store's complete answers in the combined form.
///
/// # Errors
/// The login may not see the store, or the answers have another form.
pub(crate) async fn brand_stores(upstream: &Upstream, store: &StoreId) -> anyhow::Result<Value> {
    let mut stores = Vec::new();
    let mut lists = Map::new();
    let mut next = Some(store.clone());
    while let Some(id) = next.take() {
        let is_base = !stores.is_empty();
        // Administrators of a device view often have no role in its base store.
        let found = |answer: Result<Option<Value>, UpstreamError>| match answer {
            Err(UpstreamError::Login { .. } | UpstreamError::Void { .. }) if is_base => Ok(None),
            answer => answer,
        };
        let answer = found(upstream.brand_store(&id).await)?;
        let snaps = match &answer {
            Some(_) => found(upstream.brand_snaps(&id).await)?,
            None => None,
        };
        let (answer, snaps) = match (answer, snaps) {
            (Some(answer), Some(snaps)) => (answer, snaps),
            _ if is_base => {
                warning(format!(
                    "base store {id} is not visible to this login: its list of snaps is not in the file"
                ));
                break;
            }
            (None, _) => anyhow::bail!(
                "store {id} is not visible to this login: it needs the ACL store_admin and the role Admin"
            ),
            _ => anyhow::bail!("the snaps of store {id} are not visible to this login"),
        };
        let found = answer.get("store").unwrap_or(&answer).clone();
        let read: BrandStore = serde_json::from_value(found.clone())
            .with_context(|| format!("cannot understand the store's answer about store {id}"))?;
        anyhow::ensure!(
            read.id == id,
            "the store's answer about store {id} is about store {}: nothing is written",
            read.id
        );
        let snaps = snaps.get("snaps").unwrap_or(&snaps).clone();
        lists.insert(id.to_string(), snaps);
        stores.push(found);
        next = read.parent.filter(|parent| !lists.contains_key(parent.as_str()));
    }
    Ok(json!({ "format": BrandStores::FORMAT, "stores": stores, "snaps": lists }))
}
