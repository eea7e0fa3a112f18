//! Which grants there were, how stores and snaps were described, and when.
//!
//! As in [`history`](super::history), a commit compares what it touched with what is in force here, and ends and begins rows where
//! they differ: importing again what is held writes nothing.

use std::collections::BTreeSet;

use schema::store::{SnapId, StoreId};

use super::Database;
use super::engine::{Lane, Mode, Reader, Row, Transaction, Value, statements};
use super::error::StorageError;
use super::records::{Change, Grant, OF_REVISION, SnapRecord, StoreRecord};
use super::snapshot;
use super::span::{Span, span};

statements! {
    END_GRANTS = "UPDATE grant_history SET ended = $2 WHERE store_id = $1 AND ended IS NULL AND NOT EXISTS (
            SELECT 1 FROM grants AS g WHERE g.store_id = grant_history.store_id AND g.snap_id = grant_history.snap_id
                AND g.name = grant_history.name AND g.reason = grant_history.reason)
        RETURNING began";
    BEGIN_GRANTS = "INSERT INTO grant_history (store_id, snap_id, name, reason, began)
        SELECT g.store_id, g.snap_id, g.name, g.reason, CAST($2 AS BIGINT)
        FROM grants AS g WHERE g.store_id = $1 AND NOT EXISTS (
            SELECT 1 FROM grant_history AS h WHERE h.store_id = g.store_id AND h.snap_id = g.snap_id AND h.name = g.name
                AND h.reason = g.reason AND h.ended IS NULL)
        RETURNING began";
    END_STORE = "UPDATE store_history SET ended = $2 WHERE store_id = $1 AND ended IS NULL AND NOT EXISTS (
            SELECT 1 FROM stores AS s WHERE s.store_id = store_history.store_id AND s.brand_id = store_history.brand_id
                AND s.name = store_history.name AND COALESCE(s.parent, '') = COALESCE(store_history.parent, '')
                AND s.document = store_history.document)
        RETURNING began";
    BEGIN_STORE = "INSERT INTO store_history (store_id, brand_id, name, parent, document, began)
        SELECT s.store_id, s.brand_id, s.name, s.parent, s.document, CAST($2 AS BIGINT)
        FROM stores AS s WHERE s.store_id = $1 AND NOT EXISTS (
            SELECT 1 FROM store_history AS h WHERE h.store_id = s.store_id AND h.ended IS NULL)
        RETURNING began";
    END_HOMES = "UPDATE snap_store_history SET ended = $2 WHERE snap_id = $1 AND ended IS NULL AND NOT EXISTS (
            SELECT 1 FROM snap_stores AS s WHERE s.snap_id = snap_store_history.snap_id
                AND s.store_id = snap_store_history.store_id)
        RETURNING began";
    BEGIN_HOMES = "INSERT INTO snap_store_history (snap_id, store_id, began)
        SELECT s.snap_id, s.store_id, CAST($2 AS BIGINT)
        FROM snap_stores AS s WHERE s.snap_id = $1 AND NOT EXISTS (
            SELECT 1 FROM snap_store_history AS h WHERE h.snap_id = s.snap_id AND h.store_id = s.store_id AND h.ended IS NULL)
        RETURNING began";
    HELD_SNAP = "SELECT snap_id, name, kind, private, text FROM snaps WHERE snap_id = $1";
    KNOWN_SNAP = "SELECT snap_id, name, kind, private, text FROM snap_history WHERE snap_id = $1 AND ended IS NULL";
    END_SNAP = "UPDATE snap_history SET ended = $2 WHERE snap_id = $1 AND ended IS NULL";
    BEGIN_SNAP = "INSERT INTO snap_history (snap_id, name, kind, private, text, began) VALUES ($1, $2, $3, $4, $5, $6)";

    SELECT_NAMED = "SELECT DISTINCT snap_id FROM grant_history WHERE name = $1 OR snap_id = $1 ORDER BY snap_id";
    SELECT_SINCE = "SELECT value FROM counters WHERE name = 'grants-since'";
    SELECT_GRANTS = "SELECT store_id, snap_id, name, reason, began, COALESCE(ended, 0) FROM grant_history
        WHERE (began > $1 AND began <= $2) OR (ended > $1 AND ended <= $2)";
    SELECT_GRANTS_OF = "SELECT store_id, snap_id, name, reason, began, COALESCE(ended, 0) FROM grant_history
        WHERE snap_id = $3 AND ((began > $1 AND began <= $2) OR (ended > $1 AND ended <= $2))";
    // Given once more counts as never taken.
    SELECT_DIFFERENT = "SELECT 1 FROM grant_history AS h WHERE ($2 = '' OR h.snap_id = $2) AND (
            (h.began <= $1 AND h.ended > $1 AND NOT EXISTS (SELECT 1 FROM grant_history AS n WHERE n.store_id = h.store_id
                AND n.snap_id = h.snap_id AND n.name = h.name AND n.reason = h.reason AND n.ended IS NULL))
            OR (h.began > $1 AND h.ended IS NULL AND NOT EXISTS (SELECT 1 FROM grant_history AS o WHERE o.store_id = h.store_id
                AND o.snap_id = h.snap_id AND o.name = h.name AND o.reason = h.reason AND o.began <= $1 AND o.ended > $1)))
        LIMIT 1";
    SELECT_STORES = "SELECT store_id, brand_id, name, parent, document, began, COALESCE(ended, 0) FROM store_history
        WHERE (began > $1 AND began <= $2) OR (ended > $1 AND ended <= $2)";
    // A text that nothing can be compared with stays where it is: an archive brings thousands.
    SELECT_SNAPS = "SELECT h.snap_id, h.name, h.kind, h.private,
            CASE WHEN EXISTS (SELECT 1 FROM snap_history AS o WHERE o.snap_id = h.snap_id AND o.began <> h.began)
                THEN h.text ELSE 'null' END, h.began, COALESCE(h.ended, 0)
        FROM snap_history AS h WHERE (h.began > $1 AND h.began <= $2) OR (h.ended > $1 AND h.ended <= $2)";
    SELECT_SNAPS_OF = "SELECT snap_id, name, kind, private, text, began, COALESCE(ended, 0) FROM snap_history
        WHERE snap_id = $3 AND ((began > $1 AND began <= $2) OR (ended > $1 AND ended <= $2))";
    SELECT_HOMES = "SELECT snap_id, store_id, began, COALESCE(ended, 0) FROM snap_store_history
        WHERE (began > $1 AND began <= $2) OR (ended > $1 AND ended <= $2)";
    SELECT_HOMES_OF = "SELECT snap_id, store_id, began, COALESCE(ended, 0) FROM snap_store_history
        WHERE snap_id = $3 AND ((began > $1 AND began <= $2) OR (ended > $1 AND ended <= $2))";
}

/// A grant, and the store that gave it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StoreGrant {
    /// The store.
    pub(crate) store_id: StoreId,
    /// What it granted.
    pub(crate) grant: Grant,
}

/// A snap, and a store that it was pushed for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Home {
    /// The snap.
    pub(crate) snap_id: SnapId,
    /// The store.
    pub(crate) store_id: StoreId,
}

/// What began or ended between two generations, apart from releases.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Described {
    /// Grants.
    pub(crate) grants: Vec<Span<StoreGrant>>,
    /// Stores, without their grants.
    pub(crate) stores: Vec<Span<StoreRecord>>,
    /// Snaps, without their stores. The texts are null for a snap that was described once only.
    pub(crate) snaps: Vec<Span<SnapRecord>>,
    /// The stores that snaps were pushed for.
    pub(crate) homes: Vec<Span<Home>>,
}

impl Database {
    /// The ids of the snaps that stores grant, or granted once, by this name or id, whether they were pushed or not.
    pub(crate) async fn ever_granted(&self, name: &str) -> Result<Vec<SnapId>, StorageError> {
        let rows = self.engine.read(Lane::Operator, SELECT_NAMED, vec![name.into()]).await?;
        rows.into_iter().map(|row| Reader::new("grant_history", row).parsed("snap_id")).collect()
    }

    /// Whether the grants now, of all snaps or of one, are others than after a generation, as far as that is known.
    pub(crate) async fn grants_differ(
        &self,
        generation: i64,
        snap: Option<&SnapId>,
    ) -> Result<bool, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let generation = since(&mut transaction).await?.max(generation);
        let snap = snap.map(SnapId::as_str).unwrap_or_default();
        let found = transaction.query(SELECT_DIFFERENT, vec![generation.into(), snap.into()]).await?;
        transaction.commit().await?;
        Ok(!found.is_empty())
    }
}

/// Lets history follow the grants and descriptions that `change` touched; answers whether any moved. `unstored` are the snaps that
/// lost a store.
pub(super) async fn follow(
    on: &mut Transaction,
    change: &Change,
    unstored: &[String],
    generation: i64,
) -> Result<bool, StorageError> {
    let stores: BTreeSet<&str> = (change.stores.iter().map(|store| store.store_id.as_str()))
        .chain(change.removed.stores.iter().map(|id| id.as_str()))
        .collect();
    let snaps: BTreeSet<&str> = (change.snaps.iter().map(|snap| snap.snap_id.as_str()))
        .chain(change.removed.snaps.iter().map(|id| id.as_str()))
        .collect();
    let homes: BTreeSet<&str> = snaps.iter().copied().chain(unstored.iter().map(String::as_str)).collect();
    let sets = |ids: &BTreeSet<&str>| -> Vec<Vec<Value>> {
        ids.iter().map(|id| vec![(*id).into(), generation.into()]).collect()
    };
    let mut moved = follow_snaps(on, &snaps, generation).await?;
    for (statement, sets) in [
        (END_GRANTS, sets(&stores)),
        (BEGIN_GRANTS, sets(&stores)),
        (END_STORE, sets(&stores)),
        (BEGIN_STORE, sets(&stores)),
        (END_HOMES, sets(&homes)),
        (BEGIN_HOMES, sets(&homes)),
    ] {
        moved |= on.each(statement, sets).await?.iter().any(|rows| !rows.is_empty());
    }
    Ok(moved)
}

/// Compares snaps here: SQL cannot leave a part of their texts out.
async fn follow_snaps(
    on: &mut Transaction,
    snaps: &BTreeSet<&str>,
    generation: i64,
) -> Result<bool, StorageError> {
    let sets: Vec<Vec<Value>> = snaps.iter().map(|id| vec![(*id).into()]).collect();
    let held = on.each(HELD_SNAP, sets.clone()).await?;
    let known = on.each(KNOWN_SNAP, sets).await?;
    let (mut ended, mut begun) = (Vec::new(), Vec::new());
    for (id, (held, known)) in snaps.iter().zip(held.into_iter().zip(known)) {
        let [held, known] = [held, known].map(|rows| rows.into_iter().next().map(without_revision));
        if held == known {
            continue;
        }
        if known.is_some() {
            ended.push(vec![(*id).into(), generation.into()]);
        }
        begun.extend(held.map(|mut row| {
            row.push(generation.into());
            row
        }));
    }
    let moved = !(ended.is_empty() && begun.is_empty());
    on.each(END_SNAP, ended).await?;
    on.each(BEGIN_SNAP, begun).await?;
    Ok(moved)
}

/// The row of a snap without the revision that its texts describe, which moves with releases.
fn without_revision(mut row: Row) -> Row {
    if let Some(Value::Text(text)) = row.last_mut()
        && let Ok(mut texts) = serde_json::from_str::<serde_json::Value>(text)
        && texts.as_object_mut().is_some_and(|texts| texts.remove(OF_REVISION).is_some())
    {
        *text = texts.to_string();
    }
    row
}

/// The generation with which this history starts.
pub(super) async fn since(on: &mut Transaction) -> Result<i64, StorageError> {
    let rows = on.query(SELECT_SINCE, Vec::new()).await?;
    Reader::new("counters", rows.into_iter().next().unwrap_or_default()).int("value")
}

/// What began or ended after a generation, up to another one; for one snap, stores are left out.
pub(super) async fn spans(
    on: &mut Transaction,
    (after, up_to): (i64, i64),
    snap: Option<&SnapId>,
) -> Result<Described, StorageError> {
    let mut values: Vec<Value> = vec![after.into(), up_to.into()];
    values.extend(snap.map(|snap| snap.as_str().into()));
    let (grants, snaps, homes, stores) = match snap {
        Some(_) => (SELECT_GRANTS_OF, SELECT_SNAPS_OF, SELECT_HOMES_OF, Vec::new()),
        None => {
            let stores = on.query(SELECT_STORES, values.clone()).await?;
            (SELECT_GRANTS, SELECT_SNAPS, SELECT_HOMES, stores)
        }
    };
    let grants = on.query(grants, values.clone()).await?;
    let snaps = on.query(snaps, values.clone()).await?;
    let homes = on.query(homes, values).await?;
    let grant = |row: &mut Reader| {
        let (store_id, grant) = snapshot::grant(row)?;
        Ok(StoreGrant { store_id, grant })
    };
    let home =
        |row: &mut Reader| Ok(Home { snap_id: row.parsed("snap_id")?, store_id: row.parsed("store_id")? });
    Ok(Described {
        grants: grants.into_iter().map(|row| span("grant_history", row, grant)).collect::<Result<_, _>>()?,
        stores: (stores.into_iter())
            .map(|row| span("store_history", row, snapshot::store))
            .collect::<Result<_, _>>()?,
        snaps: (snaps.into_iter())
            .map(|row| span("snap_history", row, snapshot::snap))
            .collect::<Result<_, _>>()?,
        homes: homes
            .into_iter()
            .map(|row| span("snap_store_history", row, home))
            .collect::<Result<_, _>>()?,
    })
}
