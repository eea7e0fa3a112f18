//! The device API: what snapd requests over HTTP.
//!
//! One file per subject; `routes.rs` lists them all. Handlers extract, query the catalog through the caller's view,
//! and write the answer; only the two that start a session touch the database.

#[cfg(test)]
mod allocations;
mod assertions;
pub(crate) mod blob_body;
mod caller;
mod catalogue;
mod cohorts;
mod dashboard;
mod download;
mod envelope;
mod error;
mod find;
mod front;
mod icons;
mod info;
mod json;
mod overrides;
pub(crate) mod range;
mod refresh;
mod registration;
pub(crate) mod routes;
mod session;
mod status;
mod tally;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_response};

pub(crate) use self::front::Front;
use crate::site::Site;

/// The state that every handler gets.
pub(crate) type App = Arc<Site>;

/// Largest request body; a refresh of thousands of snaps stays far below.
const LARGEST_BODY: usize = 8 << 20;

/// The whole device API over one store.
pub(crate) fn front(app: App) -> Front {
    let collect = |routes: Vec<(_, &str, _)>| {
        routes.into_iter().fold(Router::new(), |router, (_, path, handler)| router.route(path, handler))
    };
    let devices = collect(routes::device_routes())
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(map_response(error::in_our_words))
        .layer(from_fn_with_state(app.clone(), envelope::only_in_airgap_mode));
    let router = collect(routes::status_routes())
        .merge(devices)
        .fallback(error::no_such_endpoint)
        .method_not_allowed_fallback(error::no_such_method)
        .with_state(Arc::clone(&app));
    Front::new(app, router)
}
