//! Remembers what devices were offered and sent until it is written down with the sightings.
//!
//! A request adds to the entry of the device whose session it carries, in memory. What is already written down meets it when the next
//! batch is written, so that nothing older is kept here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use schema::store::DeviceId;

use crate::catalog::Principal;
use crate::clock;
use crate::storage::Database;
use crate::storage::downloads::{Downloads, Step};
use crate::storage::error::StorageError;

/// Maximum number of devices waiting to be written down; the first of them makes room for another one.
const MOST: usize = 4096;
/// Devices that are written down in one transaction.
const BATCH: usize = 200;

/// Downloads that wait for the database.
#[derive(Default)]
pub(crate) struct Book(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    devices: HashMap<DeviceId, Downloads>,
    /// The same devices in the order in which they came.
    order: VecDeque<DeviceId>,
}

impl Waiting {
    /// The entry of a device.
    fn of(&mut self, device: &DeviceId) -> &mut Downloads {
        if !self.devices.contains_key(device) {
            if self.devices.len() >= MOST
                && let Some(first) = self.order.pop_front()
            {
                self.devices.remove(&first);
            }
            self.order.push_back(device.clone());
        }
        self.devices.entry(device.clone()).or_default()
    }
}

impl Book {
    /// Adds a step of a device on the way to a revision of a snap. Others than devices are not remembered.
    pub(crate) fn note(&self, principal: &Principal, snap_id: &str, target: u32, step: &Step) {
        let Some(device) = principal.device() else { return };
        self.waiting().of(device).add(snap_id, target, step, clock::micros());
    }

    /// Writes down what waits.
    ///
    /// # Errors
    /// It could not be written, and what is left waits on.
    pub(super) async fn write(&self, database: &Database) -> Result<(), StorageError> {
        let waiting = std::mem::take(&mut *self.waiting()).devices;
        let mut rest: Vec<(DeviceId, Downloads)> = waiting.into_iter().collect();
        while !rest.is_empty() {
            let batch: BTreeMap<_, _> =
                rest.split_off(rest.len().saturating_sub(BATCH)).into_iter().collect();
            if let Err(error) = database.record_downloads(&batch).await {
                let mut newer = self.waiting();
                for (device, downloads) in rest.into_iter().chain(batch) {
                    newer.of(&device).follow(downloads);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schema::session::Session;
    use schema::store::DeltaFormat;

    use super::*;
    use crate::storage::contract::fixture::Store;

    fn principal(device: &str) -> Principal {
        let device: DeviceId = device.parse().unwrap();
        Principal::Device(Arc::new(Session { device, store: None, verified: true, issued: 0, expires: 1 }))
    }

    fn waiting(book: &Book) -> usize {
        let waiting = book.waiting();
        assert_eq!(waiting.devices.len(), waiting.order.len());
        waiting.devices.len()
    }

    #[test]
    fn what_waits_has_a_bound_and_the_first_device_makes_room() {
        let book = Book::default();
        for number in 0..MOST + 10 {
            book.note(&principal(&format!("acme/gateway/{number}")), "id", 1, &Step::Whole(1));
        }
        assert_eq!(waiting(&book), MOST);
        let waiting = book.waiting();
        let held = |number: usize| {
            waiting.devices.contains_key(&format!("acme/gateway/{number}").parse::<DeviceId>().unwrap())
        };
        assert!(!held(9) && held(10) && held(MOST + 9));
    }

    #[test]
    fn nobody_but_devices_is_remembered() {
        let book = Book::default();
        book.note(&Principal::Anonymous, "id", 1, &Step::Whole(1));
        assert_eq!(waiting(&book), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_written_waits_and_is_written_once() {
        let (store, outage) = (Store::sqlite().await, Store::sqlite().await);
        let database = store.migrated().await;
        let (book, who) = (Book::default(), principal("acme/gateway/1"));
        let sightings = super::super::Sightings::default();
        sightings.note(&who, &super::super::Client::default(), &[], Vec::new(), Vec::new());
        sightings.write(database).await.unwrap();
        book.note(&who, "id", 2, &Step::Delta(1, DeltaFormat::Plain, 10));
        // The database is away: without its tables it takes nothing.
        assert!(book.write(&outage.database).await.is_err());
        book.note(&who, "id", 2, &Step::FellBack(100));
        for _ in 0..2 {
            book.write(database).await.unwrap();
        }
        let mut held = database.downloads(who.device().unwrap()).await.unwrap().unwrap();
        assert_eq!((held.total.snaps_served_bytes, held.total.deltas_fallbacks), (100, 1));
        assert_eq!(held.total.of(DeltaFormat::Plain).deltas_served_bytes, 10);
    }
}
