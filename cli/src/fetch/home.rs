//! The store that a fetched snap belongs to on site.
//!
//! A brand store shows its own snaps and those of the global store alike, and its answers do not tell them apart. What
//! anybody sees without a login and without a brand store is public, and its home is the global store. Everything else
//! belongs to the brand store: a public snap in a brand store can be pushed again, a private one that all devices saw cannot
//! be taken back.

use schema::store::{Architecture, StoreId};

use super::haul::Haul;
use crate::output::warning;
use crate::upstream::{Upstream, UpstreamError};

/// Asks the store whether anybody may see a snap.
///
/// # Errors
/// The store cannot be reached, or sends an unexpected answer.
pub(super) async fn home_of(
    upstream: &Upstream,
    haul: &Haul,
    architectures: &[Architecture],
) -> Result<StoreId, UpstreamError> {
    let brand = upstream.store().filter(|store| **store != StoreId::global());
    let Some(brand) = brand else { return Ok(StoreId::global()) };
    let anybody = upstream.without_login();
    for architecture in architectures {
        match anybody.info(&haul.name, architecture).await {
            Ok(Some(info)) if info.get("snap-id").is_some_and(|id| *id == *haul.snap_id.as_str()) => {
                return Ok(StoreId::global());
            }
            Ok(_) => {}
            Err(UpstreamError::Login { .. }) => {
                let (name, host) = (&haul.name, upstream.host());
                warning(format!(
                    "{host} tells nobody without a login whether {name} is public, so it belongs to store {brand}: if \
                     everybody may have it, push its bundle with `--store ubuntu`"
                ));
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(brand.clone())
}
