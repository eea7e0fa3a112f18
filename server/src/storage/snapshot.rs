//! Everything the catalog is compiled from, read in one transaction: all rows, or those of some subjects.

use std::collections::HashMap;

use schema::digest::Sha3_384;
use schema::store::{Channel, DeviceId, SnapId, StoreId};

use super::Database;
use super::engine::{Lane, Mode, Reader, Row, Sql, Transaction, Value, statements};
use super::error::StorageError;
use super::position::Position;
use super::records::{
    AssertionRecord, BlobRecord, ComponentRecord, Grant, Origin, PairRecord, Reason, ReleaseRecord,
    RevisionRecord, SnapRecord, Snapshot, StoreRecord,
};

statements! {
    SELECT_POSITION = "SELECT value FROM counters WHERE name IN ('generation', 'noted') ORDER BY name";
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
    // The head of the audit log and the nonce life change without a change of the store, and no answer depends on
    // them.
    SELECT_META = "SELECT name, value FROM meta WHERE name NOT IN ('audit-head', 'nonce-life')";

    ASSERTIONS_AT = "SELECT content FROM assertions WHERE kind = $1 AND key = $2";
    BLOB_OF = "SELECT digest, size, blocks FROM blobs WHERE digest = $1";
    SNAP_OF = "SELECT snap_id, name, kind, private, text FROM snaps WHERE snap_id = $1";
    SNAP_STORES_OF = "SELECT snap_id, store_id FROM snap_stores WHERE snap_id = $1 ORDER BY store_id";
    REVISIONS_OF = "SELECT snap_id, revision, blob, size, version, architectures, base, epoch, confinement, kind, provenance,
        snap_yaml, created_at FROM revisions WHERE snap_id = $1";
    COMPONENTS_OF = "SELECT snap_id, name, revision, blob, size, kind, version, provenance FROM components WHERE snap_id = $1";
    PAIRS_OF = "SELECT snap_id, snap_revision, component, component_revision FROM pairs WHERE snap_id = $1";
    RELEASES_OF = "SELECT snap_id, track, risk, branch, architecture, revision, released_at, origin FROM releases
        WHERE snap_id = $1 ORDER BY CASE origin WHEN 'imported' THEN 0 ELSE 1 END";
    STORE_OF = "SELECT store_id, brand_id, name, parent, document FROM stores WHERE store_id = $1";
    GRANTS_OF = "SELECT store_id, snap_id, name, reason FROM grants WHERE store_id = $1";
    BLOCK_OF = "SELECT brand, model, serial FROM device_blocks WHERE brand = $1 AND model = $2 AND serial = $3";
    FACT_OF = "SELECT name, value FROM meta WHERE name = $1";
}

/// Values that select the rows of some subjects, one set for each.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) snaps: Vec<Vec<Value>>,
    pub(super) assertions: Vec<Vec<Value>>,
    pub(super) blobs: Vec<Vec<Value>>,
    pub(super) stores: Vec<Vec<Value>>,
    pub(super) facts: Vec<Vec<Value>>,
    pub(super) devices: Vec<Vec<Value>>,
    pub(super) anchors: bool,
}

impl Database {
    /// How many changes were committed.
    pub(crate) async fn generation(&self) -> Result<i64, StorageError> {
        let rows = self.engine.read(Lane::Operator, SELECT_GENERATION, Vec::new()).await?;
        Reader::new("counters", rows.into_iter().next().unwrap_or_default()).int("value")
    }

    /// Reads the whole store in one database snapshot.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if a row has an impossible value.
    pub(crate) async fn load(&self) -> Result<Snapshot, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let on = &mut transaction;
        let position = position(on).await?;
        let snap_stores = all(on, SELECT_SNAP_STORES).await?;
        let grants = all(on, SELECT_GRANTS).await?;
        let snapshot = Snapshot {
            position,
            assertions: read("assertions", all(on, SELECT_ASSERTIONS).await?, assertion)?,
            anchors: read("anchors", all(on, SELECT_ANCHORS).await?, anchor)?,
            blobs: read("blobs", all(on, SELECT_BLOBS).await?, blob)?,
            snaps: snaps(all(on, SELECT_SNAPS).await?, snap_stores)?,
            revisions: read("revisions", all(on, SELECT_REVISIONS).await?, revision)?,
            components: read("components", all(on, SELECT_COMPONENTS).await?, component)?,
            pairs: read("pairs", all(on, SELECT_PAIRS).await?, pair)?,
            releases: read("releases", all(on, SELECT_RELEASES).await?, release)?,
            stores: stores(all(on, SELECT_STORES).await?, grants)?,
            blocked: read("device_blocks", all(on, SELECT_BLOCKS).await?, block)?,
            meta: read("meta", all(on, SELECT_META).await?, fact)?.into_iter().collect(),
        };
        transaction.commit().await?;
        Ok(snapshot)
    }
}

/// The database's position.
pub(super) async fn position(on: &mut Transaction) -> Result<Position, StorageError> {
    let counters = on.query(SELECT_POSITION, Vec::new()).await?;
    let mut values = counters.into_iter().map(|row| Reader::new("counters", row).int("value"));
    let mut next = || values.next().transpose().map(Option::unwrap_or_default);
    let (generation, noted) = (next()?, next()?);
    Ok(Position { generation, unnoted: generation - noted })
}

/// The rows of some subjects only. The caller adds the position.
pub(super) async fn select(on: &mut Transaction, of: &Selection) -> Result<Snapshot, StorageError> {
    let anchors = if of.anchors { all(on, SELECT_ANCHORS).await? } else { Vec::new() };
    let snap_stores = each(on, SNAP_STORES_OF, &of.snaps).await?;
    let grants = each(on, GRANTS_OF, &of.stores).await?;
    Ok(Snapshot {
        position: Position::default(),
        assertions: read("assertions", each(on, ASSERTIONS_AT, &of.assertions).await?, assertion)?,
        anchors: read("anchors", anchors, anchor)?,
        blobs: read("blobs", each(on, BLOB_OF, &of.blobs).await?, blob)?,
        snaps: snaps(each(on, SNAP_OF, &of.snaps).await?, snap_stores)?,
        revisions: read("revisions", each(on, REVISIONS_OF, &of.snaps).await?, revision)?,
        components: read("components", each(on, COMPONENTS_OF, &of.snaps).await?, component)?,
        pairs: read("pairs", each(on, PAIRS_OF, &of.snaps).await?, pair)?,
        releases: read("releases", each(on, RELEASES_OF, &of.snaps).await?, release)?,
        stores: stores(each(on, STORE_OF, &of.stores).await?, grants)?,
        blocked: read("device_blocks", each(on, BLOCK_OF, &of.devices).await?, block)?,
        meta: read("meta", each(on, FACT_OF, &of.facts).await?, fact)?.into_iter().collect(),
    })
}

async fn all(on: &mut Transaction, sql: Sql) -> Result<Vec<Row>, StorageError> {
    on.query(sql, Vec::new()).await
}

async fn each(on: &mut Transaction, sql: Sql, sets: &[Vec<Value>]) -> Result<Vec<Row>, StorageError> {
    Ok(on.each(sql, sets.to_vec()).await?.into_iter().flatten().collect())
}

fn read<T>(
    table: &'static str,
    rows: Vec<Row>,
    record: impl Fn(&mut Reader) -> Result<T, StorageError>,
) -> Result<Vec<T>, StorageError> {
    rows.into_iter().map(|row| record(&mut Reader::new(table, row))).collect()
}

fn assertion(row: &mut Reader) -> Result<AssertionRecord, StorageError> {
    Ok(AssertionRecord(row.bytes("content")?.into()))
}

fn anchor(row: &mut Reader) -> Result<(String, String), StorageError> {
    Ok((row.text("fingerprint")?, row.text("stream")?))
}

fn block(row: &mut Reader) -> Result<DeviceId, StorageError> {
    Ok(DeviceId { brand: row.text("brand")?, model: row.text("model")?, serial: row.text("serial")? })
}

fn fact(row: &mut Reader) -> Result<(String, String), StorageError> {
    Ok((row.text("name")?, row.text("value")?))
}

fn digest(row: &mut Reader, column: &'static str) -> Result<Sha3_384, StorageError> {
    let text = row.text(column)?;
    Sha3_384::from_hex(&text).map_err(|error| row.corrupt(column, error))
}

fn blob(row: &mut Reader) -> Result<BlobRecord, StorageError> {
    Ok(BlobRecord { digest: digest(row, "digest")?, size: row.number("size")?, blocks: row.bytes("blocks")? })
}

fn snaps(rows: Vec<Row>, stores_of_snaps: Vec<Row>) -> Result<Vec<SnapRecord>, StorageError> {
    let mut stores: HashMap<SnapId, Vec<StoreId>> = HashMap::new();
    let pairs =
        read("snap_stores", stores_of_snaps, |row| Ok((row.parsed("snap_id")?, row.parsed("store_id")?)))?;
    for (snap_id, store_id) in pairs {
        stores.entry(snap_id).or_default().push(store_id);
    }
    let mut snaps = read("snaps", rows, snap)?;
    for snap in &mut snaps {
        snap.stores = stores.remove(&snap.snap_id).unwrap_or_default();
    }
    Ok(snaps)
}

/// A snap without its stores.
pub(super) fn snap(row: &mut Reader) -> Result<SnapRecord, StorageError> {
    Ok(SnapRecord {
        snap_id: row.parsed("snap_id")?,
        name: row.parsed("name")?,
        kind: row.parsed("kind")?,
        private: row.truth("private")?,
        stores: Vec::new(),
        text: row.json("text")?,
    })
}

fn revision(row: &mut Reader) -> Result<RevisionRecord, StorageError> {
    Ok(RevisionRecord {
        snap_id: row.parsed("snap_id")?,
        revision: row.number("revision")?,
        blob: digest(row, "blob")?,
        size: row.number("size")?,
        version: row.text("version")?,
        architectures: row.json("architectures")?,
        base: row.optional_text("base")?,
        epoch: row.json("epoch")?,
        confinement: row.parsed("confinement")?,
        kind: row.parsed("kind")?,
        provenance: row.text("provenance")?,
        snap_yaml: row.text("snap_yaml")?,
        created_at: row.optional_text("created_at")?,
    })
}

fn component(row: &mut Reader) -> Result<ComponentRecord, StorageError> {
    Ok(ComponentRecord {
        snap_id: row.parsed("snap_id")?,
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
        snap_id: row.parsed("snap_id")?,
        snap_revision: row.number("snap_revision")?,
        component: row.text("component")?,
        component_revision: row.number("component_revision")?,
    })
}

pub(super) fn release(row: &mut Reader) -> Result<ReleaseRecord, StorageError> {
    Ok(ReleaseRecord {
        snap_id: row.parsed("snap_id")?,
        channel: Channel {
            track: row.parsed("track")?,
            risk: row.parsed("risk")?,
            branch: row.name_or_empty("branch")?,
        },
        architecture: row.parsed("architecture")?,
        revision: row.number("revision")?,
        released_at: row.text("released_at")?,
        origin: {
            let text = row.text("origin")?;
            Origin::from_text(&text).ok_or_else(|| row.corrupt("origin", text))?
        },
    })
}

fn stores(rows: Vec<Row>, grants_of_stores: Vec<Row>) -> Result<Vec<StoreRecord>, StorageError> {
    let mut grants: HashMap<StoreId, Vec<Grant>> = HashMap::new();
    for (store_id, grant) in read("grants", grants_of_stores, grant)? {
        grants.entry(store_id).or_default().push(grant);
    }
    let mut stores = read("stores", rows, store)?;
    for store in &mut stores {
        store.grants = grants.remove(&store.store_id).unwrap_or_default();
    }
    Ok(stores)
}

/// A grant, and the store that gives it.
pub(super) fn grant(row: &mut Reader) -> Result<(StoreId, Grant), StorageError> {
    let store_id = row.parsed("store_id")?;
    let (snap_id, name, reason) = (row.parsed("snap_id")?, row.parsed("name")?, row.text("reason")?);
    let reason = Reason::from_text(&reason).ok_or_else(|| row.corrupt("reason", reason))?;
    Ok((store_id, Grant { snap_id, name, reason }))
}

/// A store without its grants.
pub(super) fn store(row: &mut Reader) -> Result<StoreRecord, StorageError> {
    Ok(StoreRecord {
        store_id: row.parsed("store_id")?,
        brand_id: row.text("brand_id")?,
        name: row.text("name")?,
        parent: row.optional_parsed("parent")?,
        grants: Vec::new(),
        document: row.text("document")?,
    })
}
