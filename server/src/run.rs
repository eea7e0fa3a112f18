//! Starts the server of a data directory, and stops it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use axum::Router;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use schema::api::admin::Finding;
use schema::causes::one_line;
use schema::config::{ConfigLock, Settings};
use sd_notify::NotifyState;
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::admin::{self, Admin};
use crate::backup;
use crate::clock;
use crate::doctor::clock_went_back;
use crate::failpoint;
use crate::http;
use crate::jobs::Jobs;
use crate::listen::{Connections, Limits, Plain};
use crate::metrics::{self, Gatherer};
use crate::observe::Observed;
use crate::pages;
use crate::site::Site;
use crate::tls::{Handed, Opening, Port, Tls};

/// What a service manager passes to the process.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// The folder of credentials.
    pub(crate) credentials: Option<PathBuf>,
    /// Opened ports.
    pub(crate) ports: Handed,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Why the store cannot be served; nothing has been changed then.
pub(crate) async fn run(data_dir: &Path, given: Given) -> anyhow::Result<()> {
    raise_descriptors();
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(data_dir)
        .with_context(|| format!("cannot make the data directory {}", data_dir.display()))?;
    crate::restore::settle(data_dir).await?;
    // Tests that wait for a limit shorten it.
    let limits = Limits::with(&failpoint::asked("AIRLOCK_LIMITS").unwrap_or_default());
    let server = Server::start(data_dir, given, limits).await?;
    let settings = server.store.settings();
    for text in settings.refused().chain(settings.waiting()) {
        warn!("{text}");
    }
    if let Some(finding) = look_at_the_clock(&server.store).await {
        warn!("{finding}");
    }
    if !server.store.serves_devices() {
        info!("Devices are not served yet: run `proxy enable-airgap-mode`");
    }
    // Without a service manager there is nobody to notify.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    wait_for_end().await?;
    info!("Stopping: running transfers may finish");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    server.stop().await?;
    info!("Stopped");
    Ok(())
}

/// Whether the clock shows an earlier time than when this store last recorded something.
async fn look_at_the_clock(store: &Site) -> Option<Finding> {
    let last = store.database().latest_event().await.ok().flatten()?;
    let last = OffsetDateTime::from_unix_timestamp_nanos(i128::from(last) * 1000).ok()?;
    clock_went_back(clock::now(), last)
}

/// Prevents memory dumps of a process that holds secrets.
pub(crate) fn forbid_dumps() -> anyhow::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context("cannot forbid memory dumps")
}

/// Raises the descriptor limit to the maximum: each connection and each transfer needs one.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(failure) = raised {
        warn!(error = &failure as &dyn std::error::Error, "Serving with fewer connections than wanted");
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) store: Arc<Site>,
    stop: CancellationToken,
    devices: JoinHandle<()>,
    admin: JoinSet<()>,
    upkeep: JoinSet<()>,
}

impl Server {
    /// Opens the store of an existing data directory, and starts serving operators and devices.
    pub(crate) async fn start(data_dir: &Path, given: Given, limits: Limits) -> anyhow::Result<Self> {
        let _until_operators_reach_it = hold_configuration(data_dir, Duration::from_secs(60)).await?;
        // Before its ports, which are in use for that reason.
        if admin::is_served(data_dir) {
            bail!("another server is using {}: `proxy status` shows it", data_dir.display());
        }
        Settings::clear_leftovers(data_dir)?;
        let mut settings = Settings::load(data_dir)?;
        if let Some(folder) = &given.credentials {
            settings.load_credentials(folder).context("cannot take the credentials of the service")?;
        }
        let stop = CancellationToken::new();
        let (openings, opened) = unbounded_channel();
        let tls = Tls::open(&settings, given.ports, openings, stop.clone())?;
        let observed = Observed::new(http::routes::patterns(), crate::signing::checks());
        let store = Site::open(data_dir, settings, tls, observed).await?;
        backup::clear(data_dir);
        let jobs = Arc::new(Jobs::new());
        let socket = admin::bind(data_dir).context("cannot open the admin socket")?;
        let operators = Admin::new(Arc::clone(&store), Arc::clone(&jobs));
        let remote =
            operators.over_https(pages::router(Arc::clone(&store), operators.within(), stop.clone()));
        let mut sockets = JoinSet::new();
        match admin::bind_for_readers(data_dir, &store.settings()) {
            Ok(None) => {}
            Ok(Some(reading)) => {
                drop(sockets.spawn(admin::serve_readers(reading, operators.clone(), stop.clone())));
            }
            // Devices are served without it.
            Err(failure) => {
                error!(error = &failure as &dyn std::error::Error, "Cannot open proxy.admin.read-socket");
                let _ = store.closed_to_readers.set(one_line(&failure));
            }
        }
        sockets.spawn(admin::serve(socket, operators, stop.clone()));
        Ok(Self {
            admin: sockets,
            upkeep: jobs.start(&store),
            devices: tokio::spawn(let_in(opened, Arc::clone(&store), jobs, remote, limits, stop.clone())),
            store,
            stop,
        })
    }

    /// Ends what can be ended, and waits for requests in flight.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        // What is under way may still change settings, and commands that find no socket would change the file.
        let _until_the_end = hold_configuration(self.store.data_dir(), Duration::from_secs(5)).await;
        self.stop.cancel();
        self.devices.await.context("the device listener failed")?;
        while let Some(ended) = self.admin.join_next().await {
            ended.context("the admin socket failed")?;
        }
        self.upkeep.shutdown().await;
        // What cannot be written now is said again by the devices.
        let _ = self.store.sightings().write(self.store.database()).await;
        let _ = self.store.observed().write_down(self.store.database(), clock::micros()).await;
        Ok(())
    }
}

/// Keeps `proxy config` from changing the configuration file meanwhile.
async fn hold_configuration(data_dir: &Path, patience: Duration) -> anyhow::Result<ConfigLock> {
    let started = Instant::now();
    loop {
        let taken = ConfigLock::try_take(data_dir);
        match taken.with_context(|| format!("cannot lock {}", data_dir.display()))? {
            Some(lock) => return Ok(lock),
            None if started.elapsed() < patience => sleep(Duration::from_millis(10)).await,
            None => bail!(
                "another command, or another server that starts, holds the configuration in {}",
                data_dir.display()
            ),
        }
    }
}

/// Serves every port that is opened until `stop`, and then lets requests in flight finish.
async fn let_in(
    mut opened: UnboundedReceiver<Opening>,
    store: Arc<Site>,
    jobs: Arc<Jobs>,
    operators: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let connections = Arc::new(Connections::new(limits));
    let devices = http::front(Arc::clone(&store));
    let gatherer = Gatherer::new(Arc::clone(&store), jobs, Arc::clone(&connections));
    let (watchers, metrics) = (Arc::new(Connections::new(watchers())), metrics::router(Arc::new(gatherer)));
    let ports = TaskTracker::new();
    while let Some(Some(opening)) = stop.run_until_cancelled(opened.recv()).await {
        if let Ok(address) = opening.listener.local_addr() {
            info!(%address, "Listening on {address} ({})", opening.port);
        }
        if opening.port == Port::Metrics {
            let (watchers, metrics) = (Arc::clone(&watchers), metrics.clone());
            ports.spawn(
                async move { watchers.accept(opening.listener, Plain, metrics, opening.closed).await },
            );
            continue;
        }
        let (connections, door) = (Arc::clone(&connections), store.tls().door(&opening));
        let Opening { port, listener, closed, .. } = opening;
        if port == Port::Admin {
            let operators = operators.clone();
            ports.spawn(async move { connections.accept(listener, door, operators, closed).await });
        } else {
            let devices = devices.clone();
            ports.spawn(async move { connections.accept(listener, door, devices, closed).await });
        }
    }
    ports.close();
    ports.wait().await;
    watchers.drain().await;
    connections.drain().await;
}

/// The limits of the metrics port: a few monitoring systems, which take no device's slot.
fn watchers() -> Limits {
    Limits {
        drain: Duration::from_secs(2),
        per_address: 8,
        total: 32,
        head_bytes: 8 * 1024,
        ..Limits::default()
    }
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
