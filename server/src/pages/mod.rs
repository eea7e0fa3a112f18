//! The pages: what an operator looks at in a browser, at the admin address, while `proxy.admin.pages` is on.
//!
//! ```text
//! browser ──► guard ──► Visit (cookie) ──► page ──► ask ──► the admin API, within the process
//!             headers,                      │
//!             cross-site forms              └─► template ──► Plain (every value)
//! ```
//!
//! A page decides nothing: it makes calls of the admin API as the visitor, and shows the answers. Every action is a plain form, and
//! everything works without scripts, which only keep a page up to date. All texts are in `texts.rs`.

mod approvals;
mod ask;
mod assets;
mod audit;
mod device;
mod fleet;
mod folder;
mod frame;
mod guard;
mod imports;
mod keys;
mod live;
mod login;
mod misses;
mod now;
mod plot;
mod pushes;
mod registrations;
mod rollouts;
mod settings;
pub(crate) mod shown;
mod snaps;
mod texts;
mod trains;
mod visit;
mod waiting;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;

use crate::site::Site;

/// What every page gets.
#[derive(Clone)]
pub(crate) struct Pages {
    site: Arc<Site>,
    /// The admin API, within the process.
    api: Router,
    /// When the server stops.
    stop: CancellationToken,
    /// The import of a folder of the host.
    carried: folder::Carried,
}

/// All pages.
pub(crate) fn router(site: Arc<Site>, api: Router, stop: CancellationToken) -> Router {
    let pages = Pages { site, api, stop, carried: folder::Carried::default() };
    Router::new()
        .route("/", get(home))
        .route("/pages", get(home))
        .route("/pages/", get(home))
        .route("/pages/assets/{name}", get(assets::asset))
        .route("/pages/login", get(login::form).post(login::log_in))
        .route("/pages/open/{secret}", get(login::invited))
        .route("/pages/open", post(login::open))
        .route("/pages/logout", post(login::log_out))
        .route("/pages/live", get(live::follow))
        .route("/pages/now", get(now::page))
        .route("/pages/fleet", get(fleet::page))
        .route("/pages/device", get(device::page))
        .route("/pages/device/block", post(device::block))
        .route("/pages/device/tag", post(device::tag))
        .route("/pages/snaps", get(snaps::page))
        .route("/pages/snap", get(snaps::one))
        .route("/pages/imports", get(imports::page).post(imports::upload))
        .route("/pages/imports/folder", post(folder::import))
        .route("/pages/waiting", get(waiting::page).post(waiting::decide))
        .route("/pages/rollouts", get(rollouts::page).post(rollouts::step))
        .route("/pages/trains", get(trains::page).post(trains::step))
        .route("/pages/approvals", get(approvals::page).post(approvals::decide))
        .route("/pages/registrations", get(registrations::page))
        .route("/pages/misses", get(misses::page))
        .route("/pages/misses/snaps.yaml", get(misses::list))
        .route("/pages/keys", get(keys::page))
        .route("/pages/audit", get(audit::page))
        .route("/pages/audit/{file}", get(audit::export))
        .route("/pages/settings", get(settings::page).post(settings::change))
        .route("/pages/{*rest}", get(visit::nothing_here))
        .layer(from_fn_with_state(pages.clone(), guard::keep))
        .with_state(pages)
}

async fn home() -> Response {
    Redirect::to("/pages/now").into_response()
}
