//! The admin API on a Unix socket in the data directory (routes and shapes: `schema::api::admin`).
//!
//! The socket is 0660; who may connect is who the file system lets, and every change notes the user id that
//! the kernel vouches for. Nothing of it is reachable over the network.

mod acme;
mod audit;
mod config;
mod devices;
mod error;
mod logins;
mod maintain;
mod overrides;
mod push;
mod refusals;
mod report;
mod status;
mod upkeep;

pub(crate) use error::one_line;

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::connect_info::Connected;
use axum::middleware;
use axum::routing::{delete, get, patch, post, put};
use axum::serve::IncomingStream;
use schema::api::admin::SOCKET_NAME;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::store::Store;

/// What every handler is given.
#[derive(Clone)]
struct Admin {
    store: Arc<Store>,
}

/// Who asks, by the kernel's word.
#[derive(Debug, Clone)]
struct Operator(String);

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
pub(crate) async fn serve(listener: UnixListener, store: Arc<Store>, stop: CancellationToken) {
    let path = store.data_dir().join(SOCKET_NAME);
    let app = router(Admin { store }).into_make_service_with_connect_info::<Operator>();
    let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(failure) = served {
        error!(error = &failure as &dyn std::error::Error, "The admin socket failed");
    }
    let _ = std::fs::remove_file(path);
}

/// Every route of the admin API.
fn router(admin: Admin) -> Router {
    Router::new()
        .route("/v1/status", get(status::status))
        .route("/v1/snaps", get(report::snaps).post(push::snaps))
        .route("/v1/archives", post(push::archive))
        .route("/v1/assertions", post(push::assertions))
        .route("/v1/account-keys", get(report::account_keys))
        .route("/v1/stores", get(report::stores).post(push::stores))
        .route("/v1/trust", get(report::trust).post(push::trust))
        .route("/v1/trust/{fingerprint}", delete(push::distrust))
        .route("/v1/config", patch(config::change))
        .route("/v1/acme", get(acme::status).put(acme::enable).delete(acme::disable))
        .route("/v1/acme/renew", post(acme::renew))
        .route("/v1/devices", get(devices::list))
        .route("/v1/device", get(devices::show))
        .route("/v1/misses", get(devices::misses))
        .route("/v1/upkeep", post(upkeep::run))
        .route("/v1/audit", get(audit::list))
        .route("/v1/overrides", get(overrides::list).post(overrides::set).delete(overrides::remove))
        .route("/v1/devices/block", put(config::block))
        .route("/v1/logins", get(logins::list).post(logins::create))
        .route("/v1/logins/{id}", delete(logins::revoke))
        .route("/v1/verify", post(maintain::verify))
        .route("/v1/repair", post(maintain::repair))
        .route("/v1/gc", post(maintain::gc))
        .route("/v1/secrets/rotate", post(config::rotate))
        .route("/v1/database/copy", post(config::copy))
        // A bundle is as large as its snaps; the reader of each body has limits of its own.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(admin.clone(), refusals::record))
        .fallback(error::no_such_route)
        .with_state(admin)
}
