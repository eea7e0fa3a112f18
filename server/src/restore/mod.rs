//! Restores a backup on an empty host while no server runs there: `proxyd restore`, called by `proxy restore`.
//!
//! Standard input carries one line of JSON, a [`RestoreOrder`], and then the archive (see [`schema::backup`]) in
//! chunks. The sender marks the end, because only it knows whether an encrypted file was complete. Standard output
//! gets one line of JSON, a [`Restored`] or a [`Failure`]. So no secret is in an argument.
//!
//! ```text
//! DATA/.restore/          locked while a restore is running; everything is unpacked and checked in here
//! DATA/.restore/ready     from now on it is the host; what is left is to move it (see `place`)
//! ```
//!
//! A restore interrupted before `ready` leaves an empty host, one interrupted later a complete one: the next start of
//! the server, or the next restore, cleans up or finishes.

mod error;
mod place;
mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;

use aws_lc_rs::rand;
use schema::api::admin::Failure;
use schema::backup::{Blob, MissingBlob, Received, RestoreOrder, Restored};
use schema::causes::one_line;
use schema::config::{ClientAuth, Settings};
use schema::digest::{Sha3_384, hex};
use serde_json::json;

use self::error::RestoreError;
use self::place::{Settled, Stage, close, database_file};
use self::unpack::{Unpacked, unpack};
use crate::catalog::Catalog;
use crate::clock;
use crate::site::{SESSION_KEY, database_settings, recognise_settings, shown_database};
use crate::storage::owned::{Owner, Part};
use crate::storage::policies::PolicyRecord;
use crate::storage::records::{AuditEvent, Snapshot};
use crate::storage::{Database, Settings as DatabaseSettings};

pub(crate) use self::place::settle;

/// Larger than any instructions, in bytes.
const MAX_ORDER: u64 = 16 << 20;

/// Restores the backup on standard input.
///
/// # Errors
/// Why it is not restored; this was already reported on standard output, and nothing has changed.
pub(crate) async fn run(data_dir: &Path) -> anyhow::Result<()> {
    let done = restore(data_dir).await;
    let told = match &done {
        Ok(restored) => serde_json::to_string(restored)?,
        Err(error) => serde_json::to_string(&Failure::new("not-restored", one_line(error)))?,
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{told}")?;
    out.flush()?;
    Ok(done.map(drop)?)
}

async fn restore(data_dir: &Path) -> Result<Restored, RestoreError> {
    if settle(data_dir).await? == Settled::Finished {
        return Err(RestoreError::Finished(data_dir.to_owned()));
    }
    let stage = Stage::open(data_dir)?;
    let prepared = async {
        let restored = prepare(&stage).await?;
        failpoint!("restore.staged");
        stage.mark_ready()?;
        Ok(restored)
    };
    match prepared.await {
        Ok(restored) => {
            failpoint!("restore.ready");
            stage.place().await?;
            Ok(restored)
        }
        Err(error) => {
            stage.discard()?;
            Err(error)
        }
    }
}

/// Unpacks, checks and completes everything. Nothing outside the stage changes.
async fn prepare(stage: &Stage) -> Result<Restored, RestoreError> {
    let folder = stage.folder().to_owned();
    let work = move || {
        let mut input = BufReader::with_capacity(256 << 10, io::stdin().lock());
        let mut line = Vec::new();
        (&mut input).take(MAX_ORDER).read_until(b'\n', &mut line).map_err(RestoreError::Input)?;
        let order: RestoreOrder = serde_json::from_slice(&line).map_err(RestoreError::Order)?;
        unpack(&folder, &order, Received::new(input))
    };
    let Unpacked { settings, manifest, blobs, bytes, missing, elsewhere } =
        tokio::task::spawn_blocking(work).await.map_err(|cut| RestoreError::Input(cut.into()))??;

    let path = database_file(stage.folder());
    let database = Database::open(&DatabaseSettings::Sqlite(path.clone())).await?;
    // Before the first write, which could fire a foreign trigger.
    database.examine().await?;
    database.migrate(clock::micros()).await?;
    let snapshot = database.load().await?;
    Catalog::compile(snapshot.clone(), "", None)?;
    recognise_settings(snapshot.meta.get(SESSION_KEY), &settings).map_err(RestoreError::Secret)?;
    let owned = snapshot.owned_blobs();
    let rows = snapshot.blobs.iter().map(|row| row.digest).filter(|digest| owned.contains_key(digest));
    let listed: BTreeSet<&str> =
        manifest.blobs.iter().chain(&manifest.missing).map(|blob| blob.sha3_384.as_str()).collect();
    for digest in rows {
        if !listed.contains(digest.to_hex().as_str()) {
            return Err(RestoreError::Lacks(format!("file {} that its database names", digest.to_hex())));
        }
    }
    let target = database_settings(stage.data_dir(), &settings);
    if let DatabaseSettings::Postgres(_) = &target
        && Database::open(&target).await?.holds_a_store().await?
    {
        return Err(RestoreError::DatabaseTaken(shown_database(&settings)));
    }

    let mut random = [0; 20];
    rand::fill(&mut random).map_err(|_| RestoreError::NoRandom)?;
    let chance = random[16..].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    let models = database.begin_anew(&hex(&random[..16]), chance).await?;
    let models = models.iter().map(PolicyRecord::again).collect();
    let event = AuditEvent::new(
        format!("uid {}", rustix::process::getuid().as_raw()),
        "restore",
        format!("backup of {}", manifest.time),
    )
    .detail(json!({ "files": blobs, "missing": missing.len() }));
    database.record_event(&event, clock::micros()).await?;
    close(database, &path)?;
    settings.save(stage.folder())?;
    Ok(Restored {
        time: manifest.time,
        database: match settings.database.url {
            None => "embedded".into(),
            Some(_) => shown_database(&settings),
        },
        session_key: snapshot.meta.get(SESSION_KEY).cloned(),
        snaps: snapshot.snaps.len(),
        revisions: snapshot.revisions.len(),
        blobs,
        bytes,
        missing: named(&snapshot, missing),
        absent: absent(&settings, stage),
        elsewhere,
        models,
    })
}

/// Files that the configuration names and no backup holds. They may be in the data directory, which is in the stage so far.
fn absent(settings: &Settings, stage: &Stage) -> Vec<String> {
    let is_absent = |path: &Path| {
        let staged = path.strip_prefix(stage.data_dir()).map(|inside| stage.folder().join(inside));
        !path.exists() && !staged.is_ok_and(|staged| staged.exists())
    };
    let clients = settings.tls.client_ca.as_deref().filter(|_| settings.tls.client_auth != ClientAuth::Off);
    let clients = clients.filter(|path| is_absent(path)).map(|path| {
        format!(
            "proxy.tls.client-ca names {}, which is not on this host, and the server does not start without it: put it there, \
             or run `proxy config proxy.tls.client-auth=off`.",
            path.display()
        )
    });
    let pair = settings.tls.files.as_ref().map(|files| {
        let of_pair = [("proxy.tls.cert-file", &files.cert), ("proxy.tls.key-file", &files.key)];
        of_pair.into_iter().filter(|(_, path)| is_absent(path)).map(|(key, path)| {
            format!(
                "{key} names {}, which is not on this host, so no renewed certificate is taken: put it there, or run \
                 `proxy config proxy.tls.cert-file= proxy.tls.key-file=`.",
                path.display()
            )
        })
    });
    clients.into_iter().chain(pair.into_iter().flatten()).collect()
}

/// What the missing files belong to.
fn named(snapshot: &Snapshot, missing: Vec<Blob>) -> Vec<MissingBlob> {
    let owned = snapshot.owned_blobs();
    let names: BTreeMap<&str, &str> =
        snapshot.snaps.iter().map(|snap| (snap.snap_id.as_str(), snap.name.as_str())).collect();
    let name = |Owner { snap_id, part }: &Owner| {
        let snap = names.get(snap_id.as_str()).copied().unwrap_or(snap_id);
        match part {
            Part::Revision(number) => format!("{snap} revision {number}"),
            Part::Component(component, number) => format!("{snap} component {component} {number}"),
            Part::Icon => format!("{snap}, its picture"),
        }
    };
    let mut named: Vec<MissingBlob> = missing
        .into_iter()
        .map(|Blob { sha3_384, size }| {
            let owners = Sha3_384::from_hex(&sha3_384).ok().and_then(|digest| owned.get(&digest));
            MissingBlob { of: owners.into_iter().flatten().map(name).collect(), sha3_384, size }
        })
        .collect();
    named.sort();
    named
}

fn sync(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}
