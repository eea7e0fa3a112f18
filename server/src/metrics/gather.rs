//! Gathers all metrics: counters, catalog, pools, disk and process.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use schema::assertion::{AssertionType, Details};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::process;
use crate::catalog::Catalog;
use crate::clock;
use crate::jobs::Jobs;
use crate::listen::{CLOSED, Connections, Counted, PHASES};
use crate::observe::text::Text;
use crate::site::{PARTS, Site};

/// How long a value from the database or the disk is cached.
const KEPT: Duration = Duration::from_secs(5);
/// How long the database may take to count.
const PATIENCE: Duration = Duration::from_secs(2);

/// The sources of metrics.
pub(crate) struct Gatherer {
    store: Arc<Site>,
    jobs: Arc<Jobs>,
    connections: Arc<Connections>,
    begun: Instant,
    looked: Mutex<Option<(Instant, Looked)>>,
}

/// Values that take a while to get.
#[derive(Clone, Copy)]
struct Looked {
    devices: Option<i64>,
    last_import_micros: Option<i64>,
    /// Free and total bytes, by folder.
    space: [(&'static str, Option<(u64, u64)>); 2],
}

/// Free and total bytes of a folder's file system, if it answers.
async fn space(folder: Option<&Path>) -> Option<(u64, u64)> {
    let folder = folder?.to_owned();
    let about = tokio::task::spawn_blocking(move || statvfs(&folder).ok());
    let about = timeout(PATIENCE, about).await.ok()?.ok()??;
    Some((about.f_bavail * about.f_frsize, about.f_blocks * about.f_frsize))
}

impl Gatherer {
    /// Looks at this store, its jobs and its connections.
    pub(crate) fn new(store: Arc<Site>, jobs: Arc<Jobs>, connections: Arc<Connections>) -> Self {
        Self { store, jobs, connections, begun: Instant::now(), looked: Mutex::default() }
    }

    /// All current metrics.
    pub(super) async fn scrape(&self) -> String {
        let mut text = Text::default();
        let store = &self.store;
        text.gauge("airlock_build_info", "The program; always 1.");
        text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.write_health(&mut text).await;
        store.observed().write(&mut text);
        self.jobs.write(&mut text);
        write_catalog(&mut text, &store.catalog());
        let (deltas, bytes) = store.deltas().size();
        text.single("airlock_deltas", "Deltas that are offered.", deltas);
        text.single("airlock_delta_bytes", "Bytes of these deltas.", bytes);
        write_keys(&mut text, &store.catalog());
        self.write_certificate(&mut text);
        self.write_connections(&mut text);
        self.write_pools(&mut text);
        let looked = self.look().await;
        text.gauge("airlock_devices_seen", "Devices that asked for a refresh at some time.");
        if let Some(devices) = looked.devices {
            text.sample(&[], devices);
        }
        text.gauge(
            "airlock_last_import_timestamp_seconds",
            "When the last import ended well, in seconds since 1970.",
        );
        if let Some(micros) = looked.last_import_micros {
            text.sample(&[], micros / 1_000_000);
        }
        let space = || looked.space.iter().filter_map(|(folder, space)| Some((*folder, (*space)?)));
        text.gauge(
            "airlock_data_free_bytes",
            "Bytes that are free for the data directory, and for the folder of snaps.",
        );
        for (folder, (free, _)) in space() {
            text.sample(&[("folder", folder)], free);
        }
        text.gauge("airlock_data_size_bytes", "Sizes of the file systems of these folders.");
        for (folder, (_, size)) in space() {
            text.sample(&[("folder", folder)], size);
        }
        process::write(&mut text, self.begun.elapsed());
        text.into_string()
    }

    async fn write_health(&self, text: &mut Text) {
        let troubles = self.store.readiness().troubles(&self.store).await;
        text.gauge(
            "airlock_ready",
            "1 where a part of the store is ready to serve devices, 0 where it is not.",
        );
        for part in PARTS {
            text.sample(&[("part", part)], i32::from(troubles.iter().all(|trouble| trouble.part != part)));
        }
    }

    fn write_certificate(&self, text: &mut Text) {
        text.gauge(
            "airlock_certificate_expires_in_seconds",
            "Seconds until the store's certificate ends; negative when it has.",
        );
        if let Some(served) = &self.store.tls().state().served {
            text.sample(&[], (served.leaf.not_after - clock::now()).whole_seconds());
        }
    }

    fn write_connections(&self, text: &mut Text) {
        text.gauge("airlock_connections", "Open connections of devices, by what they are at.");
        for (phase, count) in PHASES.iter().zip(self.connections.phases()) {
            text.sample(&[("phase", phase)], count);
        }
        text.single("airlock_connections_max", "Most connections there may be.", self.connections.most());
        let Counted { accepted, refused_address, refused_total, not_accepted, received, sent, closed } =
            self.connections.counted();
        text.counter("airlock_connections_accepted_total", "Connections of devices that were let in.");
        text.sample(&[], accepted);
        text.counter(
            "airlock_connections_refused_total",
            "Connections that were turned away, by the limit in the way.",
        );
        for (reason, count) in
            [("address", refused_address), ("total", refused_total), ("descriptors", not_accepted)]
        {
            text.sample(&[("reason", reason)], count);
        }
        text.counter("airlock_connections_closed_total", "Connections that the server ended, by the reason.");
        for (reason, count) in CLOSED.iter().zip(closed) {
            text.sample(&[("reason", reason)], count);
        }
        text.counter("airlock_received_bytes_total", "Bytes of requests.");
        text.sample(&[], received);
        text.counter("airlock_sent_bytes_total", "Bytes of answers.");
        text.sample(&[], sent);
    }

    fn write_pools(&self, text: &mut Text) {
        text.gauge("airlock_database_connections", "Connections to PostgreSQL, by share and state.");
        let pools = self.store.database().pools();
        for pool in &pools {
            for (state, count) in [("idle", pool.idle), ("in-use", pool.open.saturating_sub(pool.idle))] {
                text.sample(&[("pool", pool.name), ("state", state)], count);
            }
        }
        text.gauge("airlock_database_connections_max", "Most connections to PostgreSQL.");
        for pool in &pools {
            text.sample(&[("pool", pool.name)], pool.most);
        }
        text.gauge("airlock_database_waiting", "Uses of the database that wait for a connection.");
        for pool in &pools {
            text.sample(&[("pool", pool.name)], pool.waiting);
        }
    }

    async fn look(&self) -> Looked {
        let mut looked = self.looked.lock().await;
        if let Some((at, known)) = *looked
            && at.elapsed() < KEPT
        {
            return known;
        }
        let database = self.store.database();
        let counted =
            timeout(PATIENCE, async { tokio::join!(database.count_devices(), database.last_import()) });
        let (devices, last_import) = match counted.await {
            Ok((devices, last_import)) => (devices.ok(), last_import.ok().flatten()),
            Err(_) => (None, None),
        };
        let (data, blobs) = (self.store.data_dir(), self.store.blobs().folder());
        let (data, blobs) = tokio::join!(space(Some(data)), space(blobs));
        let space = [("data", data), ("blobs", blobs)];
        let known = Looked { devices, last_import_micros: last_import, space };
        *looked = Some((Instant::now(), known));
        known
    }
}

fn write_catalog(text: &mut Text, catalog: &Catalog) {
    let revisions: usize = catalog.snaps().map(|snap| snap.revisions.len()).sum();
    text.single(
        "airlock_catalog_generation",
        "Count of changes that is being served.",
        catalog.position.generation,
    );
    text.single("airlock_catalog_snaps", "Snaps in the store.", catalog.count_snaps());
    text.single("airlock_catalog_revisions", "Snap revisions in the store.", revisions);
    text.single("airlock_catalog_assertions", "Assertions in the store.", catalog.assertions.len());
    text.single("airlock_catalog_stores", "Stores whose metadata was imported.", catalog.stores().count());
    text.single("airlock_devices_blocked", "Devices that are refused.", catalog.blocked().size());
    let (mut files, mut bytes, mut damaged) = (0_u64, 0_u64, 0_u64);
    for blob in catalog.blobs() {
        files += 1;
        bytes += blob.size;
        damaged += u64::from(blob.checks.is_damaged());
    }
    text.single("airlock_blobs", "Files of snaps, components and icons.", files);
    text.single("airlock_blob_bytes", "Bytes of these files.", bytes);
    text.single("airlock_blobs_damaged", "Files that were found damaged and are not served.", damaged);
}

/// Keys that sign for this store: the next expiry, and how many have expired.
fn write_keys(text: &mut Text, catalog: &Catalog) {
    let (mut held, mut ended, mut first) = (0, 0, None);
    let now = clock::now();
    for assertion in catalog.assertions.of_kind(AssertionType::AccountKey) {
        let Details::AccountKey(key) = assertion.details() else { continue };
        held += 1;
        match key.until {
            Some(until) if until <= now => ended += 1,
            Some(until) => first = Some(first.map_or(until, |first| until.min(first))),
            None => {}
        }
    }
    text.single("airlock_signing_keys", "Account keys in the store.", held);
    text.single("airlock_signing_keys_expired", "Account keys in the store that are over or revoked.", ended);
    text.gauge(
        "airlock_signing_key_expires_in_seconds",
        "Seconds until the first of the account keys that are still good is over.",
    );
    if let Some(first) = first {
        text.sample(&[], (first - now).whole_seconds());
    }
}
