//! The admin API (routes: `routes.rs`; types: `schema::api::admin`): on a Unix socket in the data directory, and over
//! HTTPS if `proxy.admin.address` is set.
//!
//! The socket has mode 0660: the file system decides who may connect, and every change records the user id reported
//! by the kernel. A second socket, `proxy.admin.read-socket`, lets its group read (`sockets.rs`). Over the network the
//! same routes require a service login with the permission in the table of routes, and every change records the
//! login's id.

mod access;
mod acme;
mod approvals;
mod audit;
mod config;
mod deltas;
mod device_kit;
mod devices;
mod doctor;
mod error;
mod given;
mod glass;
mod groups;
mod history;
mod imported;
mod jobs;
mod logins;
mod maintain;
mod measures;
mod openapi;
mod overrides;
mod page_links;
mod parcels;
mod push;
mod refusals;
mod report;
mod rollouts;
mod route;
mod routes;
mod shape;
mod signing;
mod sockets;
mod status;
mod trains;
mod upkeep;
mod waiting;

pub(crate) use routes::document as openapi;
pub(crate) use sockets::{bind, bind_for_readers, is_served, serve, serve_readers};

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use futures_util::FutureExt as _;

use self::error::AdminError;
use crate::jobs::Jobs;
use crate::observe::count_imports;
use crate::site::Site;
use crate::tls;

/// The state that every handler gets.
#[derive(Clone)]
pub(crate) struct Admin {
    store: Arc<Site>,
    jobs: Arc<Jobs>,
}

impl Admin {
    /// The API over one store, however many ways lead to it.
    pub(crate) fn new(store: Arc<Site>, jobs: Arc<Jobs>) -> Self {
        Self { store, jobs }
    }

    /// The API for the network, and what else is at its address: requires TLS, and a login or a browser that was let in.
    pub(crate) fn over_https(&self, beside: Router) -> Router {
        router(self)
            .layer(from_fn(access::seal))
            .merge(beside)
            .layer(from_fn_with_state(Arc::clone(self.store.tls()), tls::guard_admin))
    }

    /// The API within this process: a request brings its [`Visitor`](crate::visits::Visitor).
    pub(crate) fn within(&self) -> Router {
        router(self)
    }
}

/// The caller: a user of this host as reported by the kernel, or the holder of a login.
#[derive(Debug, Clone)]
struct Operator(String);

/// Present on every request that [`access::admit`] let through.
impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AdminError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(AdminError::unauthenticated)
    }
}

/// Every route behind its access check.
fn router(admin: &Admin) -> Router {
    let counted = from_fn_with_state(Arc::clone(admin.store.observed()), count_imports);
    let guarded = |router: Router<Admin>, route: route::Route| {
        let guard = from_fn_with_state((admin.clone(), route.needs), access::admit);
        let recorded = from_fn_with_state(admin.clone(), refusals::record);
        router.route(route.path, route.handler.route_layer(recorded).route_layer(guard))
    };
    routes::routes()
        .into_iter()
        .fold(Router::new(), guarded)
        // A bundle is as large as its snaps; each body's reader has its own limits.
        .layer(DefaultBodyLimit::disable())
        .layer(map_response(error::in_json))
        .layer(counted)
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_route)
        .layer(from_fn(caught))
        .with_state(admin.clone())
}

/// A handler that panics ends its own request only.
async fn caught(request: Request, next: Next) -> Response {
    AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(error::after_panic)
}
