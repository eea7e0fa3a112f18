//! What a change touched, and the rows touched since a generation.
//!
//! The catalog consists of subjects: a snap with all its rows, the assertions of one address, a file, a store with
//! its grants, a fact, a blocked device, the trust anchors. A commit notes which of them it touched under its
//! generation. A server that knows an earlier generation, its own or another one's, rereads only those subjects.

use std::collections::BTreeSet;

use schema::assertion::Ref;
use schema::digest::Sha3_384;
use schema::store::DeviceId;

use super::Database;
use super::engine::{Lane, Mode, Reader, Row, Transaction, Value, statements};
use super::error::StorageError;
use super::position::Position;
use super::records::{Change, Snapshot};
use super::snapshot::{self, Selection, position};

statements! {
    NOTE = "INSERT INTO touched (subject, key, generation) VALUES ($1, $2, $3)
        ON CONFLICT (subject, key) DO UPDATE SET generation = excluded.generation";
    COUNT_NOTED = "UPDATE counters SET value = value + 1 WHERE name = 'noted'";
    SELECT_TOUCHED = "SELECT subject, key FROM touched WHERE generation > $1";
}

/// The subjects touched by changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Ids of snaps.
    pub(crate) snaps: BTreeSet<String>,
    /// Assertion addresses: type and primary key as one text.
    pub(crate) assertions: BTreeSet<(String, String)>,
    /// Files.
    pub(crate) blobs: BTreeSet<Sha3_384>,
    /// Ids of stores.
    pub(crate) stores: BTreeSet<String>,
    /// Names of facts.
    pub(crate) facts: BTreeSet<String>,
    /// Devices that were blocked or unblocked.
    pub(crate) devices: BTreeSet<DeviceId>,
    /// The trust anchors.
    pub(crate) anchors: bool,
}

/// What a catalog lacks.
#[derive(Debug)]
pub(crate) struct Increment {
    /// What changed. A changed subject without a row is gone.
    pub(crate) touched: Touched,
    /// The rows of the changed subjects only.
    pub(crate) rows: Snapshot,
}

impl Touched {
    /// What `change` touches. Of its assertions, only the `written` ones: one that is not newer changes nothing.
    pub(super) fn by(change: &Change, written: &[bool], unstored: Vec<String>) -> Touched {
        let removed = &change.removed;
        let snaps = (change.snaps.iter().map(|row| &row.snap_id))
            .chain(change.revisions.iter().map(|row| &row.snap_id))
            .chain(change.components.iter().map(|row| &row.snap_id))
            .chain(change.pairs.iter().map(|row| &row.snap_id))
            .chain(&change.replace_channel_map_of)
            .chain(change.releases_closed.iter().map(|key| &key.snap_id))
            .chain(change.releases.iter().map(|row| &row.snap_id))
            .chain(removed.revisions.iter().map(|(snap_id, _)| snap_id))
            .chain(removed.components.iter().map(|(snap_id, ..)| snap_id))
            .chain(&removed.snaps);
        let stores = change.stores.iter().map(|row| &row.store_id).chain(&removed.stores);
        let address = |at: &Ref| (at.kind.to_string(), at.key_text());
        let documents = change.assertions.iter().zip(written).filter(|(_, written)| **written);
        let documents = documents.map(|(verified, _)| address(&verified.assertion().reference()));
        Touched {
            snaps: snaps.map(ToString::to_string).chain(unstored).collect(),
            assertions: documents.chain(removed.assertions.iter().map(address)).collect(),
            blobs: change.blobs.iter().map(|row| row.digest).chain(removed.blobs.iter().copied()).collect(),
            stores: stores.map(ToString::to_string).collect(),
            facts: change.meta.iter().map(|(name, _)| name.clone()).collect(),
            devices: change.device_blocks.iter().map(|block| block.device.clone()).collect(),
            anchors: !change.anchors_added.is_empty() || !change.anchors_removed.is_empty(),
        }
    }

    /// Records it under the change's generation. Every change does so, even one that touched nothing.
    pub(super) async fn note(&self, on: &mut Transaction, generation: i64) -> Result<(), StorageError> {
        let notes = self
            .names()
            .into_iter()
            .map(|(subject, key)| vec![Value::from(subject), Value::from(key), Value::from(generation)]);
        on.each(NOTE, notes.collect()).await?;
        on.query(COUNT_NOTED, Vec::new()).await.map(drop)
    }

    fn names(&self) -> Vec<(&'static str, String)> {
        let keys = |subject, keys: &BTreeSet<String>| -> Vec<(&'static str, String)> {
            keys.iter().map(|key| (subject, key.clone())).collect()
        };
        let joined = |parts: &[&str]| serde_json::json!(parts).to_string();
        let mut names = keys("snap", &self.snaps);
        names.extend(self.assertions.iter().map(|(kind, key)| ("assertion", joined(&[kind, key]))));
        names.extend(self.blobs.iter().map(|digest| ("blob", digest.to_hex())));
        names.extend(keys("store", &self.stores));
        names.extend(keys("fact", &self.facts));
        names.extend(self.devices.iter().map(|id| ("device", joined(&[&id.brand, &id.model, &id.serial]))));
        names.extend(self.anchors.then(|| ("anchors", String::new())));
        names
    }

    fn read(rows: Vec<Row>) -> Result<Touched, StorageError> {
        let mut touched = Touched::default();
        for row in rows {
            let mut row = Reader::new("touched", row);
            let (subject, key) = (row.text("subject")?, row.text("key")?);
            let unreadable = |_| row.corrupt("key", key.clone());
            match subject.as_str() {
                "snap" => drop(touched.snaps.insert(key)),
                "assertion" => drop(
                    touched
                        .assertions
                        .insert(serde_json::from_str(&key).map_err(|error| unreadable(error.to_string()))?),
                ),
                "blob" => drop(
                    touched
                        .blobs
                        .insert(Sha3_384::from_hex(&key).map_err(|error| unreadable(error.to_string()))?),
                ),
                "store" => drop(touched.stores.insert(key)),
                "fact" => drop(touched.facts.insert(key)),
                "device" => {
                    let (brand, model, serial) =
                        serde_json::from_str(&key).map_err(|error| unreadable(error.to_string()))?;
                    touched.devices.insert(DeviceId { brand, model, serial });
                }
                "anchors" => touched.anchors = true,
                _ => return Err(row.corrupt("subject", subject)),
            }
        }
        Ok(touched)
    }

    /// The values that select the rows of these subjects.
    fn selection(&self) -> Selection {
        let one = |key: &String| vec![Value::from(key.as_str())];
        Selection {
            snaps: self.snaps.iter().map(one).collect(),
            assertions: self
                .assertions
                .iter()
                .map(|(kind, key)| vec![kind.as_str().into(), key.as_str().into()])
                .collect(),
            blobs: self.blobs.iter().map(|digest| vec![digest.to_hex().into()]).collect(),
            stores: self.stores.iter().map(one).collect(),
            facts: self.facts.iter().map(one).collect(),
            devices: self
                .devices
                .iter()
                .map(|id| vec![id.brand.as_str().into(), id.model.as_str().into(), id.serial.as_str().into()])
                .collect(),
            anchors: self.anchors,
        }
    }
}

impl Database {
    /// What a catalog at `known` lacks, read in one transaction. `None` if this is unknown and everything must be
    /// reread: the database was restored, or something wrote to it without noting what it touched.
    pub(crate) async fn load_since(&self, known: Position) -> Result<Option<Increment>, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let on = &mut transaction;
        let position = position(on).await?;
        if position.generation < known.generation || position.unnoted != known.unnoted {
            return Ok(None);
        }
        let touched = Touched::read(on.query(SELECT_TOUCHED, vec![known.generation.into()]).await?)?;
        let mut rows = snapshot::select(on, &touched.selection()).await?;
        rows.position = position;
        transaction.commit().await?;
        Ok(Some(Increment { touched, rows }))
    }
}
