//! The sockets of the admin API: one in the data directory for everything, and one elsewhere for reading.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use schema::api::admin::SOCKET_NAME;
use schema::config::Settings;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{Admin, Operator, router};

/// The groups of this host.
const GROUPS: &str = "/etc/group";

/// A user of the socket for reading.
#[derive(Debug, Clone)]
pub(super) struct Reader(pub(super) Operator);

impl Connected<IncomingStream<'_, UnixListener>> for Operator {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let uid = stream.io().peer_cred().map(|peer| peer.uid());
        Self(uid.map_or_else(|_| "unknown".into(), |uid| format!("uid {uid}")))
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Reader {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(Operator::connect_info(stream))
    }
}

/// Whether a server of this data directory is running.
pub(crate) fn is_served(data_dir: &Path) -> bool {
    UnixStream::connect(data_dir.join(SOCKET_NAME)).is_ok()
}

/// Opens the socket in the data directory.
pub(crate) fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    open(&data_dir.join(SOCKET_NAME), None)
}

/// Opens the socket for reading, if the settings name one.
pub(crate) fn bind_for_readers(
    data_dir: &Path,
    settings: &Settings,
) -> io::Result<Option<(UnixListener, PathBuf)>> {
    let Some(path) = settings.listen.read_socket.clone() else { return Ok(None) };
    if path.starts_with(data_dir) {
        return Err(io::Error::other("it is in the data directory, which its readers cannot enter"));
    }
    let group = settings.listen.read_group.as_deref().map(group_id).transpose()?;
    Ok(Some((open(&path, group)?, path)))
}

/// Opens a socket for its owner and group, replacing one left by a dead server.
fn open(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    match UnixStream::connect(path) {
        Ok(_) => {
            let text = format!("another server is running at {}", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if !fs::symlink_metadata(path)?.file_type().is_socket() => return Err(error),
        Err(_) => fs::remove_file(path)?,
    }
    let listener = UnixListener::bind(path)?;
    if group.is_some() {
        chown(path, None, group)?;
    }
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// The number of a group.
fn group_id(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string(GROUPS)?;
    let named = |line: &str| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(group);
        fields.nth(1).filter(|_| is_it)?.parse().ok()
    };
    groups
        .lines()
        .find_map(named)
        .ok_or_else(|| io::Error::other(format!("there is no group {group} in {GROUPS}")))
}

/// Serves the admin API until `stop`, then removes the socket.
pub(crate) async fn serve(listener: UnixListener, admin: Admin, stop: CancellationToken) {
    let path = admin.store.data_dir().join(SOCKET_NAME);
    serve_to::<Operator>(listener, &path, admin, stop).await;
}

/// Serves what may be read until `stop`, then removes the socket.
pub(crate) async fn serve_readers(
    (listener, path): (UnixListener, PathBuf),
    admin: Admin,
    stop: CancellationToken,
) {
    serve_to::<Reader>(listener, &path, admin, stop).await;
}

async fn serve_to<C>(listener: UnixListener, path: &Path, admin: Admin, stop: CancellationToken)
where
    C: for<'a> Connected<IncomingStream<'a, UnixListener>> + Sync,
{
    let app = router(&admin).into_make_service_with_connect_info::<C>();
    let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(failure) = served {
        error!(error = &failure as &dyn std::error::Error, "The admin socket {} failed", path.display());
    }
    let _ = fs::remove_file(path);
}
