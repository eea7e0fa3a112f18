//! Commits one operator action in a single transaction, guarded by the generation it was planned on.
//!
//! The row that counts generations also decides which files stay. A server that removes a file holds this row
//! meanwhile, and a commit that gives a file its owner checks the file while it holds the row. No clock is involved.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use schema::assertion::Verified;
use schema::store::DeviceId;
use serde_json::json;

use super::blobs::Staged;
use super::engine::{Lane, Mode, Reader, Transaction, Value, statements};
use super::error::{CommitError, StorageError};
use super::records::{Change, Origin, Reason, ReleaseKey, ReleaseRecord, Removed, StoreRecord};
use super::touched::Touched;
use super::{Database, approvals, audit, grant_history, history, serials};

statements! {
    BUMP_GENERATION = "UPDATE counters SET value = value + 1 WHERE name = 'generation' AND value = $1 RETURNING value";
    HOLD_GENERATION = "UPDATE counters SET value = value WHERE name = 'generation' RETURNING value";
    // Only a higher revision replaces a stored one.
    UPSERT_ASSERTION = "INSERT INTO assertions (kind, key, format, revision, content) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (kind, key, format) DO UPDATE SET revision = excluded.revision, content = excluded.content
        WHERE assertions.revision < excluded.revision RETURNING kind";
    UPSERT_ANCHOR = "INSERT INTO anchors (fingerprint, stream) VALUES ($1, $2)
        ON CONFLICT (fingerprint) DO UPDATE SET stream = excluded.stream";
    DELETE_ANCHOR = "DELETE FROM anchors WHERE fingerprint = $1";
    UPSERT_BLOB = "INSERT INTO blobs (digest, size, blocks) VALUES ($1, $2, $3)
        ON CONFLICT (digest) DO UPDATE SET size = excluded.size, blocks = excluded.blocks";
    UPSERT_SNAP = "INSERT INTO snaps (snap_id, name, kind, private, text) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (snap_id) DO UPDATE SET name = excluded.name, kind = excluded.kind, private = excluded.private,
            text = excluded.text";
    INSERT_SNAP_STORE = "INSERT INTO snap_stores (snap_id, store_id) VALUES ($1, $2) ON CONFLICT (snap_id, store_id) DO NOTHING";
    UPSERT_REVISION = "INSERT INTO revisions (snap_id, revision, blob, size, version, architectures, base, epoch, confinement,
            kind, provenance, snap_yaml, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        ON CONFLICT (snap_id, revision) DO UPDATE SET blob = excluded.blob, size = excluded.size, version = excluded.version,
            architectures = excluded.architectures, base = excluded.base, epoch = excluded.epoch,
            confinement = excluded.confinement, kind = excluded.kind, provenance = excluded.provenance,
            snap_yaml = excluded.snap_yaml, created_at = excluded.created_at";
    UPSERT_COMPONENT = "INSERT INTO components (snap_id, name, revision, blob, size, kind, version, provenance)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (snap_id, name, revision) DO UPDATE SET blob = excluded.blob, size = excluded.size, kind = excluded.kind,
            version = excluded.version, provenance = excluded.provenance";
    INSERT_PAIR = "INSERT INTO pairs (snap_id, snap_revision, component, component_revision) VALUES ($1, $2, $3, $4)
        ON CONFLICT (snap_id, snap_revision, component, component_revision) DO NOTHING";
    DELETE_IMPORTED_RELEASES = "DELETE FROM releases WHERE snap_id = $1 AND origin = 'imported'";
    DELETE_RELEASE = "DELETE FROM releases
        WHERE snap_id = $1 AND track = $2 AND risk = $3 AND branch = $4 AND architecture = $5 AND origin = $6";
    UPSERT_RELEASE = "INSERT INTO releases (snap_id, track, risk, branch, architecture, origin, revision, released_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (snap_id, track, risk, branch, architecture, origin) DO UPDATE SET revision = excluded.revision,
            released_at = excluded.released_at";
    UPSERT_STORE = "INSERT INTO stores (store_id, brand_id, name, parent, document) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (store_id) DO UPDATE SET brand_id = excluded.brand_id, name = excluded.name, parent = excluded.parent,
            document = excluded.document";
    DELETE_GRANTS = "DELETE FROM grants WHERE store_id = $1";
    INSERT_GRANT = "INSERT INTO grants (store_id, snap_id, name, reason) VALUES ($1, $2, $3, $4)
        ON CONFLICT (store_id, snap_id, name, reason) DO NOTHING";
    DELETE_PAIRS = "DELETE FROM pairs WHERE snap_id = $1 AND snap_revision = $2";
    DELETE_REVISION = "DELETE FROM revisions WHERE snap_id = $1 AND revision = $2";
    DELETE_COMPONENT = "DELETE FROM components WHERE snap_id = $1 AND name = $2 AND revision = $3";
    DELETE_STORES_OF_SNAP = "DELETE FROM snap_stores WHERE snap_id = $1";
    DELETE_SNAP = "DELETE FROM snaps WHERE snap_id = $1";
    DELETE_BLOB = "DELETE FROM blobs WHERE digest = $1";
    DELETE_SNAPS_OF_STORE = "DELETE FROM snap_stores WHERE store_id = $1 RETURNING snap_id";
    DELETE_STORE = "DELETE FROM stores WHERE store_id = $1";
    DELETE_ASSERTION = "DELETE FROM assertions WHERE kind = $1 AND key = $2";
    INSERT_BLOCK = "INSERT INTO device_blocks (brand, model, serial, blocked_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (brand, model, serial) DO NOTHING";
    DELETE_BLOCK = "DELETE FROM device_blocks WHERE brand = $1 AND model = $2 AND serial = $3";
    UPSERT_META = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
}

/// How often a conflicting transaction is retried.
const ATTEMPTS: u32 = 4;
/// How many files are checked at once.
const LOOKS: usize = 16;

impl Database {
    /// Commits `change` if the store is still at `expected_generation`, and returns the new generation.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] if another change came first: plan again. [`CommitError::FileGone`] if one of the
    /// `files` that the change takes ownership of must be published again. [`CommitError::Unknown`] if the database
    /// was lost during the commit. With any other error nothing was changed.
    pub(crate) async fn commit(
        &self,
        change: &Change,
        files: &[Staged],
        expected_generation: i64,
    ) -> Result<i64, CommitError> {
        let mut attempt = 1;
        loop {
            match self.try_commit(change, files, expected_generation).await {
                Err(CommitError::Storage(StorageError::Contended(_))) if attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    /// Blocks all commits until the result is released or dropped; for removing files.
    ///
    /// If this server is alone, its lock in memory does that; holding the embedded database would block devices.
    pub(crate) async fn hold(&self) -> Result<Held, StorageError> {
        if self.is_alone() {
            return Ok(Held(None));
        }
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        let row =
            transaction.query(HOLD_GENERATION, Vec::new()).await?.into_iter().next().unwrap_or_default();
        let generation = Reader::new("counters", row).int("value")?;
        Ok(Held(Some((transaction, generation))))
    }

    async fn try_commit(&self, change: &Change, files: &[Staged], expected: i64) -> Result<i64, CommitError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        // First, because this row makes all other commits wait until this one is done.
        let bumped = transaction.query(BUMP_GENERATION, vec![expected.into()]).await?;
        let Some(row) = bumped.into_iter().next() else {
            return Err(CommitError::Conflict { expected });
        };
        let generation = Reader::new("counters", row).int("value")?;
        failpoint!("commit.begun");
        if !self.is_alone() && !all_stand(files).await? {
            return Err(CommitError::FileGone);
        }
        write(&mut transaction, change, generation).await?;
        failpoint!("commit.before");
        match transaction.commit().await {
            Ok(()) => {}
            Err(error @ (StorageError::Contended(_) | StorageError::Constraint(_) | StorageError::Full)) => {
                return Err(error.into());
            }
            Err(error) => return Err(CommitError::Unknown(error)),
        }
        failpoint!("commit.after");
        Ok(generation)
    }
}

/// The held generation. Dropping it releases the hold.
pub(crate) struct Held(Option<(Transaction, i64)>);

impl Held {
    /// Whether this is the generation. If the server is alone, nothing can come in between, so it always is.
    pub(crate) fn is_at(&self, generation: i64) -> bool {
        self.0.as_ref().is_none_or(|(_, held)| *held == generation)
    }

    /// Releases the hold.
    ///
    /// # Errors
    /// It may have been lost before: a server that was stopped for a minute loses it. Others may have committed
    /// since.
    pub(crate) async fn release(self) -> Result<(), StorageError> {
        match self.0 {
            Some((transaction, _)) => transaction.commit().await,
            None => Ok(()),
        }
    }
}

/// Whether all these files still have their published names.
pub(crate) async fn all_stand(files: &[Staged]) -> Result<bool, CommitError> {
    let looks: Vec<_> = files.iter().map(Staged::stands).collect();
    let stand = stream::iter(looks).buffer_unordered(LOOKS).try_all(std::future::ready).await;
    stand.map_err(CommitError::Files)
}

async fn write(on: &mut Transaction, change: &Change, generation: i64) -> Result<(), StorageError> {
    // First, so that a lower revision can replace a removed one.
    let gone = change.removed.assertions.iter();
    let gone = gone.map(|at| vec![at.kind.to_string().into(), at.key_text().into()]);
    on.each(DELETE_ASSERTION, gone.collect()).await?;
    let written = on.each(UPSERT_ASSERTION, change.assertions.iter().map(assertion).collect()).await?;
    let written: Vec<bool> = written.iter().map(|rows| !rows.is_empty()).collect();
    failpoint!("commit.assertions");
    on.each(DELETE_ANCHOR, change.anchors_removed.iter().map(|f| vec![f.as_str().into()]).collect()).await?;
    let anchors =
        change.anchors_added.iter().map(|(f, stream)| vec![f.as_str().into(), stream.as_str().into()]);
    on.each(UPSERT_ANCHOR, anchors.collect()).await?;
    write_snaps(on, change).await?;
    write_releases(on, change).await?;
    let moved = history::follow(on, change, generation).await?;
    failpoint!("commit.releases");
    write_stores(on, &change.stores).await?;
    let unstored = remove(on, &change.removed).await?;
    let described = grant_history::follow(on, change, &unstored, generation).await?;
    let (blocked, allowed): (Vec<_>, Vec<_>) = change.device_blocks.iter().partition(|device| device.blocked);
    let device = |d: &super::records::DeviceBlock| -> Vec<Value> {
        let DeviceId { brand, model, serial } = &d.device;
        vec![brand.as_str().into(), model.as_str().into(), serial.as_str().into()]
    };
    on.each(DELETE_BLOCK, allowed.into_iter().map(device).collect()).await?;
    let blocked = blocked.into_iter().map(|d| {
        let mut values = device(d);
        values.push(change.at_micros.into());
        values
    });
    on.each(INSERT_BLOCK, blocked.collect()).await?;
    let meta = change.meta.iter().map(|(name, value)| vec![name.as_str().into(), value.as_str().into()]);
    on.each(UPSERT_META, meta.collect()).await?;
    if let Some((id, digest)) = &change.approval
        && !approvals::use_up(on, *id, digest, change.at_micros).await?
    {
        return Err(StorageError::Constraint("the approval was used, refused or has ended meanwhile".into()));
    }
    if let Some(list) = &change.serial_list {
        serials::write_list(on, list).await?;
    }
    if let Some(device) = &change.serial_given_up {
        serials::give_up(on, device).await?;
    }
    Touched::by(change, &written, unstored).note(on, generation).await?;
    if let Some(import) = &change.import {
        audit::insert_import(on, import, change.at_micros).await?;
    }
    let event = audit::insert_event(on, &change.audit, change.at_micros).await?;
    if moved || described {
        history::note(on, generation, event).await?;
    }
    on.announce().await
}

fn assertion(verified: &Verified) -> Vec<Value> {
    let assertion = verified.assertion();
    vec![
        assertion.kind().to_string().into(),
        assertion.reference().key_text().into(),
        assertion.format().into(),
        assertion.revision().into(),
        assertion.bytes().into(),
    ]
}

async fn write_snaps(on: &mut Transaction, change: &Change) -> Result<(), StorageError> {
    let mut blobs = Vec::with_capacity(change.blobs.len());
    for blob in &change.blobs {
        blobs.push(vec![blob.digest.to_hex().into(), size(blob.size)?, blob.blocks.as_slice().into()]);
    }
    on.each(UPSERT_BLOB, blobs).await?;

    let snaps = change.snaps.iter().map(|snap| {
        vec![
            snap.snap_id.as_str().into(),
            snap.name.as_str().into(),
            snap.kind.as_str().into(),
            snap.private.into(),
            (&snap.text).into(),
        ]
    });
    on.each(UPSERT_SNAP, snaps.collect()).await?;
    let stores = change.snaps.iter().flat_map(|snap| {
        snap.stores.iter().map(|store| vec![snap.snap_id.as_str().into(), store.as_str().into()])
    });
    on.each(INSERT_SNAP_STORE, stores.collect()).await?;

    let mut revisions = Vec::with_capacity(change.revisions.len());
    for revision in &change.revisions {
        revisions.push(vec![
            revision.snap_id.as_str().into(),
            revision.revision.into(),
            revision.blob.to_hex().into(),
            size(revision.size)?,
            revision.version.as_str().into(),
            (&json!(revision.architectures)).into(),
            revision.base.as_deref().into(),
            (&json!(revision.epoch)).into(),
            revision.confinement.as_str().into(),
            revision.kind.as_str().into(),
            revision.provenance.as_str().into(),
            revision.snap_yaml.as_str().into(),
            revision.created_at.as_deref().into(),
        ]);
    }
    on.each(UPSERT_REVISION, revisions).await?;

    let mut components = Vec::with_capacity(change.components.len());
    for component in &change.components {
        components.push(vec![
            component.snap_id.as_str().into(),
            component.name.as_str().into(),
            component.revision.into(),
            component.blob.to_hex().into(),
            size(component.size)?,
            component.kind.as_str().into(),
            component.version.as_str().into(),
            component.provenance.as_str().into(),
        ]);
    }
    on.each(UPSERT_COMPONENT, components).await?;
    let pairs = change.pairs.iter().map(|pair| {
        vec![
            pair.snap_id.as_str().into(),
            pair.snap_revision.into(),
            pair.component.as_str().into(),
            pair.component_revision.into(),
        ]
    });
    on.each(INSERT_PAIR, pairs.collect()).await.map(drop)
}

async fn write_releases(on: &mut Transaction, change: &Change) -> Result<(), StorageError> {
    let replaced = change.replace_channel_map_of.iter().map(|snap_id| vec![snap_id.as_str().into()]);
    on.each(DELETE_IMPORTED_RELEASES, replaced.collect()).await?;
    let closed = change.releases_closed.iter().map(|key: &ReleaseKey| {
        vec![
            key.snap_id.as_str().into(),
            key.channel.track.as_str().into(),
            key.channel.risk.as_str().into(),
            key.channel.branch.as_deref().unwrap_or_default().into(),
            key.architecture.as_str().into(),
            key.origin.as_text().into(),
        ]
    });
    on.each(DELETE_RELEASE, closed.collect()).await?;
    let releases = change.releases.iter().map(|release: &ReleaseRecord| {
        vec![
            release.snap_id.as_str().into(),
            release.channel.track.as_str().into(),
            release.channel.risk.as_str().into(),
            release.channel.branch.as_deref().unwrap_or_default().into(),
            release.architecture.as_str().into(),
            release.origin.as_text().into(),
            release.revision.into(),
            release.released_at.as_str().into(),
        ]
    });
    on.each(UPSERT_RELEASE, releases.collect()).await.map(drop)
}

async fn write_stores(on: &mut Transaction, stores: &[Arc<StoreRecord>]) -> Result<(), StorageError> {
    let rows = stores.iter().map(|store| {
        vec![
            store.store_id.as_str().into(),
            store.brand_id.as_str().into(),
            store.name.as_str().into(),
            store.parent.as_deref().into(),
            store.document.as_str().into(),
        ]
    });
    on.each(UPSERT_STORE, rows.collect()).await?;
    on.each(DELETE_GRANTS, stores.iter().map(|store| vec![store.store_id.as_str().into()]).collect()).await?;
    let grants = stores.iter().flat_map(|store| {
        store.grants.iter().map(|grant| {
            vec![
                store.store_id.as_str().into(),
                grant.snap_id.as_str().into(),
                grant.name.as_str().into(),
                grant.reason.as_text().into(),
            ]
        })
    });
    on.each(INSERT_GRANT, grants.collect()).await.map(drop)
}

/// Removes rows, and returns the snaps that lost a store.
async fn remove(on: &mut Transaction, removed: &Removed) -> Result<Vec<String>, StorageError> {
    let revisions: Vec<Vec<Value>> = removed
        .revisions
        .iter()
        .map(|(snap_id, revision)| vec![snap_id.as_str().into(), (*revision).into()])
        .collect();
    on.each(DELETE_PAIRS, revisions.clone()).await?;
    on.each(DELETE_REVISION, revisions).await?;
    let components = removed.components.iter().map(|(snap_id, name, revision)| {
        vec![snap_id.as_str().into(), name.as_str().into(), (*revision).into()]
    });
    on.each(DELETE_COMPONENT, components.collect()).await?;
    for statement in [DELETE_STORES_OF_SNAP, DELETE_SNAP] {
        on.each(statement, removed.snaps.iter().map(|id| vec![id.as_str().into()]).collect()).await?;
    }
    on.each(DELETE_BLOB, removed.blobs.iter().map(|digest| vec![digest.to_hex().into()]).collect()).await?;
    let mut unstored = Vec::new();
    for statement in [DELETE_GRANTS, DELETE_SNAPS_OF_STORE, DELETE_STORE] {
        let rows =
            on.each(statement, removed.stores.iter().map(|id| vec![id.as_str().into()]).collect()).await?;
        for row in rows.into_iter().flatten() {
            unstored.push(Reader::new("snap_stores", row).text("snap_id")?);
        }
    }
    Ok(unstored)
}

fn size(bytes: u64) -> Result<Value, StorageError> {
    i64::try_from(bytes).map(Value::Int).map_err(|error| StorageError::Constraint(error.into()))
}

impl Origin {
    /// The column's spelling.
    pub(super) fn as_text(self) -> &'static str {
        match self {
            Origin::Imported => "imported",
            Origin::Override => "override",
            Origin::Closed => "closed",
        }
    }

    /// Parses the column's spelling.
    pub(super) fn from_text(text: &str) -> Option<Origin> {
        [Origin::Imported, Origin::Override, Origin::Closed]
            .into_iter()
            .find(|origin| origin.as_text() == text)
    }
}

impl Reason {
    /// The column's spelling.
    pub(crate) fn as_text(self) -> &'static str {
        match self {
            Reason::Own => "own",
            Reason::Included => "included",
            Reason::Essential => "essential",
            Reason::Told => "told",
        }
    }

    /// Parses the column's spelling.
    pub(super) fn from_text(text: &str) -> Option<Reason> {
        [Reason::Own, Reason::Included, Reason::Essential, Reason::Told]
            .into_iter()
            .find(|reason| reason.as_text() == text)
    }
}
