//! Links that open the pages.

use axum::extract::State;
use axum::{Extension, Json};
use schema::api::admin::PageLink;
use time::Duration;

use super::error::AdminError;
use super::{Admin, report};
use crate::clock;
use crate::visits::{LINK, Visitor};

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("the pages are off: `proxy config proxy.admin.pages=True` turns them on")]
    Off,
    #[error("the pages have no address: `proxy config proxy.admin.address=ADDRESS:PORT` gives them one")]
    NoAddress,
    #[error("the system gives no random numbers")]
    NoRandom,
}

/// Answers `OpenPages`.
pub(super) async fn make(
    State(admin): State<Admin>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<PageLink>, AdminError> {
    let (store, settings) = (&admin.store, admin.store.settings());
    let refused = |error| AdminError::refused("no-pages", &error);
    if !settings.listen.pages {
        return Err(refused(LinkError::Off));
    }
    let bound = store.tls().admin_address().ok_or_else(|| refused(LinkError::NoAddress))?;
    let made = store.visits().invite(visitor, clock::seconds());
    let secret = made.ok_or_else(|| AdminError::failed("no-pages", &LinkError::NoRandom))?;
    // The certificate is for the store's name; an address of this host alone is reached by itself only.
    let place = match bound.ip().is_loopback() {
        true => bound.to_string(),
        false => format!("{}:{}", settings.site.domain, bound.port()),
    };
    let until = clock::now().saturating_add(Duration::seconds(LINK.cast_signed()));
    Ok(Json(PageLink { url: format!("https://{place}/pages/open/{secret}"), until: report::written(until) }))
}
