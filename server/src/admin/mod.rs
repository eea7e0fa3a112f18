//! The admin API (routes: `routes.rs`; shapes: `schema::api::admin`): on a Unix socket in the data directory, and over
//! HTTPS where `proxy.admin.address` is set.
//!
//! The socket is 0660; who may connect is who the file system lets, and every change notes the user id that
//! the kernel vouches for. Over the network the same routes ask for a service login with the permission that the table
//! of routes names, and every change notes the login's id.

mod access;
mod acme;
mod audit;
mod config;
mod device_kit;
mod devices;
mod doctor;
mod error;
mod logins;
mod maintain;
mod openapi;
mod overrides;
mod push;
mod refusals;
mod report;
mod routes;
mod shape;
mod status;
mod upkeep;

pub(crate) use error::one_line;
pub(crate) use openapi::document as openapi;

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::serve::IncomingStream;
use http::request::Parts;
use schema::api::admin::SOCKET_NAME;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::error;

use self::error::AdminError;
use crate::observe::count_imports;
use crate::store::Store;
use crate::tls;

/// What every handler is given.
#[derive(Clone)]
pub(crate) struct Admin {
    store: Arc<Store>,
}

impl Admin {
    /// The API over one store, however many ways lead to it.
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// The API for the network: nothing is answered that did not come through TLS and with a login.
    pub(crate) fn over_https(&self) -> Router {
        router(self)
            .layer(from_fn_with_state(Arc::clone(self.store.tls()), tls::guard_admin))
            .layer(from_fn(access::seal))
    }
}

/// Who asks: a user of this host by the kernel's word, or the holder of a login.
#[derive(Debug, Clone)]
struct Operator(String);

/// There is one on every request that [`access::admit`] has let through.
impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AdminError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(AdminError::unauthenticated)
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Operator {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let uid = stream.io().peer_cred().map(|peer| peer.uid());
        Self(uid.map_or_else(|_| "unknown".into(), |uid| format!("uid {uid}")))
    }
}

/// Opens the socket, in place of one that a dead server left behind.
pub(crate) fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    let path = data_dir.join(SOCKET_NAME);
    match std::os::unix::net::UnixStream::connect(&path) {
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("another server is running in {}", data_dir.display()),
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => std::fs::remove_file(&path)?,
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Serves the admin API until `stop`, then removes the socket.
pub(crate) async fn serve(listener: UnixListener, admin: Admin, stop: CancellationToken) {
    let path = admin.store.data_dir().join(SOCKET_NAME);
    let app = router(&admin).into_make_service_with_connect_info::<Operator>();
    let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(failure) = served {
        error!(error = &failure as &dyn std::error::Error, "The admin socket failed");
    }
    let _ = std::fs::remove_file(path);
}

/// Every route, each behind the check of who may ask it.
fn router(admin: &Admin) -> Router {
    let counted = from_fn_with_state(Arc::clone(&admin.store), count_imports);
    let guarded = |router: Router<Admin>, route: routes::Route| {
        let guard = from_fn_with_state((admin.clone(), route.needs), access::admit);
        let recorded = from_fn_with_state(admin.clone(), refusals::record);
        router.route(route.path, route.handler.route_layer(recorded).route_layer(guard))
    };
    routes::routes()
        .into_iter()
        .fold(Router::new(), guarded)
        // A bundle is as large as its snaps; the reader of each body has limits of its own.
        .layer(DefaultBodyLimit::disable())
        .layer(counted)
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_route)
        .layer(CatchPanicLayer::custom(error::after_panic))
        .with_state(admin.clone())
}
