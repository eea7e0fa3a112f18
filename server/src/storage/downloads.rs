//! What devices were offered and downloaded.
//!
//! A device has one row: the sum, and its last updates.

use std::collections::BTreeMap;

use schema::api::admin::DeltaTraffic;
use schema::store::{DeltaFormat, DeviceId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Database;
use super::audit::ATTEMPTS;
use super::engine::{Lane, Mode, Reader, Row, Transaction, Value, statements};
use super::error::StorageError;

statements! {
    // So that two servers take turns with a device, and nothing is written of one that was never seen.
    HOLD_DEVICE = "UPDATE devices SET address = address WHERE brand = $1 AND model = $2 AND serial = $3 RETURNING serial";
    SELECT_DOWNLOADS = "SELECT downloads FROM device_downloads WHERE brand = $1 AND model = $2 AND serial = $3";
    PUT_DOWNLOADS = "INSERT INTO device_downloads (brand, model, serial, downloads) VALUES ($1, $2, $3, $4)
        ON CONFLICT (brand, model, serial) DO UPDATE SET downloads = excluded.downloads";
}

/// Maximum number of updates kept per device; the oldest are dropped first.
pub(crate) const MOST_UPDATES: usize = 16;

/// What a device was offered and sent of one revision of a snap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Download {
    /// The snap's id.
    pub(crate) snap_id: String,
    /// The revision that deltas start from, if there were any.
    pub(crate) source: Option<u32>,
    /// The revision.
    pub(crate) target: u32,
    /// The sizes of the deltas that were offered last.
    pub(crate) offered: BTreeMap<DeltaFormat, u64>,
    /// Bytes of deltas that were sent.
    pub(crate) deltas: BTreeMap<DeltaFormat, u64>,
    /// Bytes of the whole snap that were sent.
    pub(crate) whole: u64,
    /// Whether the whole snap was sent right after a delta, once or more often.
    pub(crate) fell_back: bool,
    /// When the last of it was, in microseconds since 1970.
    pub(crate) at_micros: i64,
}

/// What happened between a device and the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// An answer named these deltas from a revision, with their sizes.
    Offered(u32, Vec<(DeltaFormat, u64)>),
    /// So many bytes of a delta from a revision were sent.
    Delta(u32, DeltaFormat, u64),
    /// So many bytes of the whole snap were sent.
    Whole(u64),
    /// The same, right after a delta that leads to it.
    FellBack(u64),
}

/// What one device was offered and sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Downloads {
    /// All of it.
    pub(crate) total: DeltaTraffic,
    /// The last updates, newest first.
    pub(crate) last: Vec<Download>,
}

impl Downloads {
    /// Adds a step on the way to a revision of a snap.
    pub(crate) fn add(&mut self, snap_id: &str, target: u32, step: &Step, at_micros: i64) {
        let source = match step {
            Step::Offered(source, _) | Step::Delta(source, ..) => Some(*source),
            Step::Whole(_) | Step::FellBack(_) => None,
        };
        let is_it = |one: &Download| {
            (one.target, &*one.snap_id) == (target, snap_id) && (source.is_none() || one.source == source)
        };
        let mut update = match self.last.iter().position(is_it) {
            Some(place) => self.last.remove(place),
            None => Download { snap_id: snap_id.to_owned(), source, target, ..Download::default() },
        };
        update.at_micros = at_micros;
        match step {
            Step::Offered(_, deltas) => {
                update.offered = deltas.iter().copied().collect();
                for (format, size) in deltas {
                    let own = self.total.of(*format);
                    own.deltas_offered = own.deltas_offered.saturating_add(1);
                    own.deltas_offered_bytes = own.deltas_offered_bytes.saturating_add(*size);
                }
            }
            Step::Delta(_, format, bytes) => {
                let own = self.total.of(*format);
                own.deltas_served = own.deltas_served.saturating_add(1);
                own.deltas_served_bytes = own.deltas_served_bytes.saturating_add(*bytes);
                let sent = update.deltas.entry(*format).or_default();
                *sent = sent.saturating_add(*bytes);
            }
            Step::Whole(bytes) | Step::FellBack(bytes) => {
                self.total.snaps_served_bytes = self.total.snaps_served_bytes.saturating_add(*bytes);
                update.whole = update.whole.saturating_add(*bytes);
                let falls_back = matches!(step, Step::FellBack(_));
                update.fell_back |= falls_back;
                self.total.deltas_fallbacks = self.total.deltas_fallbacks.saturating_add(falls_back.into());
            }
        }
        self.last.insert(0, update);
        self.last.truncate(MOST_UPDATES);
    }

    /// Takes over what was before this.
    pub(crate) fn follow(&mut self, older: Downloads) {
        self.total.add(&older.total);
        for older in older.last {
            let is_it = |one: &&mut Download| {
                (one.target, &one.snap_id) == (older.target, &older.snap_id)
                    && (one.source.is_none() || one.source == older.source)
            };
            let Some(update) = self.last.iter_mut().find(is_it) else {
                self.last.push(older);
                continue;
            };
            update.fell_back |= older.fell_back;
            update.source = older.source;
            update.whole = update.whole.saturating_add(older.whole);
            for (format, bytes) in older.deltas {
                let sent = update.deltas.entry(format).or_default();
                *sent = sent.saturating_add(bytes);
            }
            if update.offered.is_empty() {
                update.offered = older.offered;
            }
        }
        self.last.sort_by_key(|update| std::cmp::Reverse(update.at_micros));
        self.last.truncate(MOST_UPDATES);
    }
}

impl Database {
    /// Adds what devices were offered and sent to what is written down of them, in one transaction. A device that was never seen is
    /// left out.
    pub(crate) async fn record_downloads(
        &self,
        of: &BTreeMap<DeviceId, Downloads>,
    ) -> Result<(), StorageError> {
        let mut attempt = 1;
        loop {
            match self.try_to_record(of).await {
                Err(StorageError::Contended(_)) if attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    async fn try_to_record(&self, of: &BTreeMap<DeviceId, Downloads>) -> Result<(), StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        // In key order, so that two servers cannot deadlock.
        for (device, downloads) in of {
            record(&mut transaction, device, downloads.clone()).await?;
        }
        transaction.commit().await
    }

    /// What a device was offered and sent, if that was anything.
    pub(crate) async fn downloads(&self, device: &DeviceId) -> Result<Option<Downloads>, StorageError> {
        let rows = self.engine.read(Lane::Operator, SELECT_DOWNLOADS, key(device)).await?;
        rows.into_iter().next().map(read).transpose()
    }
}

async fn record(
    transaction: &mut Transaction,
    device: &DeviceId,
    mut downloads: Downloads,
) -> Result<(), StorageError> {
    let mut values = key(device);
    if transaction.query(HOLD_DEVICE, values.clone()).await?.is_empty() {
        return Ok(());
    }
    if let Some(row) = transaction.query(SELECT_DOWNLOADS, values.clone()).await?.into_iter().next() {
        downloads.follow(read(row)?);
    }
    values.push(json!(downloads).to_string().into());
    transaction.query(PUT_DOWNLOADS, values).await.map(drop)
}

fn key(device: &DeviceId) -> Vec<Value> {
    [&device.brand, &device.model, &device.serial].map(|part| part.as_str().into()).into()
}

fn read(row: Row) -> Result<Downloads, StorageError> {
    Reader::new("device_downloads", row).json("downloads")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: DeltaFormat = DeltaFormat::Plain;

    fn offered(source: u32) -> Step {
        Step::Offered(source, vec![(PLAIN, 10)])
    }

    /// What several steps to revision 2 come to, cut into two rounds at every place.
    fn all_ways(steps: &[Step]) -> Downloads {
        let of = |steps: &[Step], from: usize| {
            let mut all = Downloads::default();
            for (at, step) in steps.iter().enumerate() {
                all.add("id", 2, step, (from + at + 1) as i64);
            }
            all
        };
        let whole = of(steps, 0);
        for cut in 0..=steps.len() {
            let mut newer = of(&steps[cut..], cut);
            newer.follow(of(&steps[..cut], 0));
            assert_eq!(newer, whole, "cut at {cut}: {steps:?}");
        }
        whole
    }

    #[test]
    fn steps_come_to_the_same_in_one_round_or_in_two() {
        use Step::{Delta, FellBack, Whole};
        for (steps, falls, deltas, whole) in [
            (vec![offered(1)], 0, 0, 0),
            (vec![offered(1), Delta(1, PLAIN, 4), Delta(1, PLAIN, 6)], 0, 10, 0),
            (vec![offered(1), Whole(100)], 0, 0, 100),
            (vec![offered(1), Delta(1, PLAIN, 10), FellBack(40), Whole(60)], 1, 10, 100),
            (vec![offered(1), Delta(1, PLAIN, 10), Whole(100)], 0, 10, 100),
            (vec![Whole(100)], 0, 0, 100),
        ] {
            let mut all = all_ways(&steps);
            let served = all.total.of(PLAIN).deltas_served_bytes;
            assert_eq!((all.total.deltas_fallbacks, served), (falls, deltas), "{steps:?}");
            assert_eq!((all.total.snaps_served_bytes, all.last.len()), (whole, 1), "{steps:?}");
            assert_eq!(all.last[0].fell_back, falls > 0, "{steps:?}");
        }
    }

    #[test]
    fn updates_from_other_revisions_and_to_other_ones_stay_apart() {
        let mut all = Downloads::default();
        all.add("id", 2, &offered(1), 1);
        all.add("id", 2, &offered(3), 2);
        all.add("id", 4, &offered(3), 3);
        all.add("other", 2, &Step::Whole(7), 4);
        all.add("id", 2, &Step::Whole(9), 5);
        let told = |one: &Download| (one.snap_id.clone(), one.source, one.target, one.whole);
        assert_eq!(
            all.last.iter().map(told).collect::<Vec<_>>(),
            [
                ("id".into(), Some(3), 2, 9),
                ("other".into(), None, 2, 7),
                ("id".into(), Some(3), 4, 0),
                ("id".into(), Some(1), 2, 0),
            ]
        );
    }

    #[test]
    fn updates_of_a_device_have_a_bound() {
        let mut all = Downloads::default();
        for target in 0..1000 {
            all.add("id", target, &offered(1), i64::from(target));
        }
        assert_eq!((all.last.len(), all.last[0].target), (MOST_UPDATES, 999));
        let mut newer = Downloads::default();
        newer.add("id", 1000, &offered(1), 1000);
        newer.follow(all);
        assert_eq!((newer.last.len(), newer.last[0].target), (MOST_UPDATES, 1000));
        assert_eq!(newer.total.of(PLAIN).deltas_offered, 1001, "the sum has all of them");
    }
}
