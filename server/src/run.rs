//! From a data directory to a serving process, and back to nothing.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use schema::config::Settings;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::listen::{Limits, serve};
use crate::store::Store;
use crate::{admin, http};

/// Serves until it is told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps the store from being served: nothing has been changed then.
pub(crate) async fn run(data_dir: &Path) -> anyhow::Result<()> {
    // No memory image of a process that holds secrets is written to disk.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context("cannot forbid memory dumps")?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(data_dir)
        .with_context(|| format!("cannot make the data directory {}", data_dir.display()))?;
    let settings = Settings::load(data_dir)?;
    let wanted = SocketAddr::new(settings.bind_address(), settings.port("proxy.port.http"));
    let listener = bind(wanted).await?;
    let bound = listener.local_addr().context("cannot tell the bound address")?;
    let store = Store::open(data_dir, settings, bound.port()).await?;

    let stop = CancellationToken::new();
    let socket = admin::bind(data_dir).context("cannot open the admin socket")?;
    let admin = tokio::spawn(admin::serve(socket, store.clone(), bound, stop.clone()));
    let upkeep = tokio::spawn({
        let store = store.clone();
        async move { store.keep_up().await }
    });
    let devices = tokio::spawn(serve(listener, http::router(store.clone()), Limits::default(), stop.clone()));

    if !store.serves_devices() {
        info!("Devices are not served yet: run `proxy enable-airgap-mode`");
    }
    info!(address = %bound, data_dir = %data_dir.display(), "Listening on {bound}");
    // Without a service manager there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    wait_for_end().await?;
    info!("Stopping: running transfers may finish");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    stop.cancel();
    devices.await.context("the device listener failed")?;
    admin.await.context("the admin socket failed")?;
    upkeep.abort();
    store.sightings().write(store.database()).await;
    drop(Arc::clone(&store));
    info!("Stopped");
    Ok(())
}

async fn bind(wanted: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(wanted).await.with_context(|| {
        format!("cannot listen on {wanted}: set proxy.ipaddress and proxy.port.http with `proxy config`")
    })
}

async fn wait_for_end() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
