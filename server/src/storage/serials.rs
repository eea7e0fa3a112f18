//! Which serial was given to which device key, and which ones may be.
//!
//! A serial is reserved before it is signed. Whatever breaks afterwards, the same device key of the same model gets the
//! same serial: the reservation is a row, and two rows for one device key, or for one serial, are impossible.

use schema::store::DeviceId;

use super::engine::{Lane, Mode, Reader, Row, Transaction, Value, statements};
use super::error::StorageError;
use super::policies::SerialList;
use super::records::AuditEvent;
use super::{Database, audit};

statements! {
    SELECT_OF_KEY = "SELECT brand, model, serial, device_key, signed_by, request_digest, issued_at, document FROM issued_serials
        WHERE brand = $1 AND model = $2 AND device_key = $3";
    RESERVE = "INSERT INTO issued_serials (brand, model, serial, device_key, signed_by, request_digest, issued_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING brand, model, serial, device_key, signed_by,
            request_digest, issued_at, document";
    // For the device in place of the one whose document is there.
    SIGNED = "UPDATE issued_serials SET document = $4, signed_by = $5, issued_at = $6
        WHERE brand = $1 AND model = $2 AND serial = $3 AND device_key = $7 AND COALESCE(document, '') = $8 RETURNING document";
    // The key that it was taken from stays known, so that it does not come back there.
    GIVE_UP = "UPDATE issued_serials SET device_key = $4 || device_key WHERE brand = $1 AND model = $2 AND serial = $3
        AND document IS NOT NULL AND device_key NOT LIKE 'free for another device: %'";
    TAKE_OVER = "UPDATE issued_serials SET device_key = $4, signed_by = $5, request_digest = $6, issued_at = $7
        WHERE brand = $1 AND model = $2 AND serial = $3 AND device_key LIKE 'free for another device: %' AND device_key <> $8
        RETURNING serial";
    SELECT_SERIALS = "SELECT brand, model, serial, device_key, signed_by, request_digest, issued_at, document FROM issued_serials
        WHERE brand = COALESCE($2, brand) AND model = COALESCE($3, model) AND serial = COALESCE($4, serial)
            AND (brand, model, serial) > ($5, $6, $7)
        ORDER BY brand, model, serial LIMIT $1";
    COUNT_BY_KEY = "SELECT signed_by, COUNT(*) FROM issued_serials WHERE document IS NOT NULL GROUP BY signed_by";
    COUNT_BY_MODEL = "SELECT brand, model, COUNT(*) FROM issued_serials WHERE document IS NOT NULL
        AND device_key NOT LIKE 'free for another device: %' GROUP BY brand, model";
    COUNT_FREE = "SELECT l.brand, l.model, COUNT(*) FROM listed_serials AS l WHERE NOT EXISTS (SELECT 1 FROM issued_serials AS i
            WHERE i.brand = l.brand AND i.model = l.model AND i.serial = l.serial
                AND i.device_key NOT LIKE 'free for another device: %') GROUP BY l.brand, l.model";
    LISTED_NAMED = "SELECT serial, hardware_id FROM listed_serials WHERE brand = $1 AND model = $2 AND serial = $3";
    LISTED_FOR = "SELECT serial, hardware_id FROM listed_serials
        WHERE brand = $1 AND model = $2 AND hardware_id = $3 AND hardware_id <> '' LIMIT 1";
    LISTED_NEXT = "SELECT l.serial, l.hardware_id FROM listed_serials AS l
        WHERE l.brand = $1 AND l.model = $2 AND l.hardware_id = '' AND NOT EXISTS (SELECT 1 FROM issued_serials AS i
            WHERE i.brand = l.brand AND i.model = l.model AND i.serial = l.serial
                AND (i.device_key NOT LIKE 'free for another device: %'
                    OR i.device_key = 'free for another device: ' || l.serial || ' not ' || $3)) ORDER BY l.position LIMIT 1";
    DELETE_LISTED = "DELETE FROM listed_serials WHERE brand = $1 AND model = $2";
    INSERT_LISTED = "INSERT INTO listed_serials (brand, model, serial, hardware_id, position) VALUES ($1, $2, $3, $4, $5)";
}

/// How often a serial that another device took at this very moment is followed by the next.
const ATTEMPTS: u32 = 16;

/// Which serial a device may get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This one.
    Exactly(String),
    /// One of the list: the proposed one, that of the hardware, or the next that belongs to no hardware.
    Listed {
        /// What the device proposes.
        proposed: Option<String>,
        /// What hardware it says it is.
        hardware: Option<String>,
    },
}

/// A device that asks for a serial.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    /// Its brand.
    pub(crate) brand: String,
    /// Its model.
    pub(crate) model: String,
    /// The id of its key.
    pub(crate) device_key: String,
    /// The name of the key that is to sign.
    pub(crate) signed_by: String,
    /// The digest of its request.
    pub(crate) request_digest: String,
    /// When, in microseconds since 1970.
    pub(crate) at_micros: i64,
}

/// A serial that a device key has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SerialRecord {
    /// Brand, model and serial.
    pub(crate) device: DeviceId,
    /// The id of the device key.
    pub(crate) device_key: String,
    /// The name of the key that signed it.
    pub(crate) signed_by: String,
    /// The digest of the first request for it.
    pub(crate) request_digest: String,
    /// When, in microseconds since 1970.
    pub(crate) issued_at_micros: i64,
    /// The signed document; `None` until it is signed.
    pub(crate) document: Option<String>,
}

/// What came of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reserved {
    /// The device key has this serial.
    Held(SerialRecord),
    /// Another device key has the serial.
    Taken(String),
    /// The list does not name the serial or the hardware.
    NotListed,
    /// The listed serial belongs to other hardware.
    OtherHardware(String),
    /// The list has no more.
    UsedUp,
}

/// Which serials to read: of a brand, of its model, of this serial, and after which one.
#[derive(Debug, Clone, Default)]
pub(crate) struct SerialsWhere {
    /// Of this brand.
    pub(crate) brand: Option<String>,
    /// Of this model.
    pub(crate) model: Option<String>,
    /// This one.
    pub(crate) serial: Option<String>,
    /// Those after this one.
    pub(crate) after: Option<DeviceId>,
}

/// How much was given out.
#[derive(Debug, Clone, Default)]
pub(crate) struct SerialCounts {
    /// How many serials each key signed.
    pub(crate) by_key: Vec<(String, i64)>,
    /// How many serials each model has.
    pub(crate) by_model: Vec<((String, String), i64)>,
    /// How many of each model's list are left.
    pub(crate) free: Vec<((String, String), i64)>,
}

impl Database {
    /// The serial that a device key has, signed or reserved.
    pub(crate) async fn serial_of_key(&self, asking: &Asking) -> Result<Option<SerialRecord>, StorageError> {
        let rows = self.engine.read(Lane::Sessions, SELECT_OF_KEY, of_key(asking)).await?;
        rows.into_iter().next().map(record).transpose()
    }

    /// The serial of a device key: the one that it has, or one that is reserved for it now. That is durable with the signed
    /// document, before anybody learns of it.
    pub(crate) async fn reserve_serial(
        &self,
        asking: &Asking,
        wanted: &Wanted,
    ) -> Result<Reserved, StorageError> {
        let (asking, wanted) = (asking.clone(), wanted.clone());
        let reserve = |transaction| reserve(transaction, asking, wanted);
        self.engine.transact(Lane::Sessions, Mode::WriteUnflushed, reserve).await
    }

    /// Keeps the signed document of a reserved serial in place of the one that was there `before`, with an event; answers the document
    /// that is kept, which may be another server's.
    pub(crate) async fn keep_serial(
        &self,
        asking: &Asking,
        serial: &str,
        before: Option<&str>,
        document: &str,
        event: &AuditEvent,
    ) -> Result<Option<String>, StorageError> {
        let values = vec![
            asking.brand.as_str().into(),
            asking.model.as_str().into(),
            serial.into(),
            document.into(),
            asking.signed_by.as_str().into(),
            asking.at_micros.into(),
            asking.device_key.as_str().into(),
            before.unwrap_or_default().into(),
        ];
        let (asking, event) = (asking.clone(), event.clone());
        let keep = async move |mut transaction: Transaction| {
            let kept = match transaction.query(SIGNED, values).await?.into_iter().next() {
                Some(row) => {
                    audit::insert_event(&mut transaction, &event, asking.at_micros).await?;
                    Reader::new("issued_serials", row).optional_text("document")?
                }
                None => held(&mut transaction, &asking).await?.and_then(|held| held.document),
            };
            transaction.commit().await?;
            Ok(kept)
        };
        self.engine.transact(Lane::Sessions, Mode::Write, keep).await
    }

    /// The first `limit` serials, in the order of their names.
    pub(crate) async fn serials(
        &self,
        of: SerialsWhere,
        limit: u32,
    ) -> Result<Vec<SerialRecord>, StorageError> {
        let SerialsWhere { brand, model, serial, after } = of;
        let after =
            after.unwrap_or(DeviceId { brand: String::new(), model: String::new(), serial: String::new() });
        let values = vec![
            limit.into(),
            brand.into(),
            model.into(),
            serial.into(),
            after.brand.into(),
            after.model.into(),
            after.serial.into(),
        ];
        let rows = self.engine.read(Lane::Operator, SELECT_SERIALS, values).await?;
        rows.into_iter().map(record).collect()
    }

    /// How much was given out.
    pub(crate) async fn serial_counts(&self) -> Result<SerialCounts, StorageError> {
        let by_model = |row: Row| {
            let mut row = Reader::new("issued_serials", row);
            Ok(((row.text("brand")?, row.text("model")?), row.int("count")?))
        };
        let by_key = |row: Row| {
            let mut row = Reader::new("issued_serials", row);
            Ok((row.text("signed_by")?, row.int("count")?))
        };
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let keys = transaction.query(COUNT_BY_KEY, Vec::new()).await?;
        let models = transaction.query(COUNT_BY_MODEL, Vec::new()).await?;
        let free = transaction.query(COUNT_FREE, Vec::new()).await?;
        transaction.commit().await?;
        Ok(SerialCounts {
            by_key: keys.into_iter().map(by_key).collect::<Result<_, StorageError>>()?,
            by_model: models.into_iter().map(by_model).collect::<Result<_, StorageError>>()?,
            free: free.into_iter().map(by_model).collect::<Result<_, StorageError>>()?,
        })
    }
}

/// Replaces the list of a model.
pub(super) async fn write_list(on: &mut Transaction, list: &SerialList) -> Result<(), StorageError> {
    let of: Vec<Value> = vec![list.brand.as_str().into(), list.model.as_str().into()];
    on.query(DELETE_LISTED, of.clone()).await?;
    let rows = (0_i64..).zip(&list.serials).map(|(position, listed)| {
        let mut values = of.clone();
        values.extend([listed.serial.as_str().into(), listed.hardware_id.as_str().into(), position.into()]);
        values
    });
    on.each(INSERT_LISTED, rows.collect()).await.map(drop)
}

/// Takes a signed serial from its device, for the next other one that asks.
pub(super) async fn give_up(on: &mut Transaction, of: &DeviceId) -> Result<(), StorageError> {
    let values = [&of.brand, &of.model, &of.serial, &free_key(&of.serial, "")];
    on.query(GIVE_UP, values.map(|text| text.as_str().into()).into()).await.map(drop)
}

async fn reserve(
    mut transaction: Transaction,
    asking: Asking,
    wanted: Wanted,
) -> Result<Reserved, StorageError> {
    for _ in 0..ATTEMPTS {
        if let Some(held) = held(&mut transaction, &asking).await? {
            transaction.commit().await?;
            return Ok(Reserved::Held(held));
        }
        let serial = match choose(&mut transaction, &asking, &wanted).await? {
            Ok(serial) => serial,
            Err(refused) => return Ok(refused),
        };
        let Asking { brand, model, device_key, signed_by, request_digest, at_micros } = &asking;
        let texts = [brand, model, &serial, device_key, signed_by, request_digest];
        let mut values: Vec<Value> = texts.map(|text| text.as_str().into()).into();
        values.push((*at_micros).into());
        let own = vec![free_key(&serial, device_key).into()];
        let over = transaction.query(TAKE_OVER, [values.clone(), own].concat()).await?;
        if !over.is_empty() {
            continue;
        }
        if let Some(row) = transaction.query(RESERVE, values).await?.into_iter().next() {
            transaction.commit().await?;
            return Ok(Reserved::Held(record(row)?));
        }
        if held(&mut transaction, &asking).await?.is_none() {
            // Another device was faster: the next of the list may be free.
            match wanted {
                Wanted::Listed { proposed: None, hardware: None } => continue,
                _ => return Ok(Reserved::Taken(serial)),
            }
        }
    }
    Err(StorageError::Contended("other devices took every serial that was tried".into()))
}

async fn held(on: &mut Transaction, asking: &Asking) -> Result<Option<SerialRecord>, StorageError> {
    on.query(SELECT_OF_KEY, of_key(asking)).await?.into_iter().next().map(record).transpose()
}

/// What a serial that waits for another device than this one has instead of a device key, which has no spaces.
fn free_key(serial: &str, device_key: &str) -> String {
    format!("{FREE}{serial} not {device_key}")
}

/// The beginning of what stands in place of a device key.
const FREE: &str = "free for another device: ";

impl SerialRecord {
    /// The id of its device key; `None` while it waits for another device.
    pub(crate) fn of_device(&self) -> Option<&str> {
        Some(&*self.device_key).filter(|key| !key.starts_with(FREE))
    }
}

fn of_key(asking: &Asking) -> Vec<Value> {
    let Asking { brand, model, device_key, .. } = asking;
    vec![brand.as_str().into(), model.as_str().into(), device_key.as_str().into()]
}

/// The serial to reserve, or why there is none.
async fn choose(
    on: &mut Transaction,
    asking: &Asking,
    wanted: &Wanted,
) -> Result<Result<String, Reserved>, StorageError> {
    let (proposed, hardware) = match wanted {
        Wanted::Exactly(serial) => return Ok(Ok(serial.clone())),
        Wanted::Listed { proposed, hardware } => (proposed.as_deref(), hardware.as_deref()),
    };
    let mut values: Vec<Value> = vec![asking.brand.as_str().into(), asking.model.as_str().into()];
    values.push(proposed.or(hardware).unwrap_or(&asking.device_key).into());
    let (statement, none) = match (proposed, hardware) {
        (Some(_), _) => (LISTED_NAMED, Reserved::NotListed),
        (None, Some(_)) => (LISTED_FOR, Reserved::NotListed),
        (None, None) => (LISTED_NEXT, Reserved::UsedUp),
    };
    let Some(row) = on.query(statement, values).await?.into_iter().next() else { return Ok(Err(none)) };
    let mut row = Reader::new("listed_serials", row);
    let (serial, belongs_to) = (row.text("serial")?, row.text("hardware_id")?);
    Ok(match belongs_to.is_empty() || hardware == Some(&belongs_to) {
        true => Ok(serial),
        false => Err(Reserved::OtherHardware(serial)),
    })
}

fn record(row: Row) -> Result<SerialRecord, StorageError> {
    let mut row = Reader::new("issued_serials", row);
    Ok(SerialRecord {
        device: DeviceId {
            brand: row.text("brand")?,
            model: row.text("model")?,
            serial: row.text("serial")?,
        },
        device_key: row.text("device_key")?,
        signed_by: row.text("signed_by")?,
        request_digest: row.text("request_digest")?,
        issued_at_micros: row.int("issued_at")?,
        document: row.optional_text("document")?,
    })
}
