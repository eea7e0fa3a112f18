//! Everything the catalog is compiled from, read in one transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schema::assertion::Assertion;
use schema::digest::Sha3_384;

use super::Database;
use super::engine::{Lane, Mode, Reader, Sql, Transaction, statements};
use super::error::StorageError;
use super::records::{
    BlobRecord, ComponentRecord, Grant, Origin, PairRecord, Reason, ReleaseRecord, RevisionRecord,
    SnapRecord, Snapshot, StoreRecord,
};

statements! {
    SELECT_GENERATION = "SELECT value FROM counters WHERE name = 'generation'";
    SELECT_ASSERTIONS = "SELECT content FROM assertions";
    SELECT_ANCHORS = "SELECT fingerprint, stream FROM anchors ORDER BY fingerprint";
    SELECT_BLOBS = "SELECT digest, size, blocks FROM blobs";
    SELECT_SNAPS = "SELECT snap_id, name, kind, private, text FROM snaps";
    SELECT_SNAP_STORES = "SELECT snap_id, store_id FROM snap_stores ORDER BY store_id";
    SELECT_REVISIONS = "SELECT snap_id, revision, blob, size, version, architectures, base, epoch, confinement, kind, provenance,
        snap_yaml, created_at FROM revisions";
    SELECT_COMPONENTS = "SELECT snap_id, name, revision, blob, size, kind, version, provenance FROM components";
    SELECT_PAIRS = "SELECT snap_id, snap_revision, component, component_revision FROM pairs";
    SELECT_RELEASES = "SELECT snap_id, track, risk, branch, architecture, revision, released_at, origin FROM releases
        ORDER BY CASE origin WHEN 'imported' THEN 0 ELSE 1 END";
    SELECT_STORES = "SELECT store_id, brand_id, name, parent, document FROM stores";
    SELECT_GRANTS = "SELECT store_id, snap_id, name, reason FROM grants";
    SELECT_BLOCKS = "SELECT brand, model, serial FROM device_blocks";
    SELECT_META = "SELECT name, value FROM meta";
}

impl Database {
    /// How many changes were committed.
    pub(crate) async fn generation(&self) -> Result<i64, StorageError> {
        let rows = self.engine.read(Lane::Operator, SELECT_GENERATION, Vec::new()).await?;
        Reader::new("counters", rows.into_iter().next().unwrap_or_default()).int("value")
    }

    /// Reads the whole store as it is at one moment.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when a row cannot be right.
    pub(crate) async fn load(&self) -> Result<Snapshot, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let on = &mut transaction;
        let generation = rows(on, SELECT_GENERATION, "counters", |row| row.int("value")).await?;
        let snapshot = Snapshot {
            generation: generation.first().copied().unwrap_or_default(),
            assertions: rows(on, SELECT_ASSERTIONS, "assertions", assertion).await?,
            anchors: rows(on, SELECT_ANCHORS, "anchors", |row| {
                Ok((row.text("fingerprint")?, row.text("stream")?))
            })
            .await?,
            blobs: rows(on, SELECT_BLOBS, "blobs", blob).await?,
            snaps: snaps(on).await?,
            revisions: rows(on, SELECT_REVISIONS, "revisions", revision).await?,
            components: rows(on, SELECT_COMPONENTS, "components", component).await?,
            pairs: rows(on, SELECT_PAIRS, "pairs", pair).await?,
            releases: rows(on, SELECT_RELEASES, "releases", release).await?,
            stores: stores(on).await?,
            blocked: rows(on, SELECT_BLOCKS, "device_blocks", |row| {
                Ok((row.text("brand")?, row.text("model")?, row.text("serial")?))
            })
            .await?,
            meta: rows(on, SELECT_META, "meta", |row| Ok((row.text("name")?, row.text("value")?)))
                .await?
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        };
        transaction.commit().await?;
        Ok(snapshot)
    }
}

async fn rows<T>(
    on: &mut Transaction,
    sql: Sql,
    table: &'static str,
    record: impl Fn(&mut Reader) -> Result<T, StorageError>,
) -> Result<Vec<T>, StorageError> {
    let rows = on.query(sql, Vec::new()).await?;
    rows.into_iter().map(|row| record(&mut Reader::new(table, row))).collect()
}

fn assertion(row: &mut Reader) -> Result<Arc<Assertion>, StorageError> {
    let content = row.bytes("content")?;
    Assertion::decode(&content).map(Arc::new).map_err(|error| row.corrupt("content", error))
}

fn digest(row: &mut Reader, column: &'static str) -> Result<Sha3_384, StorageError> {
    let text = row.text(column)?;
    Sha3_384::from_hex(&text).map_err(|error| row.corrupt(column, error))
}

fn blob(row: &mut Reader) -> Result<BlobRecord, StorageError> {
    Ok(BlobRecord { digest: digest(row, "digest")?, size: row.number("size")?, blocks: row.bytes("blocks")? })
}

async fn snaps(on: &mut Transaction) -> Result<Vec<SnapRecord>, StorageError> {
    let mut stores: HashMap<String, Vec<String>> = HashMap::new();
    let pairs =
        rows(on, SELECT_SNAP_STORES, "snap_stores", |row| Ok((row.text("snap_id")?, row.text("store_id")?)))
            .await?;
    for (snap_id, store_id) in pairs {
        stores.entry(snap_id).or_default().push(store_id);
    }
    let mut snaps = rows(on, SELECT_SNAPS, "snaps", |row| {
        Ok(SnapRecord {
            snap_id: row.text("snap_id")?,
            name: row.text("name")?,
            kind: row.text("kind")?,
            private: row.truth("private")?,
            stores: Vec::new(),
            text: row.json("text")?,
        })
    })
    .await?;
    for snap in &mut snaps {
        snap.stores = stores.remove(&snap.snap_id).unwrap_or_default();
    }
    Ok(snaps)
}

fn revision(row: &mut Reader) -> Result<RevisionRecord, StorageError> {
    Ok(RevisionRecord {
        snap_id: row.text("snap_id")?,
        revision: row.number("revision")?,
        blob: digest(row, "blob")?,
        size: row.number("size")?,
        version: row.text("version")?,
        architectures: row.json("architectures")?,
        base: row.optional_text("base")?,
        epoch: row.json("epoch")?,
        confinement: row.text("confinement")?,
        kind: row.text("kind")?,
        provenance: row.text("provenance")?,
        snap_yaml: row.text("snap_yaml")?,
        created_at: row.optional_text("created_at")?,
    })
}

fn component(row: &mut Reader) -> Result<ComponentRecord, StorageError> {
    Ok(ComponentRecord {
        snap_id: row.text("snap_id")?,
        name: row.text("name")?,
        revision: row.number("revision")?,
        blob: digest(row, "blob")?,
        size: row.number("size")?,
        kind: row.text("kind")?,
        version: row.text("version")?,
        provenance: row.text("provenance")?,
    })
}

fn pair(row: &mut Reader) -> Result<PairRecord, StorageError> {
    Ok(PairRecord {
        snap_id: row.text("snap_id")?,
        snap_revision: row.number("snap_revision")?,
        component: row.text("component")?,
        component_revision: row.number("component_revision")?,
    })
}

fn release(row: &mut Reader) -> Result<ReleaseRecord, StorageError> {
    Ok(ReleaseRecord {
        snap_id: row.text("snap_id")?,
        track: row.text("track")?,
        risk: row.text("risk")?,
        branch: row.text("branch")?,
        architecture: row.text("architecture")?,
        revision: row.number("revision")?,
        released_at: row.text("released_at")?,
        origin: {
            let text = row.text("origin")?;
            Origin::from_text(&text).ok_or_else(|| row.corrupt("origin", text))?
        },
    })
}

async fn stores(on: &mut Transaction) -> Result<Vec<StoreRecord>, StorageError> {
    let mut grants: HashMap<String, Vec<Grant>> = HashMap::new();
    let granted = rows(on, SELECT_GRANTS, "grants", |row| {
        let store_id = row.text("store_id")?;
        let (snap_id, name, reason) = (row.text("snap_id")?, row.text("name")?, row.text("reason")?);
        let reason = Reason::from_text(&reason).ok_or_else(|| row.corrupt("reason", reason))?;
        Ok((store_id, Grant { snap_id, name, reason }))
    })
    .await?;
    for (store_id, grant) in granted {
        grants.entry(store_id).or_default().push(grant);
    }
    let mut stores = rows(on, SELECT_STORES, "stores", |row| {
        Ok(StoreRecord {
            store_id: row.text("store_id")?,
            brand_id: row.text("brand_id")?,
            name: row.text("name")?,
            parent: row.optional_text("parent")?,
            grants: Vec::new(),
            document: row.text("document")?,
        })
    })
    .await?;
    for store in &mut stores {
        store.grants = grants.remove(&store.store_id).unwrap_or_default();
    }
    Ok(stores)
}
